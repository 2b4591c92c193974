// listen_lines.h - what `listen` may say and what that means: one table for both readers, the
// engine's (verb_start) and PID 1's (init_ports). Of each entry the kind, the first four bytes of
// the address, the port.
#pragma once

static const struct {
    const char *listen, *read, *plain; // of `listen-http = auto` beside it; NULL: it is none
} listen_lines[] = {
    {"[::]:443,[::]:11434", "6 00000000 443, 6 00000000 11434", "6 00000000 80"},
    {"*:443", "6 00000000 443", "6 00000000 80"},
    {"0.0.0.0:443", "4 00000000 443", "4 00000000 80"},
    {" ,192.0.2.7:443\t[2001:db8::7]:8443,", "4 c0000207 443, 6 20010db8 8443",
     "4 c0000207 80, 6 20010db8 80"},
    {"localhost:443,localhost:11434", "4 7f000001 443, 4 7f000001 11434", "4 7f000001 80"},
    {"[::]:80", "6 00000000 80", ""},
    {"192.0.2.7:443,[::]:443,192.0.2.8:443", "4 c0000207 443, 6 00000000 443, 4 c0000208 443",
     "6 00000000 80"},
    {"192.0.2.7:0", "4 c0000207 0", "4 c0000207 80"},
    {"", "", ""},
    {" , ", NULL, NULL},
    {"443", NULL, NULL},
    {":443", NULL, NULL},
    {"192.0.2.7:", NULL, NULL},
    {"192.0.2.7:65536", NULL, NULL},
    {"192.0.2.7:000443", NULL, NULL},
    {"192.0.2.7:44x", NULL, NULL},
    {"::1:443", NULL, NULL},
    {"[::1:443", NULL, NULL},
    {"[]:443", NULL, NULL},
    {"box:443", NULL, NULL},
    {"[::]:443,box:443", NULL, NULL},
    {"[0000000000000000000000000000000000000000000000000000000000000000000000000000]:443", NULL,
     NULL},
    {"*:1,*:2,*:3,*:4,*:5,*:6,*:7,*:8,*:9,*:10,*:11,*:12,*:13,*:14,*:15,*:16,*:17", NULL, NULL},
};
#define LISTEN_LINES (sizeof(listen_lines) / sizeof(*listen_lines))
