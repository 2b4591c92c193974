/* dhcp_socket.c - the two ways a DHCP message travels, and ARP's.
 *
 * Before it has an address a link talks through a packet socket (the kernel would pick the source
 * address of another card); a filter lets only UDP to port 68 through. To renew, an ordinary UDP
 * socket is used.
 */
#include "init.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int given_up(int fd)
{
    if (fd >= 0)
        close(fd); // leaves errno alone when it succeeds
    return -1;
}

int dhcp_packet_open(int ifindex)
{
    /* IPv4 header first: UDP? not a later fragment? port 68 behind a header of any length? */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 1600),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};
    struct sockaddr_ll here = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = ifindex};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0); // protocol 0: deaf until bound

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ||
        bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        return given_up(fd);
    }
    return fd;
}

void dhcp_packet_send(int fd, int ifindex, const struct dhcp *d)
{
    uint8_t msg[DHCP_MESSAGE_MAX], packet[28 + DHCP_MESSAGE_MAX];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_IP),
                             .sll_ifindex = ifindex,
                             .sll_halen = 6};

    memset(to.sll_addr, 255, 6);
    size_t len = dhcp_wrap(packet, msg, dhcp_build(d, msg, now_ms()));
    (void)!sendto(fd, packet, len, 0, (struct sockaddr *)&to, sizeof(to));
}

int dhcp_udp_open(const char *nic, uint32_t addr)
{
    char name[IFNAMSIZ] = "";
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons(68), .sin_addr.s_addr = addr};
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(name, nic, strnlen(nic, IFNAMSIZ - 1));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof(name)) ||
        setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) ||
        bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        return given_up(fd);
    }
    return fd;
}

void dhcp_udp_send(int fd, uint32_t to_addr, const struct dhcp *d)
{
    uint8_t msg[DHCP_MESSAGE_MAX];
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = to_addr};
    size_t len = dhcp_build(d, msg, now_ms());

    (void)!sendto(fd, msg, len, 0, (struct sockaddr *)&to, sizeof(to));
}

int arp_open(int ifindex)
{
    struct sockaddr_ll here = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = ifindex};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)))
        return given_up(fd);
    return fd;
}

void arp_send(int fd, int ifindex, const struct ll4 *l)
{
    uint8_t packet[ARP_BYTES];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ARP),
                             .sll_ifindex = ifindex,
                             .sll_halen = 6};

    memset(to.sll_addr, 255, 6);
    ll4_build(l, packet);
    (void)!sendto(fd, packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
}
