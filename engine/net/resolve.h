// resolve.h - floor 2, inside net/: names into addresses, each lookup on a thread of its own, since
// the C library waits for name servers.
#pragma once

#include "../base/base.h"

#include <netinet/in.h>

enum { RESOLVE_ADDRESSES = 8, RESOLVE_MOST = 16, RESOLVE_HOST_BYTES = 256 };

struct resolved { // one malloc: the taker's
    uint64_t id;
    char host[RESOLVE_HOST_BYTES];
    uint16_t port;
    struct sockaddr_storage at[RESOLVE_ADDRESSES]; // IPv6 and IPv4 by turns, as the system ranks
    socklen_t n_at[RESOLVE_ADDRESSES];
    size_t n;       // 0: none
    struct err err; // why, then
};

struct resolver;
void resolver_open(struct resolver **out);
void resolver_close(struct resolver *resolver);   // lookups under way end by themselves, unheard
int resolver_fd(const struct resolver *resolver); // readable: resolver_take until NULL
// NO_ROOM: too many are under way. An address, and localhost, need no lookup but go the same way.
MUST_USE enum status resolver_ask(struct resolver *resolver, uint64_t id, const char *host,
                                  uint16_t port, struct err *err);
struct resolved *resolver_take(struct resolver *resolver);
