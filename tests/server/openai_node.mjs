// Sends the requests of a JSON Lines file with the OpenAI SDK for Node, and writes down what came back, a line each.
// usage: node openai_node.mjs BASE_URL REQUESTS ANSWERS KEPT_HEADERS
import { createRequire } from "node:module";
import { createReadStream, createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

const { default: OpenAI } = createRequire(process.cwd() + "/")("openai");
const [base, requests, answers, kept] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: "sk-0123456789abcdefghij", maxRetries: 0, dangerouslyAllowBrowser: false });
const out = createWriteStream(answers);

async function ask({ number, method, target, body }) {
  const options = { headers: { "x-number": String(number) }, __binaryResponse: true };
  if (body !== null) options.body = body;
  try {
    const response = await client[method.toLowerCase()](target, options).asResponse();
    return [response.status, response.headers, Buffer.from(await response.arrayBuffer()).toString("base64")];
  } catch (error) {
    if (!(error instanceof OpenAI.APIError) || error.status === undefined) throw error;
    return [error.status, error.headers, Buffer.from(JSON.stringify(error.error ?? error.message)).toString("base64")];
  }
}

for await (const line of createInterface({ input: createReadStream(requests) })) {
  const [status, headers, body] = await ask(JSON.parse(line));
  const shown = kept.split(",").flatMap((name) => (headers.has(name) ? [[name, headers.get(name)]] : []));
  out.write(JSON.stringify([status, shown, body]) + "\n");
}
out.end();
