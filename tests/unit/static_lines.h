/* static_lines.h - lines of tawny.conf about the network, and whether they are good: init/static.c
 * and engine/base/settings_net.c must say the same of each (init_static.c, base_settings.c).
 * Written after the grammar in tawny.conf and RFC 4291, not after either reader.
 */
#pragma once

#include <stdbool.h>

static const struct static_line {
    const char *key, *value;
    bool good;
} static_lines[] = {
    {"address", "", true},
    {"address", "192.168.1.50/24", true},
    {"address", "192.168.1.50/32", true},
    {"address", " 192.168.1.50/24 ,fd00::50/64", true},
    {"address", "eth0 192.168.1.50/24, 52:54:00:12:34:aF 10.0.0.5/8", true},
    {"address", "enp3s0.7  fe80::1/10", true},
    {"address", "1.0.0.1/1,2.0.0.1/1,3.0.0.1/1,4.0.0.1/1,5.0.0.1/1,6.0.0.1/1,7.0.0.1/1,8.0.0.1/1",
     true},
    {"address",
     "1.0.0.1/1,2.0.0.1/1,3.0.0.1/1,4.0.0.1/1,5.0.0.1/1,6.0.0.1/1,7.0.0.1/1,8.0.0.1/1,"
     "9.0.0.1/1",
     false},
    {"address", "10.0.0.0/24", false},
    {"address", "10.0.0.255/24", false},
    {"address", "10.0.0.255/16, 10.1.0.0/15", true},
    {"address", "10.0.0.254/31, 10.0.0.255/31, 10.0.0.0/32", true},
    {"address", "fd00::/64", true},
    {"address", "192.168.1.50", false},
    {"address", "192.168.1.50/0", false},
    {"address", "192.168.1.50/33", false},
    {"address", "192.168.1.50/024", true},
    {"address", "192.168.1.50/0024", false},
    {"address", "192.168.1.50/255.255.255.0", false},
    {"address", "192.168.1/24", false},
    {"address", "192.168.1.256/24", false},
    {"address", "192.168.1.50/24 eth0", false},
    {"address", "eth0 eth1 192.168.1.50/24", false},
    {"address", "0eth 192.168.1.50/24", false},
    {"address", "averyverylongname 192.168.1.50/24", false},
    {"address", "52:54:00:12:34 192.168.1.50/24", false},
    {"address", "52:54:00:12:34:5g 192.168.1.50/24", false},
    {"address", "192.168.1.50/24,,10.0.0.1/8", false},
    {"address", "192.168.1.50/24 10.0.0.1/8", false},
    {"address", "127.0.0.1/8", false},
    {"address", "0.0.0.0/8", false},
    {"address", "224.0.0.1/24", false},
    {"address", "::/64", false},
    {"address", "::1/128", false},
    {"address", "ff02::1/64", false},
    {"address", "::ffff:1.2.3.4/96", false},
    {"address", "fd00::50/129", false},
    {"address", "fd00::50/128", true},
    {"address", "fd00::50", false},
    {"address", "fd00:::50/64", false},
    {"address", "dhcp", false},
    {"gateway", "192.168.1.1", true},
    {"gateway", "192.168.1.1, eth1 fe80::1", true},
    {"gateway", "192.168.1.1/24", false},
    {"gateway", "gw.example", false},
    {"dns", "192.168.1.1,2001:db8::53", true},
    {"dns", "", true},
    {"dns", "eth0 192.168.1.1", false},
    {"dns", "one.one.one.one", false},
    {"ntp", "auto", true},
    {"ntp", "off", true},
    {"ntp", "192.168.1.1", true},
    {"ntp", "192.168.1.1:1123, time.example, [2001:db8::1]:123, 2001:db8::2", true},
    {"ntp", "", false},
    {"ntp", "auto, time.example", true}, // a host may be called so
    {"ntp", "time.example:0", false},
    {"ntp", "time.example:65536", false},
    {"ntp", "time.example:", false},
    {"ntp", "[2001:db8::1", false},
    {"ntp", "[2001:db8::1]x", false},
    {"ntp", "time example", false},
    {"ntp", "http://time.example", false},
    {"ntp", "-x", false},
};
enum { N_STATIC_LINES = sizeof(static_lines) / sizeof(*static_lines) };
