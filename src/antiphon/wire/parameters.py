"""What becomes of every parameter of ``POST /v1/responses``: one table, which docs/parameters.md shows.

A parameter is served, or it is refused by name: to drop one silently would be to answer another question. What is in
no row is unknown: accepted, sent to nobody, and disclosed with a diagnostic.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from antiphon.errors import InvalidRequest
from antiphon.wire.items import TOOL_TYPES, Item, tools_of
from antiphon.wire.refusals import supported
from antiphon.wire.responses import CreateResponse


class Parameter(NamedTuple):
    """What is done with a parameter, or why it is refused."""

    what: str
    is_refused: bool = False


_HINT = "Sent to upstreams whose dialect takes it, and shown in the response. It changes no answer."
_SAMPLING = "Sent to the upstream; disclosed where its dialect refuses it."

PARAMETERS: dict[str, Parameter] = {
    "model": Parameter("Required. An alias, `upstream/model`, or a name that an upstream takes; else 404."),
    "input": Parameter(
        "A string, or items of every kind. Images as URLs, data or a `file_id`, files as data or a `file_id`: a file's"
        " URL is not fetched, and the model is told that the file was left out."
    ),
    "instructions": Parameter("The first system message; not carried over to a next response."),
    "previous_response_id": Parameter("The items of that response and of those before it are put before `input`."),
    "conversation": Parameter("Its items are put before `input`; input and output are added to it at the end."),
    "prompt": Parameter("Prompt templates are kept at OpenAI; send their text.", is_refused=True),
    "tools": Parameter(
        "Functions, freeform tools and namespaces become functions. `mcp` and `file_search` are run here; web search,"
        " code interpreter and image generation by upstreams that speak the Responses API themselves. Hosted tools that"
        " nobody can run are dropped with a diagnostic, or refused: see `unsupported_tools`."
    ),
    "tool_choice": Parameter(
        "All forms. What it excludes is not offered, and a call of it never reaches the client: it is dropped with a"
        " diagnostic, and a turn that held nothing else fails with `tool_not_allowed`."
    ),
    "parallel_tool_calls": Parameter(
        "Sent to the upstream. With `false`, further calls of a turn are dropped with a diagnostic."
    ),
    "max_tool_calls": Parameter(
        "Calls of tools that the server runs; those beyond it are answered as not run. In the profile `open-responses`"
        " every call counts, and those beyond it are dropped with a diagnostic."
    ),
    "max_output_tokens": Parameter("Sent under the name that the dialect wants. From 1 (OpenAI: 16)."),
    "temperature": Parameter(_SAMPLING),
    "top_p": Parameter(_SAMPLING),
    "presence_penalty": Parameter(_SAMPLING + " Open Responses has it, OpenAI has not."),
    "frequency_penalty": Parameter(_SAMPLING + " Open Responses has it, OpenAI has not."),
    "top_logprobs": Parameter("Asks the upstream for logprobs; shown as far as it gives them."),
    "text": Parameter(
        "`format`: sent as `response_format` where the dialect takes it, else told to the model; the answer is checked"
        " either way, see below. `verbosity`: sent where the dialect takes it."
    ),
    "reasoning": Parameter(
        "`effort`: sent as `reasoning_effort` where the dialect takes it. `summary`, `generate_summary`: the"
        " upstream's reasoning is shown as it came, nobody summarises it. `context`: ignored."
    ),
    "include": Parameter("See below."),
    "stream": Parameter("Server-sent events; else the same run, folded."),
    "stream_options": Parameter("`include_obfuscation`: accepted; no padding is ever produced."),
    "background": Parameter("The response is made without the client."),
    "store": Parameter("With `false` nothing is written; reasoning then travels sealed, see `include`."),
    "truncation": Parameter(
        "`auto`: when the upstream says that the input is too long, the oldest items are left out and it is asked"
        " again, before anything was shown; disclosed. `disabled`: the request fails."
    ),
    "context_management": Parameter("Use `truncation`, or `POST /v1/responses/compact`.", is_refused=True),
    "metadata": Parameter("Kept and shown; up to 16 pairs."),
    "user": Parameter(_HINT),
    "safety_identifier": Parameter(_HINT),
    "prompt_cache_key": Parameter(_HINT),
    "prompt_cache_retention": Parameter(_HINT),
    "prompt_cache_options": Parameter("Accepted; caching is the upstream's affair."),
    "service_tier": Parameter(
        "Sent to upstreams whose dialect takes it, and shown in the response. A tier other than `auto` and `default`"
        " that is not sent is disclosed."
    ),
    "moderation": Parameter("There is nothing here that moderates.", is_refused=True),
    "client_metadata": Parameter("Codex sends it; accepted, sent to nobody."),
    "generate": Parameter("Codex sends it on WebSockets; accepted, sent to nobody."),
    "type": Parameter("What a WebSocket message is; accepted, sent to nobody."),
}

INCLUDES: dict[str, str] = {
    "reasoning.encrypted_content": "Reasoning items carry what their upstream wants to see again, sealed: encrypted,"
    " and bound to the owner of the key.",
    "message.output_text.logprobs": "The upstream is asked for logprobs.",
    "message.input_image.image_url": "Nothing to add: images are always shown as they were sent.",
    "file_search_call.results": "Calls of the file search show what they found.",
    "web_search_call.results": "Asked of an upstream that runs the tool itself.",
    "web_search_call.action.sources": "Asked of an upstream that runs the tool itself.",
    "code_interpreter_call.outputs": "Asked of an upstream that runs the tool itself.",
    "computer_call_output.output.image_url": "Nothing to add: screenshots are always shown as they were sent.",
}


def refuse_unserved(
    request: CreateResponse,
    items: Iterable[Item],
    *,
    profile: str = "openai",
    unsupported_tools: Literal["drop", "refuse"] = "drop",
) -> None:
    """Refuse what is not served here, by its name; ``items`` are those of the request.

    Raises:
        InvalidRequest: a parameter, an ``include``, an image or a file that is not there, or a tool that is to be
            refused.
    """
    # The union of Open Responses is closed: it has no item and no event for a call of any other tool.
    known = {"function"} if profile == "open-responses" else TOOL_TYPES
    must_know = profile == "open-responses" or unsupported_tools == "refuse"
    for name, parameter in PARAMETERS.items():
        if parameter.is_refused and getattr(request, name) is not None:
            message = f"The parameter {name!r} is not supported. {parameter.what}"
            raise InvalidRequest(message, param=name, code="unsupported_parameter")
    for position, included in enumerate(request.include or ()):
        if included not in INCLUDES:
            raise supported(included, INCLUDES, param=f"include[{position}]")
    for position, item in enumerate(items):
        for path in _empty_parts(item, f"input[{position}]"):
            raise InvalidRequest(
                f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
            )
        if must_know:
            _refuse_tools(tools_of(item), f"input[{position}].tools", known)
    if must_know:
        _refuse_tools(request.tools or [], "tools", known)


# Where a part has what it stands for.
_SOURCES = {"input_image": ("image_url", "file_id"), "input_file": ("file_data", "file_url", "file_id")}


def _empty_parts(item: Item, path: str) -> Iterator[str]:
    for where, part in _parts(item, path):
        sources = _SOURCES.get(str(part.get("type")), ())
        if sources and not any(part.get(source) for source in sources):
            yield f"{where}.{sources[0]}"


def _parts(item: Item, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("content", "output"):
        parts = item.get(name)
        for position, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                yield f"{path}.{name}[{position}]", part


def _refuse_tools(tools: list[dict[str, Any]], path: str, known: Container[str]) -> None:
    for position, tool in enumerate(tools):
        if tool["type"] not in known:
            name = f"{path}[{position}].type"
            message = f"Invalid value for '{name}': tools of the type {tool['type']!r} are not served."
            raise InvalidRequest(message, param=name, code="unsupported_value")


def table(rows: dict[str, Parameter] | dict[str, str]) -> str:
    """The rows as Markdown, for docs/parameters.md."""
    lines = ["| parameter | | what is done |", "|---|---|---|"]
    for name, row in rows.items():
        what, is_refused = row if isinstance(row, Parameter) else (row, False)
        lines.append(f"| `{name}` | {'refused' if is_refused else ''} | {what} |")
    return "\n".join(lines)
