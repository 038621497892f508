/* What generator and sink agree on: the frames' payload, and the small things that every program here needs.
 * Both ends run on one machine, so the payload is in native byte order. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ETHERNET_BYTES = 14, IPV4_BYTES = 20, UDP_BYTES = 8, TCP_BYTES = 20, FRAME_BYTES_MAX = 1514 };

struct probe {
    uint32_t run;  /* frames of another run, and foreign ones, are not counted */
    uint32_t flow; /* line of the flows file, from 0 */
    uint64_t sequence;
} __attribute__((packed));

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Value of `--name VALUE`; the fallback where it is not given, an error where there is none. */
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
            return argv[i + 1];
    if (!fallback) {
        fprintf(stderr, "%s: --%s is missing\n", argv[0], name);
        exit(2);
    }
    return fallback;
}

#endif
