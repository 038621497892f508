/* echo: round trips through the gateway, asked and answered by one spinning thread.
 *
 *   echo --client-netns PATH --reflector-netns PATH --client IP:PORT --reflector IP:PORT
 *        --rate N --count N --bytes N --out FILE
 *
 * Client and reflector are two sockets in two namespaces, watched in turn without ever sleeping: neither adds a wake-up
 * of its own, and one CPU is enough, so that the judge has the other for itself. Requests leave at fixed times whether
 * or not the ones before were answered. FILE gets one native uint32 of nanoseconds per request, UINT32_MAX where no
 * answer came. Time: CLOCK_MONOTONIC, right before the send to right after the receive. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 1472, WAIT_FOR_LAST_MS = 300 };

static struct sockaddr_in address(const char *text) {
    char host[64];
    struct sockaddr_in found = {.sin_family = AF_INET};
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        fprintf(stderr, "echo: not IP:PORT: %s\n", text);
        exit(2);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    found.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &found.sin_addr) != 1)
        fail(text);
    return found;
}

static int open_in(const char *netns, struct sockaddr_in here, struct sockaddr_in there) {
    int space = open(netns, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) < 0)
        fail(netns);
    close(space);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) < 0 ||
        connect(fd, (struct sockaddr *)&there, sizeof there) < 0)
        fail("socket");
    return fd;
}

int main(int argc, char **argv) {
    struct sockaddr_in client_at = address(option(argc, argv, "client", NULL));
    struct sockaddr_in reflector_at = address(option(argc, argv, "reflector", NULL));
    int client = open_in(option(argc, argv, "client-netns", NULL), client_at, reflector_at);
    int reflector = open_in(option(argc, argv, "reflector-netns", NULL), reflector_at, client_at);
    uint32_t count = (uint32_t)strtoul(option(argc, argv, "count", NULL), NULL, 10);
    double interval_ns = 1e9 / atof(option(argc, argv, "rate", NULL));
    size_t bytes = strtoul(option(argc, argv, "bytes", "36"), NULL, 10);
    uint8_t request[REQUEST_BYTES_MAX] = {0}, answer[REQUEST_BYTES_MAX];
    if (bytes < sizeof(uint32_t) || bytes > sizeof request || !count) {
        fprintf(stderr, "echo: impossible size or count\n");
        return 2;
    }
    uint64_t *sent_ns = calloc(count, sizeof *sent_ns), answered = 0, refused = 0;
    uint32_t *trip_ns = malloc(count * sizeof *trip_ns), sent = 0, index;
    memset(trip_ns, 0xFF, count * sizeof *trip_ns);
    uint64_t start = now_ns(), last = start;
    while (answered < count) {
        uint64_t now = now_ns();
        if (sent < count && (double)(now - start) >= interval_ns * sent) {
            memcpy(request, &sent, sizeof sent);
            sent_ns[sent] = now_ns();
            refused += send(client, request, bytes, 0) < 0;
            sent++;
            last = now;
        }
        ssize_t got = recv(reflector, answer, sizeof answer, 0);
        if (got > 0)
            refused += send(reflector, answer, (size_t)got, 0) < 0;
        got = recv(client, answer, sizeof answer, 0);
        if (got >= (ssize_t)sizeof index) {
            now = now_ns();
            memcpy(&index, answer, sizeof index);
            if (index < sent && trip_ns[index] == UINT32_MAX) {
                uint64_t trip = now - sent_ns[index];
                trip_ns[index] = trip < UINT32_MAX ? (uint32_t)trip : UINT32_MAX - 1;
                answered++;
            }
        }
        if (sent == count && now - last > WAIT_FOR_LAST_MS * 1000000ull)
            break;
    }
    double seconds = (double)(last - start) / 1e9;
    FILE *out = fopen(option(argc, argv, "out", NULL), "wb");
    if (!out || fwrite(trip_ns, sizeof *trip_ns, count, out) != count || fclose(out))
        fail("out");
    printf("{\"sent\": %u, \"answered\": %llu, \"refused\": %llu, \"seconds\": %.6f}\n", sent,
           (unsigned long long)answered, (unsigned long long)refused, seconds);
    return 0;
}
