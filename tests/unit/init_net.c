/* init_net.c - net.c over a kernel, a DHCP server and a disk that are played here: what it does and
 * says when a link comes up, its address is refused, a lease comes, an IPv6 address comes and goes.
 *
 * The functions of netlink.c, dhcp_socket.c and file.c below stand in for those files.
 */
#include "../../init/nic.h"
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/resource.h>
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
static int n_addresses6, n_routes, n_routes6;
static uint32_t last_address;
static struct dhcp_route last_route;
static bool last_on_link;
static int neighbour_fd = -1; // the other end of the card's ARP socket
static uint8_t arp_sent[ARP_BYTES];
static int n_arp;
static int64_t ahead_ms; // the clock is so much ahead of the machine's
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
    CHECK(ifindex == IFINDEX && mask && (lease_s || !add));
    last_address = addr;
    errno = add ? kernel_says : 0;
    if (errno)
        return IO_ERROR;
    n_addresses += add ? 1 : -1;
    return OK;
}

enum status nl_address6(bool add, int ifindex, const uint8_t addr[16], uint8_t bits)
{
    CHECK(ifindex == IFINDEX && addr && bits == 64);
    n_addresses6 += add ? 1 : -1;
    return OK;
}

enum status nl_route6(bool add, int ifindex, const uint8_t gateway[16])
{
    CHECK(ifindex == IFINDEX && gateway);
    n_routes6 += add ? 1 : -1;
    return OK;
}

enum status nl_route(bool add, int ifindex, const struct dhcp_route *r, bool on_link)
{
    CHECK(ifindex == IFINDEX);
    n_routes += add ? 1 : -1;
    if (add)
        last_route = *r;
    last_on_link = on_link;
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

int arp_open(int ifindex)
{
    int pair[2];

    CHECK(ifindex == IFINDEX);
    if (neighbour_fd >= 0)
        close(neighbour_fd);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
        abort();
    neighbour_fd = pair[1];
    return pair[0];
}

void arp_send(int fd, int ifindex, const struct ll4 *l)
{
    CHECK(fd >= 0 && ifindex == IFINDEX);
    ll4_build(l, arp_sent);
    n_arp++;
}

/* ---- file.c ---- */

enum status replace_file(const char *path, const char *text, size_t len, mode_t mode,
                         struct err *err)
{
    (void)mode, (void)err;
    CHECK_TEXT(path, "/etc/resolv.conf");
    CHECK(len == strlen(text) && len < sizeof(resolv_conf));
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

/* ---- log.c's clock: Makefile, WRAP_init_net ---- */

int64_t __real_now_ms(void);
int64_t __wrap_now_ms(void);
int64_t __wrap_now_ms(void)
{
    return __real_now_ms() + ahead_ms;
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
    CHECK(n_sent == 5 && n_addresses == 1 && memcmp(&last_address, ADDR, 4) == 0);
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

/* The card is gone, and with it all that was set on it. */
static void unplug_card(void)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg m;
    } s = {.head = {.nlmsg_len = sizeof(s), .nlmsg_type = RTM_DELLINK},
           .m = {.ifi_index = IFINDEX}};
    tell_event(&s, sizeof(s));
    n_addresses = n_addresses6 = n_routes = n_routes6 = n_sent = n_arp = 0;
    (void)heard();
}

/* Time goes by, half a second at a time; timers run. */
static void wait_ms(int64_t ms)
{
    for (int64_t at = 0; at < ms; at += 500) {
        ahead_ms += 500;
        (void)net_tick(now_ms());
    }
}

static void gives_itself_an_address(void)
{
    const char *text;

    unplug_card();
    link_is(IFF_UP | 0x10000);
    wait_ms(9000);
    CHECK(n_arp == 0 && n_addresses == 0);
    wait_ms(2000);
    CHECK(strstr(heard(), "eth0: no DHCP server has answered for 10 s"));
    wait_ms(3000);
    CHECK(n_arp >= 1 && n_addresses == 0);
    CHECK(memcmp(arp_sent + 14, "\0\0\0\0", 4) == 0); // a probe: it has no address yet
    wait_ms(8000);
    text = heard();
    CHECK(strstr(text, "eth0 has given itself 169.254.") && n_addresses == 1);
    CHECK(memcmp(&last_address, arp_sent + 14, 4) == 0); // and announces it
    CHECK(n_arp == 5 && n_routes == 0);

    answer(2); // a DHCP server is there after all
    answer(5);
    text = heard();
    CHECK(strstr(text, "eth0 has 192.168.7.42") && strstr(text, "is given up"));
    CHECK(n_addresses == 1 && neighbour_fd >= 0);
    wait_ms(20000);
    CHECK(n_arp == 5);
}

/* A neighbour says that it has the address: the second time it is given up, and no other. */
static void gives_up_what_it_has(void)
{
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 2};
    uint8_t packet[ARP_BYTES] = {0};
    char had[16];

    unplug_card();
    link_is(IFF_UP | 0x10000);
    wait_ms(22000);
    CHECK(n_addresses == 1);
    uint32_t set = last_address;
    CHECK(inet_ntop(AF_INET, &set, had, sizeof(had)));
    (void)heard();
    memcpy(packet, head, sizeof(head));
    memset(packet + 8, 2, 6);
    memcpy(packet + 14, &set, 4);
    for (int i = 0; i < 2; i++) {
        CHECK(write(neighbour_fd, packet, sizeof(packet)) == sizeof(packet));
        loop_once(now_ms() + 1000);
    }
    CHECK(n_addresses == 0 && last_address == set);
    const char *text = strstr(heard(), had);
    CHECK(text && strncmp(text + strlen(had), " is given up", 12) == 0);
}

/* A lease of an hour, and from then on nobody answers, whatever is plugged in. */
static void follows_a_lease_to_its_end(void)
{
    unplug_card();
    link_is(IFF_UP | 0x10000);
    answer(2);
    answer(5);
    CHECK(strstr(heard(), "eth0 has 192.168.7.42") && n_addresses == 1);
    wait_ms(60000);
    for (int i = 0; i < 2; i++) { // it stays, and an address of its own comes beside it
        link_is(IFF_UP);
        link_is(IFF_UP | 0x10000);
        CHECK(n_addresses == 1);
        wait_ms(60000);
        CHECK(strstr(heard(), "eth0 has given itself 169.254.") && n_addresses == 2);
    }
    wait_ms(3400000);
    CHECK(n_addresses == 2 && !strstr(heard(), "the lease has ended"));
    wait_ms(30000);
    CHECK(strstr(heard(), "eth0: the lease has ended") && n_addresses == 1);
    CHECK(memcmp(&last_address, ADDR, 4) == 0); // which was taken away
    CHECK_TEXT(resolv_conf, "");
    wait_ms(60000);
    CHECK(!strstr(heard(), "the lease has ended") && n_addresses == 1);
    answer(2);
    answer(5);
    CHECK(strstr(heard(), "eth0 has 192.168.7.42") && n_addresses == 1);
}

static void uses_fixed_addresses(void)
{
    static const char address[] = "eth0 10.9.8.7/24, fd00::7/64", gateway[] = "10.9.8.1, fe80::1",
                      dns[] = "10.9.8.2, fd00::53";
    struct net_static fixed = {.address.n = 0};
    struct err err;

    CHECK(static_read(&fixed, STATIC_ADDRESS, address, strlen(address), &err) == OK);
    CHECK(static_read(&fixed, STATIC_GATEWAY, gateway, strlen(gateway), &err) == OK);
    CHECK(static_read(&fixed, STATIC_DNS, dns, strlen(dns), &err) == OK);
    unplug_card();
    net_start("tawny", &fixed);
    link_is(IFF_UP | 0x10000);
    CHECK(strstr(heard(), "eth0 has 10.9.8.7 as the settings say, router 10.9.8.1"));
    CHECK(n_sent == 0 && n_addresses == 1 && n_addresses6 == 1 && n_routes == 1 && n_routes6 == 1);
    CHECK(last_address == inet_addr("10.9.8.7") && last_route.gateway == inet_addr("10.9.8.1"));
    CHECK(last_route.mask == 0 && !last_on_link);
    CHECK_TEXT(resolv_conf, "nameserver 10.9.8.2\nnameserver fd00::53\n");
    link_is(IFF_UP); // the cable, out and in
    link_is(IFF_UP | 0x10000);
    wait_ms(30000);
    CHECK(n_sent == 0 && n_addresses == 1 && n_addresses6 == 1 && n_arp == 0);

    unplug_card(); // a router that is not in the network of a /32
    static const char alone[] = "10.9.8.7/32", far[] = "10.0.0.1";
    CHECK(static_read(&fixed, STATIC_ADDRESS, alone, strlen(alone), &err) == OK);
    CHECK(static_read(&fixed, STATIC_GATEWAY, far, strlen(far), &err) == OK);
    net_start("tawny", &fixed);
    link_is(IFF_UP | 0x10000);
    CHECK(n_routes == 1 && last_on_link && last_route.gateway == inet_addr("10.0.0.1"));

    unplug_card(); // for another card: this one asks
    static const char other[] = "eth1 10.9.8.7/24";
    CHECK(static_read(&fixed, STATIC_ADDRESS, other, strlen(other), &err) == OK);
    net_start("tawny", &fixed);
    link_is(IFF_UP | 0x10000);
    CHECK(n_sent == 1 && sent_type() == DHCP_DISCOVER && n_addresses == 0);
}

/* Fixed addresses that name no card go to another when the first has no cable, all of them. */
static void moves_fixed_addresses(void)
{
    static const char two[] = "10.9.8.7/24, 10.9.8.8/24";
    struct net_static fixed = {.address.n = 0};
    struct nic before = nics[1];
    struct err err;

    unplug_card();
    CHECK(static_read(&fixed, STATIC_ADDRESS, two, strlen(two), &err) == OK);
    net_start("tawny", &fixed);
    link_is(IFF_UP | 0x10000);
    CHECK(n_addresses == 2);
    link_is(IFF_UP);
    nics[1] = before;
    nics[1].ifindex = IFINDEX;
    nics[1].carrier = true;
    CHECK(fixed_apply(&nics[1]) && n_addresses == 2 && !nics[0].has_lease);
    fixed_gone(&nics[1]);
    nics[1] = before;
}

/* No descriptor is free: what answers for our name is started later. */
static void tries_mdns_again(void)
{
    struct rlimit was, few = {0, 0};

    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    few.rlim_max = was.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    mdns_begin(443, 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    CHECK(mdns_due(now_ms()) < now_ms() + 60000);
    mdns_stop();
}

/* Every name server that there can be, and the longest domain: what has no room is left out. */
static void writes_name_servers(void)
{
    struct nic before = nics[1];
    static const uint8_t router[16] = {0xfe, 0x80, [15] = 1};

    unplug_card();
    nics[1] = (struct nic){.ifindex = IFINDEX + 1, .name = "eth1", .dns6.n = 1};
    memcpy(nics[1].dns6.addr[0], router, 16);
    resolv_conf_write();
    CHECK(strstr(resolv_conf, "nameserver fe80::1%8\n"));

    nics[1].has_lease = true;
    memset(nics[1].applied.domain, 'd', sizeof(nics[1].applied.domain) - 1);
    for (int n_long = 0; n_long <= IP6_MAX_DNS * (MAX_NICS - 1); n_long++) {
        for (int i = 1; i < MAX_NICS; i++) {
            nics[i].ifindex = IFINDEX + i;
            nics[i].dns6.n = 0;
            for (int k = 0; k < IP6_MAX_DNS && (i - 1) * IP6_MAX_DNS + k < n_long; k++) {
                memset(nics[i].dns6.addr[k], 0xfd, 16);
                nics[i].dns6.n = k + 1;
            }
        }
        resolv_conf_write();
        CHECK(n_long > 10 || strstr(resolv_conf, "search ddd"));
    }
    for (int i = 1; i < MAX_NICS; i++)
        nics[i] = before;
}

int main(void)
{
    static const struct net_static none;
    struct err err;

    real_stderr = dup(STDERR_FILENO);
    said = tmpfile();
    if (!said || real_stderr < 0)
        return 1;
    CHECK(net_open(&err) == OK);
    net_start("tawny", &none);
    loop_timer(net_tick);
    dup2(fileno(said), STDERR_FILENO); // where init speaks as long as it has no console
    refuses_and_takes();
    tells_of_ip6_once();
    gives_itself_an_address();
    gives_up_what_it_has();
    follows_a_lease_to_its_end();
    uses_fixed_addresses();
    writes_name_servers();
    moves_fixed_addresses();
    tries_mdns_again();
    (void)heard();
    dup2(real_stderr, STDERR_FILENO);
    fclose(said);
    return check_done("init_net");
}
