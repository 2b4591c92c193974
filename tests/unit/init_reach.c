/* init_reach.c - why nobody can reach the box: the sentence for each cause, devices without a
 * driver by what /sys says, IPv6 addresses by what rtnetlink says.
 */
#include "../../init/init.h"
#include "check.h"
#include "fake_root.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

static char text[300];

static const char *sentence(struct reach r)
{
    return reach_text(text, sizeof(text), &r) ? text : "";
}

static void tells_the_first_cause(void)
{
    struct reach r = {.drivers_busy = true};

    CHECK(strstr(sentence(r), "drivers are still starting"));
    r.drivers_busy = false;
    CHECK(strstr(sentence(r), "no wired network card was found") && strstr(text, "VirtIO"));
    r.n_unclaimed = 1;
    snprintf(r.unclaimed[0], sizeof(r.unclaimed[0]), "a USB network adapter (1234:5678)");
    CHECK(strstr(sentence(r), "a USB network adapter (1234:5678), but this image has no driver"));
    r.n_unclaimed = 2;
    CHECK(strstr(sentence(r), "(and more)"));
    r.n_nics = 1;
    snprintf(r.nic, sizeof(r.nic), "eth0");
    CHECK(strstr(sentence(r), "no network cable is plugged in (eth0)"));
    CHECK(strstr(text, "no driver for a USB network adapter"));
    r.n_carriers = 1;
    r.n_unclaimed = 0;
    CHECK_TEXT(sentence(r), "eth0 asks the network for an address");
    r.silent = true;
    CHECK(strstr(sentence(r), "eth0: no DHCP server has answered"));
    r.refused = true;
    CHECK(strstr(sentence(r), "cannot be used here"));
    r.has_ip6 = true;
    CHECK_TEXT(sentence(r), "");
    r = (struct reach){.has_ip4 = true};
    CHECK_TEXT(sentence(r), "");
}

static void usb(const char *interface, const char *class, const char *sub, const char *protocol)
{
    char path[200];

    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/bInterfaceClass", interface);
    fake_file(path, class);
    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/bInterfaceSubClass", interface);
    fake_file(path, sub);
    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/bInterfaceProtocol", interface);
    fake_file(path, protocol);
}

static void usb_device(const char *name, const char *vendor, const char *id, const char *product)
{
    char path[200];

    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/idVendor", name);
    fake_file(path, vendor);
    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/idProduct", name);
    fake_file(path, id);
    snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s/product", name);
    if (product)
        fake_file(path, product);
}

static void pci(const char *slot, const char *class, const char *vendor, const char *device)
{
    char path[200];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", slot);
    fake_file(path, class);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", slot);
    fake_file(path, vendor);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", slot);
    fake_file(path, device);
}

static void finds_devices_without_driver(void)
{
    char out[8][REACH_DEVICE];

    fake_begin();
    CHECK(unclaimed_nics(fake_root, out, 8) == 0); // no /sys at all
    usb_device("1-1", "0525\n", "a4a2\n", "RNDIS/QEMU USB Network Device\n");
    usb("1-1:1.0", "02\n", "06\n", "00\n");
    usb("1-1:1.1", "0a\n", "00\n", "00\n"); // its data
    usb_device("1-2", "0b95\n", "1790\n", "AX88179 \"x\" Gigabit Ethernet\n");
    usb("1-2:1.0", "ff\n", "ff\n", "00\n");
    usb_device("1-3", "8087\n", "0032\n", NULL); // Bluetooth
    usb("1-3:1.0", "e0\n", "01\n", "01\n");
    usb_device("1-4", "0bda\n", "8153\n", "USB 10/100/1000 LAN\n"); // has its driver
    usb("1-4:1.0", "ff\n", "ff\n", "00\n");
    fake_link("/sys/bus/usb/devices/1-4:1.0/driver", "../../r8152");
    usb_device("1-5", "abcd\n", "0001\n", "Fingerprint reader\n");
    usb("1-5:1.0", "ff\n", "00\n", "00\n");
    CHECK(unclaimed_nics(fake_root, out, 8) == 2);
    CHECK_TEXT(out[0], "a USB network adapter \"RNDIS/QEMU USB Network Device\" (0525:a4a2)");
    CHECK_TEXT(out[1], "a USB network adapter \"AX88179 ?x? Gigabit Ethernet\" (0b95:1790)");

    pci("0000:01:00.0", "0x020000\n", "0x8086\n", "0x57b2\n");
    pci("0000:02:00.0", "0x028000\n", "0x14c3\n", "0x7925\n");
    pci("0000:03:00.0", "0x030000\n", "0x1002\n", "0x150e\n"); // a GPU
    pci("0000:04:00.0", "0x020000\n", "0x10ec\n", "0x8125\n");
    fake_link("/sys/bus/pci/devices/0000:04:00.0/driver", "../../r8169");
    CHECK(unclaimed_nics(fake_root, out, 8) == 4);
    CHECK_TEXT(out[2], "a network card (PCI 8086:57b2 at 0000:01:00.0)");
    CHECK_TEXT(out[3], "a Wi-Fi card (PCI 14c3:7925 at 0000:02:00.0)");
    CHECK(unclaimed_nics(fake_root, out, 1) == 4); // told, though not all are named
    fake_end();
}

struct address_message {
    struct nlmsghdr head;
    struct ifaddrmsg m;
    struct rtattr a;
    uint8_t addr[16];
};

static struct address_message message(uint16_t type, uint8_t scope, uint8_t flags, const char *addr)
{
    struct address_message s = {
        .head = {.nlmsg_len = sizeof(s), .nlmsg_type = type},
        .m = {.ifa_family = AF_INET6, .ifa_scope = scope, .ifa_flags = flags, .ifa_index = 2},
        .a = {.rta_len = RTA_LENGTH(16), .rta_type = IFA_ADDRESS},
    };
    inet_pton(AF_INET6, addr, s.addr);
    return s;
}

static bool hear(struct address_message s, char addr[IP6_TEXT], bool *came)
{
    int ifindex = 0;
    bool read = ip6_read(&s, sizeof(s), &ifindex, addr, came);
    CHECK(!read || ifindex == 2);
    return read;
}

static void hears_of_addresses(void)
{
    char addr[IP6_TEXT];
    bool came = false;
    const char *us = "fec0::5054:ff:fe12:3456";

    CHECK(hear(message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, 0, "2001:db8::7"), addr, &came) && came);
    CHECK_TEXT(addr, "2001:db8::7");
    CHECK(hear(message(RTM_NEWADDR, RT_SCOPE_SITE, 0, us), addr, &came) && came);
    CHECK_TEXT(addr, us);
    CHECK(!hear(message(RTM_NEWADDR, RT_SCOPE_LINK, 0, "fe80::1"), addr, &came));
    CHECK(!hear(message(RTM_NEWADDR, RT_SCOPE_HOST, 0, "::1"), addr, &came));
    static const uint8_t not_yet[] = {IFA_F_TENTATIVE, IFA_F_DADFAILED, IFA_F_DEPRECATED};
    for (size_t i = 0; i < sizeof(not_yet); i++) {
        CHECK(hear(message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, not_yet[i], us), addr, &came));
        CHECK(!came);
    }
    CHECK(hear(message(RTM_DELADDR, RT_SCOPE_UNIVERSE, 0, us), addr, &came) && !came);
    struct address_message s = message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, 0, us);
    for (size_t cut = 0; cut < sizeof(s); cut++) {
        char *exact = malloc(cut ? cut : 1);
        int ifindex;
        memcpy(exact, &s, cut);
        CHECK(!ip6_read(exact, cut, &ifindex, addr, &came));
        free(exact);
    }
    s.m.ifa_family = AF_INET;
    CHECK(!hear(s, addr, &came));
    s = message(RTM_NEWADDR, RT_SCOPE_UNIVERSE, 0, us);
    for (unsigned v = 0; v < 65536; v++) { // any length of the attribute
        int ifindex;
        s.a.rta_len = (unsigned short)v;
        CHECK(ip6_read(&s, sizeof(s), &ifindex, addr, &came) == (v == RTA_LENGTH(16)));
    }
}

/* A router's announcement repeats every address: no news. Two prefixes are two addresses. */
static void keeps_a_list(void)
{
    struct ip6_list l = {0};

    CHECK(ip6_add(&l, "2001:db8::7") && !ip6_add(&l, "2001:db8::7"));
    CHECK(ip6_add(&l, "fd00::7") && !ip6_add(&l, "2001:db8::7") && !ip6_add(&l, "fd00::7"));
    CHECK(!ip6_remove(&l, "fd00::8") && l.n == 2);
    CHECK(ip6_remove(&l, "2001:db8::7") && l.n == 1);
    CHECK_TEXT(l.text[0], "fd00::7");
    CHECK(ip6_add(&l, "a::1") && ip6_add(&l, "a::2") && ip6_add(&l, "a::3"));
    CHECK(!ip6_add(&l, "a::4") && l.n == IP6_MOST); // enough to be found by
    CHECK(ip6_remove(&l, "a::3") && ip6_add(&l, "a::4"));
}

/* ---- name servers of routers ---- */

/* An RDNSS option with one server (two where `second` is) in a message of the kernel's. */
static size_t rdnss(uint8_t *out, uint32_t lifetime, const char *first, const char *second)
{
    struct nlmsghdr head = {.nlmsg_type = RTM_NEWNDUSEROPT};
    struct nduseroptmsg m = {
        .nduseropt_family = AF_INET6, .nduseropt_ifindex = 7, .nduseropt_icmp_type = 134};
    size_t at = NLMSG_LENGTH(sizeof(m)), n = second ? 40 : 24;

    m.nduseropt_opts_len = (uint16_t)n;
    head.nlmsg_len = (uint32_t)(at + n);
    memcpy(out, &head, sizeof(head));
    memcpy(out + NLMSG_HDRLEN, &m, sizeof(m));
    memset(out + at, 0, 8);
    out[at] = 25;
    out[at + 1] = (uint8_t)(n / 8);
    be_put(out + at + 4, 4, lifetime);
    inet_pton(AF_INET6, first, out + at + 8);
    if (second)
        inet_pton(AF_INET6, second, out + at + 24);
    return at + n;
}

static bool hears(struct ip6_dns *d, const uint8_t *msg, size_t n, int64_t now)
{
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, msg, n);
    bool changed = ip6_dns_read(d, exact, n, now);
    free(exact);
    return changed;
}

static void keeps_name_servers(void)
{
    struct ip6_dns d = {.n = 0};
    uint8_t msg[128];
    size_t n = rdnss(msg, 600, "fd00::53", "fe80::1");

    CHECK(ip6_dns_ifindex(msg, n) == 7);
    for (size_t cut = 0; cut < n; cut++)
        (void)hears(&d, msg, cut, 0);
    d.n = 0;
    CHECK(hears(&d, msg, n, 1000) && d.n == 2 && d.addr[0][15] == 0x53 && d.addr[1][0] == 0xfe);
    CHECK(!hears(&d, msg, n, 2000) && d.n == 2); // said again: no news
    CHECK(!ip6_dns_expire(&d, 601999) && d.n == 2);
    CHECK(ip6_dns_expire(&d, 602000) && d.n == 0);

    n = rdnss(msg, UINT32_MAX, "fd00::53", NULL);
    CHECK(hears(&d, msg, n, 1000) && !ip6_dns_expire(&d, INT64_MAX - 1));
    n = rdnss(msg, 0, "fd00::53", NULL); // withdrawn
    CHECK(hears(&d, msg, n, 1000) && d.n == 0 && !hears(&d, msg, n, 1000));
    n = rdnss(msg, 600, "::", "ff02::1");
    CHECK(!hears(&d, msg, n, 1000) && d.n == 0);
    for (int i = 0; i < 5; i++) { // no more than there is room for
        n = rdnss(msg, 600, "fd00::1", NULL);
        msg[n - 1] = (uint8_t)i;
        (void)hears(&d, msg, n, 1000);
    }
    CHECK(d.n == IP6_MAX_DNS);
    n = rdnss(msg, 600, "fd00::9", NULL);
    msg[NLMSG_LENGTH(sizeof(struct nduseroptmsg)) + 1] = 0; // an option without length
    CHECK(!hears(&d, msg, n, 1000));
}

int main(void)
{
    tells_the_first_cause();
    finds_devices_without_driver();
    hears_of_addresses();
    keeps_a_list();
    keeps_name_servers();
    return check_done("init_reach");
}
