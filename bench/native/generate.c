/* generate: numbered frames of many flows out of one interface, at a precise rate or as fast as it goes.
 *
 *   generate --interface a0 --flows FILE --run N --count N --rate PACKETS_PER_S --burst N [--seconds S] [--spread N]
 *
 * A line of FILE is one flow:  src_mac dst_mac src_ip dst_ip udp|tcp|icmp src_port dst_port frame_bytes weight
 * icmp is an echo request whose identifier is src_port. --spread makes every frame a conversation of its own: frame n
 * of a flow leaves from the n-th of that many addresses, and from the next port when all had their turn. --seconds ends
 * it before --count is reached. Flows take turns; one of weight 3 is sent three times as often as one of weight 1. --rate 0 sends as fast as it goes;
 * otherwise --burst frames (1 to BURST) leave together, as from a port that coalesces interrupts, and bursts keep the
 * rate. Waiting is spinning: nothing else paces 10 us. A generator that was held up catches up by BURST frames at most; beyond that its schedule slips, because
 * a burst of everything that is late would test queue lengths and not rates. Prints what was sent, as JSON. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

enum { BURST = 64, FLOWS_MAX = 65536, WEIGHT_MAX = 1000 };

struct flow {
    uint8_t frame[FRAME_BYTES_MAX];
    unsigned bytes, probe_at, weight, source_port;
    uint32_t source; /* address, in host byte order */
    int protocol;
    uint64_t sent;
};

static struct flow *flows;
static unsigned flow_count, *schedule, schedule_count;
static uint64_t spread;

static uint32_t sum16(const uint8_t *p, unsigned bytes, uint32_t sum) {
    for (unsigned i = 0; i + 1 < bytes; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    return bytes & 1 ? sum + ((uint32_t)p[bytes - 1] << 8) : sum;
}

static void put16(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put_checksum(uint8_t *p, uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    put16(p, ~sum);
}

static void put_mac(uint8_t *p, const char *text) {
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", p, p + 1, p + 2, p + 3, p + 4, p + 5) != 6) {
        fprintf(stderr, "generate: %s is no MAC address\n", text);
        exit(2);
    }
}

static void build(struct flow *flow, char *word[9]) {
    uint8_t *ip = flow->frame + ETHERNET_BYTES, *transport = ip + IPV4_BYTES;
    flow->protocol = !strcmp(word[4], "tcp") ? IPPROTO_TCP : !strcmp(word[4], "icmp") ? IPPROTO_ICMP : IPPROTO_UDP;
    flow->bytes = (unsigned)atoi(word[7]);
    flow->weight = (unsigned)atoi(word[8]);
    flow->probe_at = ETHERNET_BYTES + IPV4_BYTES + (flow->protocol == IPPROTO_TCP ? TCP_BYTES : UDP_BYTES);
    if (flow->bytes < flow->probe_at + sizeof(struct probe) || flow->bytes > FRAME_BYTES_MAX ||
        flow->weight < 1 || flow->weight > WEIGHT_MAX) {
        fprintf(stderr, "generate: impossible frame size or weight: %s %s\n", word[7], word[8]);
        exit(2);
    }
    put_mac(flow->frame, word[1]);
    put_mac(flow->frame + 6, word[0]);
    put16(flow->frame + 12, ETH_P_IP);
    ip[0] = 0x45;
    put16(ip + 2, flow->bytes - ETHERNET_BYTES);
    put16(ip + 6, 0x4000); /* don't fragment */
    ip[8] = 64;
    ip[9] = (uint8_t)flow->protocol;
    if (inet_pton(AF_INET, word[2], ip + 12) != 1 || inet_pton(AF_INET, word[3], ip + 16) != 1) {
        fprintf(stderr, "generate: not addresses: %s %s\n", word[2], word[3]);
        exit(2);
    }
    put_checksum(ip + 10, sum16(ip, IPV4_BYTES, 0));
    memcpy(&flow->source, ip + 12, 4);
    flow->source = ntohl(flow->source);
    flow->source_port = (unsigned)atoi(word[5]);
    if (flow->protocol == IPPROTO_ICMP) {
        transport[0] = 8; /* echo request; sequence 0 */
        put16(transport + 4, flow->source_port);
        return;
    }
    put16(transport, flow->source_port);
    put16(transport + 2, (uint32_t)atoi(word[6]));
    if (flow->protocol == IPPROTO_TCP) {
        transport[12] = TCP_BYTES / 4 << 4;
        transport[13] = 0x18; /* PSH, ACK: a segment in the middle of a connection */
        put16(transport + 14, 0xFFFF);
    } else {
        put16(transport + 4, flow->bytes - ETHERNET_BYTES - IPV4_BYTES); /* UDP checksum 0: none */
    }
}

static void read_flows(const char *path) {
    char line[512], *word[9];
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path);
    flows = calloc(FLOWS_MAX, sizeof *flows);
    while (flow_count < FLOWS_MAX && fgets(line, sizeof line, file)) {
        int words = 0;
        for (char *next = strtok(line, " \n"); next && words < 9; next = strtok(NULL, " \n"))
            word[words++] = next;
        if (words != 9) {
            fprintf(stderr, "%s:%u: nine words make a flow\n", path, flow_count + 1);
            exit(2);
        }
        build(&flows[flow_count], word);
        schedule_count += flows[flow_count++].weight;
    }
    fclose(file);
    if (!flow_count) {
        fprintf(stderr, "%s: no flows\n", path);
        exit(2);
    }
    schedule = calloc(schedule_count, sizeof *schedule);
    for (unsigned turn = 0, at = 0; at < schedule_count; turn++)
        for (unsigned i = 0; i < flow_count; i++)
            if (flows[i].weight > turn)
                schedule[at++] = i;
}

/* Make a frame the first one of a conversation that no other frame belongs to. */
static void write_source(uint8_t *ip, const struct flow *flow, uint64_t sequence) {
    uint32_t address = htonl(flow->source + (uint32_t)(sequence % spread));
    memcpy(ip + 12, &address, 4);
    put16(ip + 10, 0);
    put_checksum(ip + 10, sum16(ip, IPV4_BYTES, 0));
    put16(ip + IPV4_BYTES, flow->source_port + (uint32_t)(sequence / spread));
}

/* The next frame of a flow, written where it is sent from: one flow may stand in a burst twice. */
static void write_frame(uint8_t *to, struct flow *flow, uint32_t run, uint64_t sequence) {
    struct probe probe = {.run = run, .flow = (uint32_t)(flow - flows), .sequence = sequence};
    memcpy(to, flow->frame, flow->bytes);
    uint8_t *ip = to + ETHERNET_BYTES, *tcp = ip + IPV4_BYTES;
    unsigned length = flow->bytes - ETHERNET_BYTES - IPV4_BYTES;
    memcpy(to + flow->probe_at, &probe, sizeof probe);
    if (spread)
        write_source(ip, flow, sequence);
    if (flow->protocol == IPPROTO_ICMP)
        put_checksum(tcp + 2, sum16(tcp, length, 0));
    if (flow->protocol == IPPROTO_TCP) {
        uint32_t number = htonl((uint32_t)(sequence * (length - TCP_BYTES))), acknowledged = htonl(1);
        memcpy(tcp + 4, &number, 4);
        memcpy(tcp + 8, &acknowledged, 4);
        put_checksum(tcp + 16, sum16(tcp, length, sum16(ip + 12, 8, IPPROTO_TCP + length)));
    }
}

static int open_interface(const char *name) {
    struct sockaddr_ll place = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
    int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: it receives nothing */
    if (!place.sll_ifindex)
        fail(name);
    if (fd < 0 || bind(fd, (struct sockaddr *)&place, sizeof place) < 0)
        fail("packet socket");
    if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0)
        fail("PACKET_QDISC_BYPASS");
    return fd;
}

int main(int argc, char **argv) {
    static uint8_t frames[BURST][FRAME_BYTES_MAX + 6];
    struct mmsghdr messages[BURST] = {0};
    struct iovec vectors[BURST];
    uint32_t run = (uint32_t)strtoul(option(argc, argv, "run", NULL), NULL, 10);
    uint64_t count = strtoull(option(argc, argv, "count", NULL), NULL, 10);
    double rate = atof(option(argc, argv, "rate", NULL)), interval_ns = rate > 0 ? 1e9 / rate : 0;
    uint64_t burst = strtoull(option(argc, argv, "burst", "1"), NULL, 10);
    uint64_t within_ns = (uint64_t)(atof(option(argc, argv, "seconds", "86400")) * 1e9);
    spread = strtoull(option(argc, argv, "spread", "0"), NULL, 10);
    uint64_t sent = 0, refused = 0, slipped_ns = 0;
    unsigned turn = 0;
    if (burst < 1 || burst > BURST) {
        fprintf(stderr, "generate: bursts have 1 to %d frames\n", BURST);
        return 2;
    }
    read_flows(option(argc, argv, "flows", NULL));
    int fd = open_interface(option(argc, argv, "interface", NULL));
    for (int i = 0; i < BURST; i++) {
        vectors[i].iov_base = frames[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    uint64_t begun = now_ns();
    double start = (double)begun;
    while (sent < count && now_ns() - begun < within_ns) {
        uint64_t wanted = BURST;
        if (interval_ns > 0) {
            double due = ((double)now_ns() - start) / interval_ns + 1 - (double)sent;
            if (due < (double)(burst < count - sent ? burst : count - sent))
                continue;
            if (due > BURST) {
                double late = (due - BURST) * interval_ns;
                start += late;
                slipped_ns += (uint64_t)late;
                due = BURST;
            }
            wanted = (uint64_t)due;
        }
        if (wanted > count - sent)
            wanted = count - sent;
        for (unsigned i = 0; i < wanted; i++) {
            struct flow *flow = &flows[schedule[turn]];
            turn = turn + 1 < schedule_count ? turn + 1 : 0;
            write_frame(frames[i], flow, run, flow->sent++);
            vectors[i].iov_len = flow->bytes;
        }
        for (unsigned done = 0; done < wanted;) {
            int taken = sendmmsg(fd, messages + done, (unsigned)wanted - done, 0);
            if (taken > 0) {
                done += (unsigned)taken;
            } else if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) {
                refused++; /* the same frame is tried again: it was not sent */
            } else {
                fail("sendmmsg");
            }
        }
        sent += wanted;
    }
    double seconds = (double)(now_ns() - begun) / 1e9;
    printf("{\"sent\": %llu, \"seconds\": %.6f, \"refused\": %llu, \"slipped_seconds\": %.6f, \"by_flow\": [",
           (unsigned long long)sent, seconds, (unsigned long long)refused, (double)slipped_ns / 1e9);
    for (unsigned i = 0; i < flow_count; i++)
        printf("%s%llu", i ? ", " : "", (unsigned long long)flows[i].sent);
    printf("]}\n");
    return 0;
}
