/* sink: counts the frames of one run that arrive at an interface, exactly: per flow received, reordered, duplicated.
 *
 *   sink --interface b0 --run N --flows N [--settle-ms 50]
 *
 * Says "ready" when it listens. When its standard input ends it goes on until nothing came for --settle-ms, then prints
 * JSON. Frames lie in a memory-mapped ring of RING_BYTES until they are read, so that a sink that shares its CPU with
 * the generator loses nothing; `ring_dropped` says whether that held. Lost = what the generator sent less received. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 18, BLOCKS = 192, RETIRE_MS = 10, FLOWS_MAX = 65536 };

struct flow {
    uint64_t received, reordered, duplicated, next; /* next: highest sequence seen, plus one */
    uint8_t *seen;                                  /* one bit for each sequence */
    uint64_t seen_bytes;
};

static struct flow *flows;
static uint32_t run, flow_count;
static uint64_t received, ours, foreign, last_ns;

static void note(struct flow *flow, uint64_t sequence) {
    uint64_t byte = sequence >> 3;
    uint8_t bit = (uint8_t)(1u << (sequence & 7));
    if (byte >= flow->seen_bytes) {
        uint64_t bytes = byte * 2 + 4096;
        flow->seen = realloc(flow->seen, bytes);
        if (!flow->seen)
            fail("memory");
        memset(flow->seen + flow->seen_bytes, 0, bytes - flow->seen_bytes);
        flow->seen_bytes = bytes;
    }
    if (flow->seen[byte] & bit) {
        flow->duplicated++;
        return;
    }
    flow->seen[byte] |= bit;
    flow->received++;
    received++;
    if (sequence < flow->next)
        flow->reordered++;
    else
        flow->next = sequence + 1;
}

static void read_frame(const uint8_t *frame, unsigned bytes) {
    struct probe probe;
    unsigned at = ETHERNET_BYTES + IPV4_BYTES;
    if (bytes < at + TCP_BYTES || frame[12] != 0x08 || frame[13] != 0x00 || frame[14] != 0x45) {
        foreign++;
        return;
    }
    at += frame[ETHERNET_BYTES + 9] == IPPROTO_TCP ? TCP_BYTES : UDP_BYTES;
    if (bytes < at + sizeof probe) {
        foreign++;
        return;
    }
    memcpy(&probe, frame + at, sizeof probe);
    if (probe.run != run || probe.flow >= flow_count)
        foreign++;
    else
        ours++, note(&flows[probe.flow], probe.sequence);
}

static void read_block(struct tpacket_block_desc *block) {
    uint64_t before = ours;
    uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
    for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
        struct tpacket3_hdr *header = (struct tpacket3_hdr *)at;
        struct sockaddr_ll *from = (struct sockaddr_ll *)(at + TPACKET_ALIGN(sizeof *header));
        if (from->sll_pkttype != PACKET_OUTGOING)
            read_frame(at + header->tp_mac, header->tp_snaplen);
        at += header->tp_next_offset;
    }
    if (ours > before) /* other traffic of the host is no reason to wait on */
        last_ns = now_ns();
}

static int open_ring(const char *name, uint8_t **ring) {
    int version = TPACKET_V3;
    struct tpacket_req3 request = {.tp_block_size = BLOCK_BYTES,
                                   .tp_block_nr = BLOCKS,
                                   .tp_frame_size = 2048,
                                   .tp_frame_nr = BLOCK_BYTES / 2048 * BLOCKS,
                                   .tp_retire_blk_tov = RETIRE_MS};
    struct sockaddr_ll place = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(name)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (!place.sll_ifindex)
        fail(name);
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0)
        fail("packet socket");
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        fail("PACKET_RX_RING");
    *ring = mmap(NULL, (size_t)BLOCK_BYTES * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*ring == MAP_FAILED || bind(fd, (struct sockaddr *)&place, sizeof place) < 0)
        fail("ring");
    return fd;
}

static void report(int fd) {
    struct tpacket_stats_v3 stats = {0};
    socklen_t size = sizeof stats;
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0)
        fail("PACKET_STATISTICS");
    printf("{\"received\": %llu, \"foreign\": %llu, \"ring_dropped\": %u, \"by_flow\": [", (unsigned long long)received,
           (unsigned long long)foreign, stats.tp_drops);
    for (uint32_t i = 0; i < flow_count; i++)
        printf("%s[%llu, %llu, %llu]", i ? ", " : "", (unsigned long long)flows[i].received,
               (unsigned long long)flows[i].reordered, (unsigned long long)flows[i].duplicated);
    printf("]}\n");
}

int main(int argc, char **argv) {
    uint8_t *ring;
    unsigned at = 0;
    int ending = 0;
    char ignored[256];
    run = (uint32_t)strtoul(option(argc, argv, "run", NULL), NULL, 10);
    flow_count = (uint32_t)strtoul(option(argc, argv, "flows", NULL), NULL, 10);
    uint64_t settle_ns = strtoull(option(argc, argv, "settle-ms", "50"), NULL, 10) * 1000000u;
    if (flow_count < 1 || flow_count > FLOWS_MAX) {
        fprintf(stderr, "sink: impossible number of flows\n");
        return 2;
    }
    flows = calloc(flow_count, sizeof *flows);
    int fd = open_ring(option(argc, argv, "interface", NULL), &ring);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct tpacket_block_desc *block = (struct tpacket_block_desc *)(ring + (size_t)at * BLOCK_BYTES);
        if (__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) {
            read_block(block);
            __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
            at = (at + 1) % BLOCKS;
            continue;
        }
        if (ending && now_ns() - last_ns > settle_ns)
            break;
        struct pollfd wait[2] = {{.fd = fd, .events = POLLIN}, {.fd = ending ? -1 : 0, .events = POLLIN}};
        if (poll(wait, 2, RETIRE_MS) > 0 && wait[1].revents && read(0, ignored, sizeof ignored) <= 0) {
            ending = 1;
            last_ns = now_ns();
        }
    }
    report(fd);
    return 0;
}
