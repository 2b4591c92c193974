/* init_net.c - net.c over a kernel, a DHCP server and a disk that are played here: what it does and
 * says when a link comes up, its address is refused, a lease comes, an IPv6 address comes and goes.
 *
 * The functions of netlink.c, dhcp_socket.c and file.c below stand in for those files.
 */
#include "../../init/init.h"
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IFINDEX 7
#define ADDR "\xc0\xa8\x07\x2a"
#define SERVER "\xc0\xa8\x07\x01"

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
static void (*tell_event)(const void *msg, size_t len);
static int server_fd = -1; // the other end of the card's packet socket
static uint8_t sent[DHCP_MESSAGE_MAX];
static int n_sent, n_addresses, kernel_says; // the errno for a new address; 0: it is taken
static char resolv_conf[1024];
static FILE *said;
static int real_stderr;

/* ---- netlink.c ---- */

enum status nl_open(void (*event)(const void *msg, size_t len), struct err *err)
{
    (void)err;
    tell_event = event;
    return OK;
}

bool nl_is_wired(const char *nic)
{
    return strcmp(nic, "eth0") == 0;
}

enum status nl_link_up(int ifindex)
{
    (void)ifindex;
    return OK;
}

enum status nl_address(bool add, int ifindex, uint32_t addr, uint32_t mask, uint32_t lease_s)
{
    CHECK(ifindex == IFINDEX && memcmp(&addr, ADDR, 4) == 0 && mask && (lease_s || !add));
    errno = add ? kernel_says : 0;
    if (errno)
        return IO_ERROR;
    n_addresses += add ? 1 : -1;
    return OK;
}

enum status nl_route(bool add, int ifindex, const struct dhcp_route *r, bool on_link)
{
    (void)add, (void)r, (void)on_link;
    CHECK(ifindex == IFINDEX);
    return OK;
}

/* ---- dhcp_socket.c ---- */

int dhcp_packet_open(int ifindex)
{
    int pair[2];

    CHECK(ifindex == IFINDEX);
    if (server_fd >= 0)
        close(server_fd);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
        abort();
    server_fd = pair[1];
    return pair[0];
}

void dhcp_packet_send(int fd, int ifindex, const struct dhcp *d)
{
    (void)fd, (void)ifindex;
    dhcp_build(d, sent, now_ms());
    n_sent++;
}

int dhcp_udp_open(const char *nic, uint32_t addr)
{
    (void)nic, (void)addr;
    return -1;
}

void dhcp_udp_send(int fd, uint32_t to_addr, const struct dhcp *d)
{
    (void)fd, (void)to_addr, (void)d;
    CHECK(!"nothing is renewed here");
}

/* ---- file.c ---- */

enum status replace_file(const char *path, const char *text, size_t len, mode_t mode,
                         struct err *err)
{
    (void)mode, (void)err;
    CHECK_TEXT(path, "/etc/resolv.conf");
    snprintf(resolv_conf, sizeof(resolv_conf), "%.*s", (int)len, text);
    return OK;
}

enum status write_file(const char *path, const char *text, struct err *err)
{
    (void)path, (void)text;
    return err_set(err, NOT_FOUND, "not here");
}

ssize_t read_file(const char *path, char *buf, size_t cap)
{
    (void)path, (void)buf, (void)cap;
    return -1;
}

enum status read_whole(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
    (void)path, (void)max, (void)text, (void)len;
    return err_set(err, NOT_FOUND, "not here");
}

/* ---- the world around the card ---- */

static void link_is(unsigned flags)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg m;
        struct rtattr name;
        char eth0[8];
        struct rtattr address;
        uint8_t mac[8];
    } s = {.head = {.nlmsg_len = sizeof(s), .nlmsg_type = RTM_NEWLINK},
           .m = {.ifi_type = ARPHRD_ETHER, .ifi_index = IFINDEX, .ifi_flags = flags},
           .name = {.rta_len = RTA_LENGTH(5), .rta_type = IFLA_IFNAME},
           .eth0 = "eth0",
           .address = {.rta_len = RTA_LENGTH(6), .rta_type = IFLA_ADDRESS}};
    memcpy(s.mac, mac, 6);
    tell_event(&s, sizeof(s));
}

static void address_is(uint16_t type, const char *text)
{
    struct {
        struct nlmsghdr head;
        struct ifaddrmsg m;
        struct rtattr a;
        uint8_t addr[16];
    } s = {.head = {.nlmsg_len = sizeof(s), .nlmsg_type = type},
           .m = {.ifa_family = AF_INET6, .ifa_scope = RT_SCOPE_SITE, .ifa_index = IFINDEX},
           .a = {.rta_len = RTA_LENGTH(16), .rta_type = IFA_ADDRESS}};
    inet_pton(AF_INET6, text, s.addr);
    tell_event(&s, sizeof(s));
}

/* The server's answer to what was sent last: type 2 offers, type 5 acknowledges. */
static void answer(uint8_t type)
{
    static const uint8_t options[] = {54, 4,   0xc0, 0xa8, 7, 1, 51, 4,    0,    0, 14, 16, 1,
                                      4,  255, 255,  255,  0, 6, 4,  0xc0, 0xa8, 7, 1,  255};
    uint8_t msg[300] = {2, 1, 6}, packet[28 + DHCP_MESSAGE_MAX];

    memcpy(msg + 4, sent + 4, 4);
    memcpy(msg + 16, ADDR, 4);
    memcpy(msg + 28, mac, 6);
    memcpy(msg + 236, "\x63\x82\x53\x63\x35\x01", 6);
    msg[242] = type;
    memcpy(msg + 243, options, sizeof(options));
    size_t len = dhcp_wrap(packet, msg, sizeof(msg));
    packet[21] = 67; // dhcp_wrap sends to a server
    packet[23] = 68;
    CHECK(write(server_fd, packet, len) == (ssize_t)len);
    loop_once(now_ms() + 1000);
}

static uint8_t sent_type(void)
{
    return memcmp(sent + 240, "\x35\x01", 2) == 0 ? sent[242] : 0;
}

/* What was said since the last call. */
static const char *heard(void)
{
    static char text[8192];

    rewind(said);
    size_t n = fread(text, 1, sizeof(text) - 1, said);
    text[n] = 0;
    if (strstr(text, ": failed: ")) // a CHECK's own words are for whoever runs this
        (void)!write(real_stderr, text, n);
    rewind(said);
    if (ftruncate(fileno(said), 0))
        abort();
    return text;
}

static void refuses_and_takes(void)
{
    link_is(IFF_UP | 0x10000);
    CHECK(n_sent == 1 && sent_type() == DHCP_DISCOVER);
    answer(2);
    CHECK(n_sent == 2 && sent_type() == DHCP_REQUEST);
    (void)heard();
    kernel_says = EADDRNOTAVAIL;
    answer(5);
    const char *text = heard();
    CHECK(n_sent == 3 && sent_type() == DHCP_DECLINE && n_addresses == 0);
    CHECK(memcmp(sent + 243, "\x32\x04" ADDR "\x36\x04" SERVER, 12) == 0);
    CHECK(strstr(text, "eth0: the kernel refused the address 192.168.7.42 from 192.168.7.1"));
    CHECK(strstr(text, "another is asked for in 10 s"));
    CHECK(net_tick(now_ms()) > now_ms() + 9000 && n_sent == 3); // no storm

    link_is(IFF_UP); // the cable, pulled and plugged in again
    link_is(IFF_UP | 0x10000);
    CHECK(n_sent == 4 && sent_type() == DHCP_DISCOVER);
    answer(2);
    kernel_says = 0;
    (void)heard();
    answer(5);
    text = heard();
    CHECK(n_sent == 5 && n_addresses == 1);
    CHECK(strstr(text, "eth0 has 192.168.7.42 from 192.168.7.1 for 60 min"));
    CHECK_TEXT(resolv_conf, "nameserver 192.168.7.1\n");
}

static void tells_of_ip6_once(void)
{
    (void)heard();
    address_is(RTM_NEWADDR, "fec0::7");
    CHECK(strstr(heard(), "eth0 has fec0::7 (IPv6"));
    address_is(RTM_NEWADDR, "2001:db8::7");
    CHECK(strstr(heard(), "eth0 has 2001:db8::7 (IPv6"));
    for (int i = 0; i < 3; i++) { // the router's next announcements
        address_is(RTM_NEWADDR, "fec0::7");
        address_is(RTM_NEWADDR, "2001:db8::7");
        CHECK_TEXT(heard(), "");
    }
    address_is(RTM_DELADDR, "fec0::7");
    CHECK(strstr(heard(), "eth0 has lost fec0::7"));
    address_is(RTM_DELADDR, "fec0::7");
    CHECK_TEXT(heard(), "");
}

int main(void)
{
    struct err err;

    real_stderr = dup(STDERR_FILENO);
    said = tmpfile();
    if (!said || real_stderr < 0)
        return 1;
    CHECK(net_open(&err) == OK);
    net_start_dhcp("tawny");
    loop_timer(net_tick);
    dup2(fileno(said), STDERR_FILENO); // where init speaks as long as it has no console
    refuses_and_takes();
    tells_of_ip6_once();
    (void)heard();
    dup2(real_stderr, STDERR_FILENO);
    fclose(said);
    return check_done("init_net");
}
