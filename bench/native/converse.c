/* converse: request and answer over real TCP connections, both ends in one thread, at a precise rate.
 *
 *   converse --client-netns PATH --server-netns PATH --client IP --server IP --port N --connections N --script FILE
 *
 * A line of FILE is one exchange: REQUEST_HEX ANSWER_HEX NUMBER_AT. All but the last are said once by every connection,
 * which is then ready; the last is repeated, with a number of its own in the two bytes at NUMBER_AT of both. Prints
 * "ready", then for every line "COUNT RATE BURST" of its input what became of so many exchanges, as JSON, until its
 * input ends. Connections take turns; --rate is kept by spinning, as in generate. Every byte is compared with what had
 * to come: one that differs, or nothing for PATIENCE_S, ends the program. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, EXCHANGES_MAX = 8, MESSAGE_MAX = 512, PATIENCE_S = 5 };

struct message {
    uint8_t bytes[MESSAGE_MAX];
    size_t count;
};

struct exchange {
    struct message request, answer;
    size_t number_at;
};

struct connection {
    int client, server;
    uint16_t number;
};

static struct exchange script[EXCHANGES_MAX];
static struct connection connections[CONNECTIONS_MAX];
static unsigned exchange_count, connection_count;

static void read_hex(struct message *message, const char *text) {
    for (message->count = 0; text[0] && text[1] && message->count < MESSAGE_MAX; text += 2)
        if (sscanf(text, "%2hhx", &message->bytes[message->count++]) != 1)
            fail("script");
}

static void read_script(const char *path) {
    char line[4 * MESSAGE_MAX + 64], request[2 * MESSAGE_MAX + 1], answer[2 * MESSAGE_MAX + 1];
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path);
    for (; exchange_count < EXCHANGES_MAX && fgets(line, sizeof line, file); exchange_count++) {
        struct exchange *next = &script[exchange_count];
        if (sscanf(line, "%1024s %1024s %zu", request, answer, &next->number_at) != 3) {
            fprintf(stderr, "%s:%u: three words make an exchange\n", path, exchange_count + 1);
            exit(2);
        }
        read_hex(&next->request, request);
        read_hex(&next->answer, answer);
        if (next->number_at + 2 > next->request.count || next->number_at + 2 > next->answer.count) {
            fprintf(stderr, "%s:%u: no room for a number\n", path, exchange_count + 1);
            exit(2);
        }
    }
    fclose(file);
    if (!exchange_count)
        exit(2);
}

static int socket_in(const char *netns, const char *ip, unsigned port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int on = 1, space = open(netns, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) < 0)
        fail(netns);
    close(space);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, ip, &here.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        bind(fd, (struct sockaddr *)&here, sizeof here) < 0)
        fail(ip);
    return fd;
}

/* Nothing is held back for company, and an acknowledgement travels with the answer: two segments an exchange. */
static void settle(int fd) {
    int on = 1, off = 0;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        fail("setsockopt");
}

static void number(struct message *message, size_t at, uint16_t value) {
    message->bytes[at] = (uint8_t)(value >> 8);
    message->bytes[at + 1] = (uint8_t)value;
}

static void say(int fd, const struct message *message) {
    if (send(fd, message->bytes, message->count, MSG_NOSIGNAL) != (ssize_t)message->count)
        fail("send");
}

/* Return 1 when a whole message came and is the expected one, 0 when nothing came yet. */
static int hear(int fd, const struct message *expected, int flags) {
    uint8_t bytes[MESSAGE_MAX];
    ssize_t got = recv(fd, bytes, expected->count, flags);
    if (got < 0 && flags && errno == EAGAIN)
        return 0;
    if (got != (ssize_t)expected->count || memcmp(bytes, expected->bytes, expected->count)) {
        fprintf(stderr, "converse: %zd bytes that were not said (%s)\n", got, got < 0 ? strerror(errno) : "other");
        exit(1);
    }
    return 1;
}

static void connect_all(int argc, char **argv) {
    const char *client_ip = option(argc, argv, "client", NULL), *server_ip = option(argc, argv, "server", NULL);
    const char *client_netns = option(argc, argv, "client-netns", NULL);
    unsigned port = (unsigned)atoi(option(argc, argv, "port", NULL));
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int listening = socket_in(option(argc, argv, "server-netns", NULL), server_ip, port);
    if (listen(listening, CONNECTIONS_MAX) < 0 || inet_pton(AF_INET, server_ip, &there.sin_addr) != 1)
        fail("listen");
    connection_count = (unsigned)atoi(option(argc, argv, "connections", NULL));
    if (connection_count < 1 || connection_count > CONNECTIONS_MAX)
        fail("connections");
    for (unsigned i = 0; i < connection_count; i++) {
        struct connection *one = &connections[i];
        one->client = socket_in(client_netns, client_ip, 0);
        if (connect(one->client, (struct sockaddr *)&there, sizeof there) < 0)
            fail("connect");
        one->server = accept(listening, NULL, NULL);
        if (one->server < 0)
            fail("accept");
        settle(one->client);
        settle(one->server);
        for (unsigned e = 0; e + 1 < exchange_count; e++) {
            say(one->client, &script[e].request);
            hear(one->server, &script[e].request, MSG_WAITALL);
            say(one->server, &script[e].answer);
            hear(one->client, &script[e].answer, MSG_WAITALL);
        }
    }
    close(listening);
}

/* Connections answer in the order in which they were asked: there is one queue in between. */
static void exchange(uint64_t count, double rate, uint64_t burst) {
    struct exchange *each = &script[exchange_count - 1];
    double interval_ns = 1e9 / rate;
    uint64_t asked = 0, answered = 0, done = 0, slipped_ns = 0;
    uint64_t begun = now_ns(), last = begun;
    double start = (double)begun;
    while (done < count) {
        uint64_t now = now_ns(), free_ones = connection_count - (asked - done);
        uint64_t wanted = burst < count - asked ? burst : count - asked;
        double due = ((double)now - start) / interval_ns + 1 - (double)asked;
        if (wanted && free_ones >= wanted && due >= (double)wanted) {
            if (due > 2 * (double)burst) { /* held up: the schedule slips */
                double late = (due - (double)burst) * interval_ns;
                start += late;
                slipped_ns += (uint64_t)late;
            }
            for (; wanted; wanted--, asked++) {
                struct connection *one = &connections[asked % connection_count];
                number(&each->request, each->number_at, ++one->number);
                say(one->client, &each->request);
            }
            last = now;
        }
        while (answered < asked) {
            struct connection *one = &connections[answered % connection_count];
            number(&each->request, each->number_at, one->number);
            if (!hear(one->server, &each->request, MSG_DONTWAIT))
                break;
            number(&each->answer, each->number_at, one->number);
            say(one->server, &each->answer);
            answered++;
        }
        while (done < answered) {
            struct connection *one = &connections[done % connection_count];
            number(&each->answer, each->number_at, one->number);
            if (!hear(one->client, &each->answer, MSG_DONTWAIT))
                break;
            done++;
            last = now;
        }
        if (now - last > PATIENCE_S * 1000000000ull) {
            fprintf(stderr, "converse: %llu of %llu were answered, then nothing came\n", (unsigned long long)done,
                    (unsigned long long)asked);
            exit(1);
        }
    }
    printf("{\"done\": %llu, \"seconds\": %.6f, \"slipped_seconds\": %.6f}\n", (unsigned long long)done,
           (double)(now_ns() - begun) / 1e9, (double)slipped_ns / 1e9);
    fflush(stdout);
}

int main(int argc, char **argv) {
    char line[128];
    unsigned long long count, burst;
    double rate;
    read_script(option(argc, argv, "script", NULL));
    connect_all(argc, argv);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%llu %lf %llu", &count, &rate, &burst) != 3 || rate <= 0 || burst < 1 ||
            burst > connection_count)
            exit(2);
        exchange(count, rate, burst);
    }
    return 0;
}
