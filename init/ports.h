/* ports.h - the engine's listening sockets, which outlive it (ports.c).
 */
#ifndef INIT_PORTS_H
#define INIT_PORTS_H

#include "init.h"

#define PORTS_MOST 16

struct port {
    bool six;         // IPv6; with the address 0 it takes IPv4 too
    uint8_t addr[16]; // network byte order; the first 4 bytes of an IPv4 address
    uint16_t port;
};

struct port_list {
    int n;
    struct port one[PORTS_MOST];
};

/* "ADDR:PORT, [ADDR]:PORT, *:PORT, localhost:PORT", as the engine reads it; pure. False: it is not
 * that, and *out as it was. */
MUST_USE bool ports_read(struct port_list *out, const char *text);
/* What `listen-http = auto` means beside that `listen`; pure. */
void ports_plain(struct port_list *out, const struct port_list *listen);
void ports_want(const struct conf *c);
/* Opens those that are wanted and not open. Returns how many there are; they stay ours. */
int ports_open(int fds[PORTS_MOST]);
/* The engine listens on these of them, " 0 2"; what is no such list is left aside, and so is all
 * but the first of a start (ports_open). The others are closed: who connects there is refused, and
 * does not wait for ever. */
void ports_served(const char *list, size_t len);
int64_t ports_tick(int64_t now); // tells of addresses that this machine has not
bool ports_again(void); // nobody reaches the engine: it is to end, and be started with others
void ports_close(void); // whoever connects now is refused

#endif
