// fastload: a closed-loop client of streams. Each connection sends a request, reads its answer to the end, and again.
//
// usage: fastload PORT PATH BODYFILE CLIENTS SECONDS
//
// One thread, epoll. After SECONDS no new request is sent and the streams in flight are read to their ends, so that no
// backlog is left for whoever is measured next. Prints one line of JSON. A chunk is an event that carries the time of
// its sending, "@T<16 digits, us>" (see fastup.c): its latency is the time it took from there to here.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_HEAD 16384
#define MAX_DELTA_LINE 1500 // longer lines repeat the whole text, and with it the stamps of all its deltas
#define MAX_SAMPLES 4000000
#define MAX_EVENTS 512
#define MAX_DRAIN_US 25000000LL

enum state { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, SIZED_BODY, BODY_UNTIL_CLOSE };

struct client {
    int fd;
    bool busy, seen_body, keep_alive, trailer_line_is_empty;
    enum state state;
    int status;
    long left; // bytes of the chunk or of the sized body
    long chunks;
    long long sent_us;
    char head[MAX_HEAD];
    size_t head_length;
    char size_line[64];
    size_t size_length;
    char *line; // an event's line whose end has not come yet
    size_t line_length, line_capacity;
};

struct samples {
    int *us;
    size_t count;
};

static struct sockaddr_in address;
static char *request;
static size_t request_length;
static int poller;
static bool stopping;
static long requests, errors, chunks;
static struct samples first_byte, latency;

static long long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void sample(struct samples *samples, long long us) {
    if (samples->count < MAX_SAMPLES) samples->us[samples->count++] = us;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static double percentile_ms(const struct samples *samples, double share) {
    return samples->count ? samples->us[(size_t)(share * (samples->count - 1))] / 1e3 : 0;
}

// --- requests ------------------------------------------------------------------------------------

static void send_request(struct client *c) {
    c->busy = true;
    c->state = HEAD;
    c->seen_body = false;
    c->head_length = c->line_length = c->chunks = 0;
    c->sent_us = now_us();
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) errors++;
}

static void connect_client(struct client *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (void *)&address, sizeof address)) {
        perror("fastload: cannot connect");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &interest);
    send_request(c);
}

static void next_request(struct client *c) {
    c->busy = false;
    if (!c->keep_alive || stopping) close(c->fd);
    if (stopping) return;
    if (c->keep_alive) send_request(c);
    else connect_client(c);
}

static void complete(struct client *c) {
    requests++;
    if (c->status != 200 || !c->chunks) errors++;
    next_request(c);
}

static void fail(struct client *c) {
    errors++;
    c->keep_alive = false;
    if (errors > 1000) {
        fprintf(stderr, "fastload: more than 1000 errors\n");
        exit(1);
    }
    next_request(c);
}

// --- answers -------------------------------------------------------------------------------------

static void read_line(struct client *c, const char *line, size_t length, long long t) {
    if (length < 6 || length > MAX_DELTA_LINE || memcmp(line, "data:", 5)) return;
    const char *stamp = memmem(line, length, "@T", 2);
    if (!stamp || stamp + 18 > line + length) return;
    long long sent_us = 0;
    for (int i = 2; i < 18; i++) sent_us = 10 * sent_us + (stamp[i] - '0');
    c->chunks++;
    chunks++;
    sample(&latency, t - sent_us);
}

static void read_body(struct client *c, const char *bytes, size_t length, long long t) {
    if (!c->seen_body) {
        c->seen_body = true;
        sample(&first_byte, t - c->sent_us);
    }
    while (length) {
        const char *end = memchr(bytes, '\n', length);
        size_t taken = end ? (size_t)(end - bytes + 1) : length;
        if (end && !c->line_length) {
            read_line(c, bytes, taken, t);
        } else {
            if (c->line_length + taken > c->line_capacity) {
                c->line_capacity = 2 * (c->line_length + taken);
                c->line = realloc(c->line, c->line_capacity);
            }
            memcpy(c->line + c->line_length, bytes, taken);
            c->line_length += taken;
            if (end) {
                read_line(c, c->line, c->line_length, t);
                c->line_length = 0;
            }
        }
        bytes += taken;
        length -= taken;
    }
}

// Take what belongs to the head; the number of bytes taken.
static size_t read_head(struct client *c, const char *bytes, size_t length) {
    size_t before = c->head_length, room = sizeof c->head - 1 - before, copied = length < room ? length : room;
    memcpy(c->head + before, bytes, copied);
    c->head_length += copied;
    c->head[c->head_length] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return length;
    size_t taken = end + 4 - c->head - before;
    end[2] = 0;
    c->status = atoi(c->head + strlen("HTTP/1.1 "));
    c->keep_alive = !strcasestr(c->head, "\r\nconnection: close");
    char *size = strcasestr(c->head, "\r\ncontent-length:");
    if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) {
        c->state = CHUNK_SIZE;
        c->size_length = 0;
    } else if (size) {
        c->state = SIZED_BODY;
        c->left = atol(size + strlen("\r\ncontent-length:"));
    } else {
        c->state = BODY_UNTIL_CLOSE;
        c->keep_alive = false;
    }
    if (c->status != 200 && errors < 2)
        fprintf(stderr, "fastload: status %d: %.*s\n", c->status, (int)(length - taken), bytes + taken);
    return taken;
}

static size_t read_chunk_size(struct client *c, const char *bytes, size_t length) {
    const char *end = memchr(bytes, '\n', length);
    size_t taken = end ? (size_t)(end - bytes + 1) : length;
    if (c->size_length + taken < sizeof c->size_line) {
        memcpy(c->size_line + c->size_length, bytes, taken);
        c->size_length += taken;
    }
    if (end) {
        c->size_line[c->size_length] = 0;
        c->size_length = 0;
        c->left = strtol(c->size_line, NULL, 16);
        c->state = c->left ? CHUNK_DATA : TRAILER;
        c->trailer_line_is_empty = true;
    }
    return taken;
}

// Read bytes of the answer; true when it has ended.
static bool read_answer(struct client *c, const char *bytes, size_t length, long long t) {
    while (length) {
        size_t taken = c->left > 0 && (size_t)c->left < length ? (size_t)c->left : length;
        switch (c->state) {
        case HEAD:
            taken = read_head(c, bytes, length);
            if (c->state == SIZED_BODY && !c->left) return true;
            break;
        case CHUNK_SIZE:
            taken = read_chunk_size(c, bytes, length);
            break;
        case CHUNK_DATA:
            read_body(c, bytes, taken, t);
            if (!(c->left -= taken)) {
                c->state = CHUNK_END;
                c->left = 2;
            }
            break;
        case CHUNK_END:
            if (!(c->left -= taken)) c->state = CHUNK_SIZE;
            break;
        case TRAILER:
            taken = 1;
            if (*bytes == '\n') {
                if (c->trailer_line_is_empty) return true;
                c->trailer_line_is_empty = true;
            } else if (*bytes != '\r') {
                c->trailer_line_is_empty = false;
            }
            break;
        case SIZED_BODY:
            read_body(c, bytes, taken, t);
            if (!(c->left -= taken)) return true;
            break;
        case BODY_UNTIL_CLOSE:
            read_body(c, bytes, length, t);
            return false;
        }
        bytes += taken;
        length -= taken;
    }
    return false;
}

static void receive(struct client *c, long long t) {
    static char buffer[1 << 18];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) {
        if (read_answer(c, buffer, got, t)) complete(c);
    } else {
        c->keep_alive = false;
        if (c->state == BODY_UNTIL_CLOSE) complete(c);
        else fail(c);
    }
}

static void poll_once(void) {
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(poller, events, MAX_EVENTS, 50);
    long long t = now_us();
    for (int i = 0; i < count; i++) receive(events[i].data.ptr, t);
}

static bool any_busy(const struct client *clients, int count) {
    for (int i = 0; i < count; i++) {
        if (clients[i].busy) return true;
    }
    return false;
}

static void build_request(int port, const char *path, const char *body_file) {
    static char body[1 << 20];
    FILE *file = fopen(body_file, "r");
    if (!file) {
        perror("fastload: cannot read the body");
        exit(2);
    }
    size_t length = fread(body, 1, sizeof body, file);
    fclose(file);
    request = malloc(length + 4096);
    request_length = sprintf(request,
                             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n"
                             "Authorization: Bearer sk-bench\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n",
                             path, port, length);
    memcpy(request + request_length, body, length);
    request_length += length;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: fastload PORT PATH BODYFILE CLIENTS SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]), client_count = atoi(argv[4]);
    double seconds = atof(argv[5]);
    build_request(port, argv[2], argv[3]);
    address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    first_byte.us = malloc(MAX_SAMPLES * sizeof(int));
    latency.us = malloc(MAX_SAMPLES * sizeof(int));
    poller = epoll_create1(0);
    struct client *clients = calloc(client_count, sizeof *clients);

    long long started = now_us(), end = started + (long long)(seconds * 1e6);
    for (int i = 0; i < client_count; i++) connect_client(&clients[i]);
    while (now_us() < end) poll_once();
    stopping = true;
    while (any_busy(clients, client_count) && now_us() < end + MAX_DRAIN_US) poll_once();
    if (any_busy(clients, client_count)) errors++;

    qsort(first_byte.us, first_byte.count, sizeof(int), ascending);
    qsort(latency.us, latency.count, sizeof(int), ascending);
    printf("{\"requests\":%ld,\"errors\":%ld,\"chunks\":%ld,\"seconds\":%.3f,"
           "\"first_byte_p50_ms\":%.3f,\"first_byte_p99_ms\":%.3f,\"latency_p50_ms\":%.3f,\"latency_p99_ms\":%.3f}\n",
           requests, errors, chunks, (now_us() - started) / 1e6, percentile_ms(&first_byte, .5),
           percentile_ms(&first_byte, .99), percentile_ms(&latency, .5), percentile_ms(&latency, .99));
    return 0;
}
