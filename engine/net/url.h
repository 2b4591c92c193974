// url.h - floor 2, inside net/: addresses of what is fetched, taken apart.
#pragma once

#include "../base/base.h"

enum { URL_HOST_BYTES = 256, URL_TARGET_BYTES = 6144 };

struct url {
    bool tls; // https, else http
    uint16_t port;
    char host[URL_HOST_BYTES];     // small letters; an IPv6 address without its brackets
    char target[URL_TARGET_BYTES]; // path and query
};

// BAD_INPUT: what is wrong with it. A fragment is dropped; a user name is refused.
MUST_USE enum status url_read(struct url *out, struct bytes text, struct err *err);
// Where `location` leads from `from`: another host, or another path of its own.
MUST_USE enum status url_follow(struct url *out, const struct url *from, struct bytes location,
                                struct err *err);
bool url_same_host(const struct url *a, const struct url *b); // and port
// "host" or "host:port" as a person writes it; [::1] with its brackets.
const char *url_host_text(const struct url *url, char out[URL_HOST_BYTES + 16]);
bool url_host_is_address(const struct url *url);
// Whether HOST or HOST:PORT means this host; without a port, its scheme's usual one.
bool url_host_is(const struct url *url, struct bytes text);
