/* cloud_net.c - networks as cloud-init disks tell them, in four forms. Pure.
 *
 *   version 1 (Proxmox VE): config: [{type: physical, name, mac_address, subnets: [{type: static,
 *   address, netmask, gateway, dns_nameservers}]}, {type: nameserver, address}]
 *   version 2 (netplan): ethernets: {NAME: {match: {macaddress}, addresses, gateway4, gateway6,
 *   routes: [{to: default, via}], nameservers: {addresses}}}
 *   OpenStack: links [{id, ethernet_mac_address}], networks [{link, type, ip_address, netmask,
 *   routes: [{network, netmask, gateway}]}], services [{type: dns, address}]
 *   Debian's interfaces: iface NAME inet static, address, netmask, gateway, dns-nameservers
 *
 * A card is known by its MAC address where one is told, else by its name. DHCP and router
 * advertisements need no word here: a card without an address of its own asks.
 */
#include "cloud.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CARD 24
#define ADDRESS 80

/* "255.255.255.0", "ffff:ffff::" or "24"; -1: none of them. */
static int mask_bits(const char *mask)
{
    uint8_t a[16];
    int n = inet_pton(AF_INET, mask, a) == 1 ? 4 : inet_pton(AF_INET6, mask, a) == 1 ? 16 : 0;
    int bits = 0;

    if (!n) {
        char *end;
        long v = strtol(mask, &end, 10);
        return mask[0] >= '0' && mask[0] <= '9' && !*end && v >= 0 && v <= 128 ? (int)v : -1;
    }
    while (bits < n * 8 && (a[bits / 8] & (128 >> bits % 8)))
        bits++;
    for (int i = bits; i < n * 8; i++)
        if (a[i / 8] & (128 >> i % 8))
            return -1;
    return bits;
}

static void add_address(struct cloud *c, const char *file, const char *card, const char *address,
                        const char *mask)
{
    char whole[ADDRESS];
    int bits = strchr(address, '/') ? 0 : mask_bits(mask);

    if (!address[0] || bits < 0 || strlen(address) > 60) {
        cloud_ignore(c, file, "an address without its netmask: \"%.60s\"", address);
        return;
    }
    if (bits)
        snprintf(whole, sizeof(whole), "%s/%d", address, bits);
    else
        snprintf(whole, sizeof(whole), "%s", address);
    cloud_add(c, file, STATIC_ADDRESS, card, whole);
}

/* One text, or a list of them. */
static void add_servers(struct cloud *c, const char *file, const struct node *servers)
{
    const struct node *n = servers && servers->kind == NODE_LIST ? servers->first : servers;

    for (; n; n = servers->kind == NODE_LIST ? n->next : NULL)
        if (n->text[0])
            cloud_add(c, file, STATIC_DNS, "", n->text);
}

static void card_name(char out[CARD], const char *mac, const char *name)
{
    const char *text = mac[0] ? mac : name;

    snprintf(out, CARD, "%s", strlen(text) < CARD ? text : "?");
}

/* ---- version 1 ---- */

static void subnet(struct cloud *c, const char *file, const char *card, const struct node *s)
{
    static const char *const known[] = {"type",    "address",         "netmask", "gateway",
                                        "control", "dns_nameservers", NULL};
    const char *type = node_text(s, "type"), *gateway = node_text(s, "gateway");

    if (strncmp(type, "static", 6) == 0) {
        add_address(c, file, card, node_text(s, "address"), node_text(s, "netmask"));
        if (gateway[0])
            cloud_add(c, file, STATIC_GATEWAY, card, gateway);
    } else if (strncmp(type, "dhcp", 4) != 0 && strncmp(type, "ipv6_", 5) != 0) {
        cloud_ignore(c, file, "a subnet of the type \"%.40s\"", type);
        return;
    }
    add_servers(c, file, node_in(s, "dns_nameservers"));
    cloud_unknown(c, file, "a subnet's", s->kind == NODE_MAP ? s : NULL, known);
}

static void version_1(struct cloud *c, const char *file, const struct node *config)
{
    static const char *const known[] = {"type", "name", "mac_address", "subnets", NULL};
    static const char *const of_servers[] = {"type", "address", "interface", NULL};
    const struct node *item = config && config->kind == NODE_LIST ? config->first : NULL;
    char card[CARD];

    for (; item; item = item->next) {
        const char *type = node_text(item, "type");
        if (strcmp(type, "nameserver") == 0) {
            add_servers(c, file, node_in(item, "address"));
            cloud_unknown(c, file, "nameserver", item, of_servers);
            continue;
        }
        if (strcmp(type, "physical") != 0) {
            cloud_ignore(c, file, "%.40s %.40s", type[0] ? type : "a part without a type",
                         node_text(item, "name"));
            continue;
        }
        card_name(card, node_text(item, "mac_address"), node_text(item, "name"));
        const struct node *subnets = node_in(item, "subnets");
        const struct node *s = subnets && subnets->kind == NODE_LIST ? subnets->first : NULL;
        for (; s; s = s->next)
            subnet(c, file, card, s);
        cloud_unknown(c, file, node_text(item, "name"), item, known);
    }
}

/* ---- version 2 ---- */

static bool is_default(const char *to)
{
    return strcmp(to, "default") == 0 || strcmp(to, "0.0.0.0/0") == 0 || strcmp(to, "::/0") == 0;
}

static void ethernet(struct cloud *c, const char *file, const struct node *e)
{
    static const char *const known[] = {"match",     "set-name",    "addresses", "gateway4",
                                        "gateway6",  "routes",      "dhcp4",     "dhcp6",
                                        "accept-ra", "nameservers", NULL};
    const struct node *list = node_in(e, "addresses"), *n;
    const char *gateways[] = {node_text(e, "gateway4"), node_text(e, "gateway6")};
    char card[CARD];

    card_name(card, node_text(node_in(e, "match"), "macaddress"), e->key);
    for (n = list && list->kind == NODE_LIST ? list->first : NULL; n; n = n->next)
        add_address(c, file, card, n->text, "");
    for (int i = 0; i < 2; i++)
        if (gateways[i][0])
            cloud_add(c, file, STATIC_GATEWAY, card, gateways[i]);
    list = node_in(e, "routes");
    for (n = list && list->kind == NODE_LIST ? list->first : NULL; n; n = n->next)
        if (is_default(node_text(n, "to")))
            cloud_add(c, file, STATIC_GATEWAY, card, node_text(n, "via"));
        else
            cloud_ignore(c, file, "the route to %.40s", node_text(n, "to"));
    add_servers(c, file, node_in(node_in(e, "nameservers"), "addresses"));
    cloud_unknown(c, file, e->key, e->kind == NODE_MAP ? e : NULL, known);
}

void cloud_net(struct cloud *c, const char *file, const struct node *root)
{
    static const char *const of_1[] = {"version", "config", NULL};
    static const char *const of_2[] = {"version", "ethernets", "renderer", NULL};
    const struct node *net = node_in(root, "network") ? node_in(root, "network") : root;
    const char *version = node_text(net, "version");

    if (strcmp(version, "1") == 0) {
        version_1(c, file, node_in(net, "config"));
        cloud_unknown(c, file, "", net, of_1);
    } else if (strcmp(version, "2") == 0) {
        const struct node *all = node_in(net, "ethernets");
        for (const struct node *e = all && all->kind == NODE_MAP ? all->first : NULL; e;
             e = e->next)
            ethernet(c, file, e);
        cloud_unknown(c, file, "", net, of_2);
    } else {
        cloud_ignore(c, file, "all of it (version \"%.20s\" where 1 or 2 was expected)", version);
    }
}

/* ---- OpenStack's ---- */

static const char *link_mac(const struct node *root, const char *id)
{
    const struct node *links = node_in(root, "links");
    const struct node *n = links && links->kind == NODE_LIST ? links->first : NULL;

    for (; n; n = n->next)
        if (id[0] && strcmp(node_text(n, "id"), id) == 0)
            return node_text(n, "ethernet_mac_address");
    return "";
}

static void data_network(struct cloud *c, const char *file, const char *mac, const struct node *n)
{
    const char *type = node_text(n, "type");
    const struct node *routes = node_in(n, "routes"), *r;
    char card[CARD];

    if (strcmp(type, "ipv4") != 0 && strcmp(type, "ipv6") != 0) {
        if (strncmp(type, "ipv4_dhcp", 9) != 0 && strncmp(type, "ipv6_", 5) != 0)
            cloud_ignore(c, file, "a network of the type \"%.40s\"", type);
        return;
    }
    card_name(card, mac, "");
    add_address(c, file, card, node_text(n, "ip_address"), node_text(n, "netmask"));
    for (r = routes && routes->kind == NODE_LIST ? routes->first : NULL; r; r = r->next) {
        const char *to = node_text(r, "network");
        if (strcmp(to, "0.0.0.0") == 0 || strcmp(to, "::") == 0 || is_default(to))
            cloud_add(c, file, STATIC_GATEWAY, card, node_text(r, "gateway"));
        else
            cloud_ignore(c, file, "the route to %.40s", to);
    }
    add_servers(c, file, node_in(n, "dns_nameservers"));
}

void cloud_net_data(struct cloud *c, const char *file, const struct node *root)
{
    const struct node *list = node_in(root, "networks"), *n;

    for (n = list && list->kind == NODE_LIST ? list->first : NULL; n; n = n->next)
        data_network(c, file, link_mac(root, node_text(n, "link")), n);
    list = node_in(root, "services");
    for (n = list && list->kind == NODE_LIST ? list->first : NULL; n; n = n->next)
        if (strcmp(node_text(n, "type"), "dns") == 0)
            cloud_add(c, file, STATIC_DNS, "", node_text(n, "address"));
}

/* ---- Debian's interfaces ---- */

struct iface {
    char card[CARD], address[ADDRESS], mask[ADDRESS], gateway[ADDRESS];
    bool fixed;
};

static void iface_end(struct cloud *c, const char *file, const struct iface *i)
{
    if (!i->fixed)
        return;
    add_address(c, file, i->card, i->address, i->mask);
    if (i->gateway[0])
        cloud_add(c, file, STATIC_GATEWAY, i->card, i->gateway);
}

static void iface_line(struct cloud *c, const char *file, struct iface *i, char *line)
{
    char *word[8] = {"", "", "", "", "", "", "", ""}, *rest = line, *at;
    int n = 0;

    while (n < 8 && (at = strsep(&rest, " \t\r")))
        if (*at)
            word[n++] = at;
    if (strcmp(word[0], "iface") == 0) {
        iface_end(c, file, i);
        *i = (struct iface){.fixed = strcmp(word[3], "static") == 0};
        card_name(i->card, "", word[1]);
    } else if (strcmp(word[0], "address") == 0) {
        snprintf(i->address, sizeof(i->address), "%s", word[1]);
    } else if (strcmp(word[0], "netmask") == 0) {
        snprintf(i->mask, sizeof(i->mask), "%s", word[1]);
    } else if (strcmp(word[0], "gateway") == 0) {
        snprintf(i->gateway, sizeof(i->gateway), "%s", word[1]);
    } else if (strcmp(word[0], "dns-nameservers") == 0 || strcmp(word[0], "dns_nameservers") == 0) {
        for (int k = 1; k < n; k++)
            cloud_add(c, file, STATIC_DNS, "", word[k]);
    } else if (word[0][0] && word[0][0] != '#' && strcmp(word[0], "auto") != 0 &&
               strcmp(word[0], "allow-hotplug") != 0) {
        cloud_ignore(c, file, "%.40s", word[0]);
    }
}

void cloud_net_interfaces(struct cloud *c, const char *file, const uint8_t *text, size_t len)
{
    struct iface i = {.fixed = false};
    char line[256];

    while (len) {
        const uint8_t *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        snprintf(line, sizeof(line), "%.*s", (int)(n < 255 ? n : 255), (const char *)text);
        iface_line(c, file, &i, line);
        n += end ? 1 : 0;
        text += n;
        len -= n;
    }
    iface_end(c, file, &i);
}
