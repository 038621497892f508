/* accept: the floor. An NFQUEUE reader that accepts every packet and looks at nothing but its id.
 *
 *   accept --queue N --mode single|batch --wait block|spin --copy BYTES --length PACKETS --buffer BYTES
 *
 * single: recv, one verdict, one sendto for each packet. batch: recvmmsg of up to BATCH, then one batch verdict for all
 * of them. block sleeps in the receive call, spin asks again (MSG_DONTWAIT). Queue settings as conduitd's: copy range,
 * GSO and FAIL_OPEN in one acknowledged message, queue length, receive buffer. Says "ready" when bound and configured,
 * and on SIGTERM what it did, as JSON. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, ROOM_BYTES = 512 /* netlink headers and every attribute but the payload */ };

struct verdict {
    struct nlmsghdr netlink;
    struct nfgenmsg family;
    struct nlattr attribute;
    struct nfqnl_msg_verdict_hdr header;
};

static volatile sig_atomic_t ended;
static const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

static void end(int number) {
    (void)number;
    ended = 1;
}

/* One configuration message with one or two attributes, acknowledged by the kernel. */
static void configure(int fd, uint16_t queue, const void *attributes, size_t bytes) {
    struct {
        struct nlmsghdr netlink;
        struct nfgenmsg family;
        uint8_t attributes[64];
    } message = {0};
    uint8_t answer[8192];
    memcpy(message.attributes, attributes, bytes);
    message.netlink.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + sizeof message.family + bytes);
    message.netlink.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
    message.netlink.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message.family.res_id = htons(queue);
    if (sendto(fd, &message, message.netlink.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
        fail("configure");
    if (recv(fd, answer, sizeof answer, 0) < (ssize_t)(NLMSG_HDRLEN + sizeof(struct nlmsgerr)))
        fail("acknowledgement");
    struct nlmsghdr *header = (struct nlmsghdr *)answer;
    int error = header->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(header))->error : -EPROTO;
    if (error) {
        errno = -error;
        fail("the kernel refused the queue's configuration");
    }
}

static int open_queue(uint16_t queue, uint32_t copy, uint32_t length, int buffer) {
    struct {
        struct nlattr attribute;
        struct nfqnl_msg_config_cmd command;
    } bind_it = {{sizeof bind_it, NFQA_CFG_CMD}, {.command = NFQNL_CFG_CMD_BIND}};
    struct {
        struct nlattr attribute;
        struct nfqnl_msg_config_params params;
        uint8_t padding[3];
    } range = {{sizeof(struct nlattr) + sizeof(struct nfqnl_msg_config_params), NFQA_CFG_PARAMS},
               {.copy_range = htonl(copy), .copy_mode = NFQNL_COPY_PACKET},
               {0}};
    struct {
        struct nlattr attribute;
        uint32_t value;
    } longest = {{8, NFQA_CFG_QUEUE_MAXLEN}, htonl(length)},
      flags[2] = {{{8, NFQA_CFG_FLAGS}, htonl(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN)},
                  {{8, NFQA_CFG_MASK}, htonl(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN)}};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) < 0)
        fail("netlink socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        fail("SO_RCVBUFFORCE");
    configure(fd, queue, &bind_it, sizeof bind_it);
    configure(fd, queue, &longest, sizeof longest);
    configure(fd, queue, flags, sizeof flags);
    configure(fd, queue, &range, sizeof range); /* last: from now on packets come */
    return fd;
}

/* The packet's id: its header is the first attribute that the kernel writes. 0 for anything that is no packet. */
static uint32_t packet_id(const uint8_t *message, unsigned length) {
    const struct nlattr *first = (const struct nlattr *)(message + NLMSG_HDRLEN + sizeof(struct nfgenmsg));
    const struct nlmsghdr *header = (const struct nlmsghdr *)message;
    if (length < NLMSG_HDRLEN + sizeof(struct nfgenmsg) + sizeof *first + sizeof(struct nfqnl_msg_packet_hdr) ||
        header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || first->nla_type != NFQA_PACKET_HDR)
        return 0;
    return ((const struct nfqnl_msg_packet_hdr *)(first + 1))->packet_id;
}

static void send_verdict(int fd, struct verdict *verdict, uint32_t id_be) {
    verdict->header.id = id_be;
    if (sendto(fd, verdict, sizeof *verdict, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0 && errno != EINTR)
        fail("verdict");
}

int main(int argc, char **argv) {
    uint16_t queue = (uint16_t)atoi(option(argc, argv, "queue", "0"));
    uint32_t copy = (uint32_t)atoi(option(argc, argv, "copy", "512"));
    int batch = strcmp(option(argc, argv, "mode", NULL), "batch") == 0;
    int spin = strcmp(option(argc, argv, "wait", "block"), "spin") == 0;
    int fd = open_queue(queue, copy, (uint32_t)atoi(option(argc, argv, "length", "1024")),
                        atoi(option(argc, argv, "buffer", "8388608")));
    size_t stride = (copy + ROOM_BYTES + 63) & ~(size_t)63;
    uint8_t *buffers = calloc(BATCH, stride);
    struct mmsghdr messages[BATCH] = {0};
    struct iovec vectors[BATCH];
    struct verdict verdict = {
        .netlink = {.nlmsg_len = sizeof verdict,
                    .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | (batch ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT),
                    .nlmsg_flags = NLM_F_REQUEST},
        .family = {.res_id = htons(queue)},
        .attribute = {sizeof verdict.attribute + sizeof verdict.header, NFQA_VERDICT_HDR},
        .header = {.verdict = htonl(NF_ACCEPT)}};
    struct sigaction action = {.sa_handler = end}; /* no SA_RESTART: a signal ends the wait */
    uint64_t packets = 0, receives = 0, overruns = 0;
    if (!buffers)
        fail("memory");
    sigaction(SIGTERM, &action, NULL);
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){buffers + (size_t)i * stride, stride};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    printf("ready\n");
    fflush(stdout);
    while (!ended) {
        int count;
        if (batch) {
            count = recvmmsg(fd, messages, BATCH, spin ? MSG_DONTWAIT : MSG_WAITFORONE, NULL);
        } else {
            ssize_t got = recv(fd, buffers, stride, spin ? MSG_DONTWAIT : 0);
            messages[0].msg_len = got < 0 ? 0 : (unsigned)got;
            count = got < 0 ? -1 : 1;
        }
        if (count < 0) {
            if (errno == ENOBUFS)
                overruns++;
            else if (errno != EAGAIN && errno != EINTR)
                fail("receive");
            continue;
        }
        uint32_t last = 0;
        receives++;
        for (int i = 0; i < count; i++) {
            uint32_t id = packet_id(buffers + (size_t)i * stride, messages[i].msg_len);
            packets += id != 0;
            last = id ? id : last;
        }
        if (last)
            send_verdict(fd, &verdict, last);
    }
    printf("{\"packets\": %llu, \"receives\": %llu, \"overruns\": %llu}\n", (unsigned long long)packets,
           (unsigned long long)receives, (unsigned long long)overruns);
    return 0;
}
