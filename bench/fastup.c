// fastup: a chat-completions upstream that costs almost nothing, so that what is measured is what stands before it.
//
// usage: fastup PORT
//
// One thread, epoll, prebuilt events. Every streamed delta carries the time of its sending as "@T<16 digits, us>".
//   POST (any path), "stream": true   a stream of the current shape, with a usage chunk if "include_usage" is asked for
//   POST, not streamed                one fixed completion
//   GET /ctl?n=100&d=5000&k=1         sets the shape: n chunks, d us between writes, k chunks in each write;
//                                     answers with the shape and the chunks sent so far
//   GET (any other path)              a list of models
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_REQUEST (1 << 17)
#define MAX_EVENTS 512

#define CHUNK_HEAD \
    "data: {\"id\":\"chatcmpl-9fK3n2QxT8Zb7LwYcVd1Rr0Ms4HpE\",\"object\":\"chat.completion.chunk\"," \
    "\"created\":1763670000,\"model\":\"fake-model\",\"service_tier\":\"default\"," \
    "\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":["
#define FIRST_CHUNK \
    CHUNK_HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}," \
    "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"qq\"}\n\n"
#define DELTA_CHUNK \
    CHUNK_HEAD "{\"index\":0,\"delta\":{\"content\":\"@T0000000000000000\"}," \
    "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"aB3x\"}\n\n"
#define LAST_CHUNK \
    CHUNK_HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]," \
    "\"usage\":null,\"obfuscation\":\"zz\"}\n\n"
#define USAGE_CHUNK \
    CHUNK_HEAD "],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n"
#define DONE "data: [DONE]\n\n"

#define STREAM_HEADERS \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n" \
    "transfer-encoding: chunked\r\n\r\n"
#define COMPLETION \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1763670000,\"model\":\"fake-model\"," \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello.\"}," \
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":2,\"total_tokens\":22}}"
#define MODELS \
    "{\"object\":\"list\",\"data\":[{\"id\":\"fake-model\",\"object\":\"model\",\"created\":1763670000," \
    "\"owned_by\":\"fake\"}]}"

struct shape {
    int chunks, delay_us, per_write;
};

struct connection {
    int fd;
    bool wants_write;
    char in[MAX_REQUEST];
    size_t in_length;
    char *out;
    size_t out_capacity, out_length, out_sent;
    bool streaming, with_usage;
    struct shape shape; // as it was when the stream began
    int sent;
    long long due_us;
    int position; // in `streams`, while streaming
};

static struct shape shape = {.chunks = 100, .delay_us = 0, .per_write = 1};
static unsigned long long chunks_sent;
static struct connection **streams;
static int stream_count, stream_capacity;
static int poller;

static long long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

// --- output --------------------------------------------------------------------------------------

static void put(struct connection *c, const char *bytes, size_t length) {
    if (c->out_length + length > c->out_capacity) {
        c->out_capacity = 2 * (c->out_length + length);
        c->out = realloc(c->out, c->out_capacity);
    }
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
}

static void put_event(struct connection *c, const char *event, size_t length) {
    char size[16];
    put(c, size, sprintf(size, "%zx\r\n", length));
    put(c, event, length);
    put(c, "\r\n", 2);
}

static void put_delta(struct connection *c) {
    static char delta[] = DELTA_CHUNK;
    static char *stamp;
    if (!stamp) stamp = strstr(delta, "@T") + 2;
    long long t = now_us();
    for (int i = 15; i >= 0; i--, t /= 10) stamp[i] = '0' + t % 10;
    put_event(c, delta, sizeof delta - 1);
    c->sent++;
    chunks_sent++;
}

static void put_end(struct connection *c) {
    put_event(c, LAST_CHUNK, sizeof LAST_CHUNK - 1);
    if (c->with_usage) {
        char usage[1024];
        put_event(c, usage, sprintf(usage, USAGE_CHUNK, c->shape.chunks, c->shape.chunks + 20));
    }
    put_event(c, DONE, sizeof DONE - 1);
    put(c, "0\r\n\r\n", 5);
}

static void put_json(struct connection *c, const char *body) {
    char head[128];
    put(c, head, sprintf(head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n",
                         strlen(body)));
    put(c, body, strlen(body));
}

static void watch(struct connection *c, bool wants_write) {
    if (c->wants_write == wants_write) return;
    struct epoll_event interest = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &interest);
    c->wants_write = wants_write;
}

// Send what is there; false if the connection is dead.
static bool flush(struct connection *c) {
    while (c->out_sent < c->out_length) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            watch(c, true);
            return true;
        }
        if (sent < 0) return false;
        c->out_sent += sent;
    }
    c->out_length = c->out_sent = 0;
    watch(c, false);
    return true;
}

// --- streams -------------------------------------------------------------------------------------

static void begin_stream(struct connection *c, bool with_usage) {
    if (stream_count == stream_capacity) {
        stream_capacity = stream_capacity ? 2 * stream_capacity : 1024;
        streams = realloc(streams, stream_capacity * sizeof *streams);
    }
    c->streaming = true;
    c->with_usage = with_usage;
    c->shape = shape;
    c->sent = 0;
    c->due_us = now_us() + c->shape.delay_us;
    c->position = stream_count;
    streams[stream_count++] = c;
    put(c, STREAM_HEADERS, sizeof STREAM_HEADERS - 1);
    put_event(c, FIRST_CHUNK, sizeof FIRST_CHUNK - 1);
}

static void end_stream(struct connection *c) {
    if (!c->streaming) return;
    c->streaming = false;
    streams[c->position] = streams[--stream_count];
    streams[c->position]->position = c->position;
}

// Put the next `per_write` chunks, and the end after the last one.
static void advance(struct connection *c) {
    for (int i = 0; i < c->shape.per_write && c->sent < c->shape.chunks; i++) put_delta(c);
    if (c->sent == c->shape.chunks) {
        put_end(c);
        end_stream(c);
    }
    c->due_us += c->shape.delay_us;
}

static bool is_due(const struct connection *c, long long t) {
    return !c->out_length && (!c->shape.delay_us || c->due_us <= t); // a reader that does not read gets no more
}

// --- requests ------------------------------------------------------------------------------------

static int query(const char *line, const char *name, int otherwise) {
    const char *found = strstr(line, name);
    return found ? atoi(found + strlen(name)) : otherwise;
}

static void control(struct connection *c, const char *line) {
    char body[200];
    shape.chunks = query(line, "n=", shape.chunks);
    shape.delay_us = query(line, "d=", shape.delay_us);
    shape.per_write = query(line, "k=", shape.per_write);
    sprintf(body, "{\"n\":%d,\"d\":%d,\"k\":%d,\"chunks\":%llu}", shape.chunks, shape.delay_us, shape.per_write,
            chunks_sent);
    put_json(c, body);
}

static bool asks_to_stream(const char *body) {
    const char *found = strstr(body, "\"stream\"");
    if (!found) return false;
    found += strlen("\"stream\"");
    return found[strspn(found, ": ")] == 't';
}

// Answer the first request of the buffer, if it is there whole; false if it is not.
static bool answer_next(struct connection *c) {
    c->in[c->in_length] = 0;
    char *end_of_head = strstr(c->in, "\r\n\r\n");
    if (!end_of_head) return false;
    char *body = end_of_head + 4;
    size_t length = body - c->in;
    char *field = strcasestr(c->in, "transfer-encoding: chunked");
    if (field && field < end_of_head) {
        char *last = strstr(body, "0\r\n\r\n");
        if (!last) return false;
        length = last + 5 - c->in;
    } else if ((field = strcasestr(c->in, "content-length:")) && field < end_of_head) {
        length += atoi(field + strlen("content-length:"));
    }
    if (c->in_length < length) return false;

    char after = c->in[length];
    c->in[length] = 0;
    if (!strncmp(c->in, "GET /ctl", 8)) {
        *strchr(c->in, '\r') = 0;
        control(c, c->in);
    } else if (!strncmp(c->in, "GET", 3)) {
        put_json(c, MODELS);
    } else if (asks_to_stream(body)) {
        begin_stream(c, strstr(body, "include_usage") != NULL);
        if (c->shape.per_write >= c->shape.chunks && !c->shape.delay_us) advance(c); // whole, in one write
    } else {
        put_json(c, COMPLETION);
    }
    c->in[length] = after;
    c->in_length -= length;
    memmove(c->in, c->in + length, c->in_length);
    return true;
}

// Answer requests until one of them streams; false if the connection is dead.
static bool answer(struct connection *c) {
    while (!c->streaming && answer_next(c)) {
        if (!flush(c)) return false;
    }
    return true;
}

// --- connections ---------------------------------------------------------------------------------

static void drop(struct connection *c) {
    end_stream(c);
    close(c->fd);
    free(c->out);
    free(c);
}

static bool receive(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->in_length, sizeof c->in - 1 - c->in_length, 0);
    if (got < 0) return errno == EAGAIN;
    c->in_length += got;
    return got > 0 && answer(c);
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest);
    }
}

static int listen_on(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) {
        perror("fastup: cannot listen");
        exit(1);
    }
    return fd;
}

// Milliseconds until the next stream is due, rounded up; -1 if none is waiting for its time.
static int until_next_due(void) {
    long long t = now_us(), soonest = -1;
    for (int i = 0; i < stream_count; i++) {
        const struct connection *c = streams[i];
        if (c->out_length) continue;
        long long wait = is_due(c, t) ? 0 : c->due_us - t;
        if (soonest < 0 || wait < soonest) soonest = wait;
    }
    return soonest < 0 ? -1 : (int)((soonest + 999) / 1000);
}

static void advance_all(void) {
    long long t = now_us();
    for (int i = stream_count - 1; i >= 0; i--) { // downwards: a stream that ends is replaced by the last one
        if (i >= stream_count) continue;
        struct connection *c = streams[i];
        if (!is_due(c, t)) continue;
        advance(c);
        if (!flush(c) || !answer(c)) drop(c);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: fastup PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on(atoi(argv[1]));
    poller = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest);
    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, until_next_due());
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) accept_all(listener);
            else if ((events[i].events & EPOLLOUT) && !flush(c)) drop(c);
            else if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !receive(c)) drop(c);
        }
        advance_all();
    }
}
