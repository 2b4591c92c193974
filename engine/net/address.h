// address.h - floor 2, inside net/: the addresses of this machine, where to listen, and word of
// changes. What one would get wrong: a socket that was handed over is held by who opened it too, so
// that closing ours ends no listening.
#pragma once

#include "../base/base.h"

#include <sys/socket.h>

struct address { // of an interface
    uint8_t p[16];
    size_t n; // 4 or 16 bytes
    bool loopback, link_local;
};

// Every address of every interface that is up, and 127.0.0.1 and ::1 in any case: sorted, each
// once, at most `room`.
size_t address_list(struct address *out, size_t room);
void address_text(const struct address *address, char out[48]); // "192.0.2.7", "2001:db8::7"

struct listen_at {
    struct sockaddr_storage at;
    socklen_t n;
    bool any; // the wildcard address
    uint16_t port;
};

// "ADDR:PORT, [ADDR]:PORT, *:PORT, localhost:PORT": up to `room` of them. BAD_INPUT names `key`,
// the entry and what is expected.
MUST_USE enum status listen_parse(struct listen_at *out, size_t room, size_t *n, const char *key,
                                  const char *text, struct err *err);
// A listening socket, not blocking. [::] falls back to 0.0.0.0 where the kernel has no IPv6.
MUST_USE enum status listen_open(int *fd, struct listen_at *at, struct err *err);

// handed.c: listening sockets that others have opened.
struct handed {
    struct handed_socket {
        int fd;     // owned
        int number; // of those that were handed over, from 0 on
        bool taken;
        struct sockaddr_storage at;
    } one[16];
    size_t n;
};
// Descriptors first .. first + n - 1; what is no listening TCP socket is closed, with a line.
void handed_read(struct handed *handed, int first, size_t n);
// A duplicate, the caller's; -1: none is there.
int handed_take(struct handed *handed, struct listen_at *at);
// Which were taken: bit i for descriptor first + i.
uint64_t handed_taken(const struct handed *handed);
// All; of those that nobody took with a line. Without it, they can be read again.
void handed_close(struct handed *handed);

// Whether the address by which a client came in (fd: its socket) is one that is listened on here.
bool listen_covers(const struct listen_at *at, int fd);

int address_watch(
    void); // a socket that is readable when an address came or went; -1: not to be had
void address_watch_drain(int fd); // reads it empty
void address_peer(const struct sockaddr_storage *from, char text[64],
                  uint8_t key[16]); // key: IPv4 or the /64, for counting
