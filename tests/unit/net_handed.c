// net_handed.c - listening sockets that others have opened (engine/net/handed.c): found by address
// and port, taken once; what is no such socket, and what nobody names, is closed.
#include "../../engine/net/address.h"
#include "../../engine/net/net.h"
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

enum { FIRST = 40 };

static struct listen_at at(const char *text)
{
    struct listen_at out = {0};
    struct err err;
    size_t n = 0;
    CHECK(listen_parse(&out, 1, &n, "listen", text, &err) == OK && n == 1);
    return out;
}

// A socket of `text` at the descriptor `fd`; the entry that names its port in *out.
static void put(int fd, const char *text, struct listen_at *out)
{
    struct err err;
    int got = -1;
    *out = at(text);
    CHECK(listen_open(&got, out, &err) == OK);
    CHECK(dup2(got, fd) == fd);
    close(got);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

// What is open as settings would have it: a last resort.
static void test_lists(void)
{
    char listen[512], http[512], wanted[64];
    struct listen_at four, any;
    put(FIRST, "127.0.0.1:0", &four);
    put(FIRST + 1, "*:0", &any);
    CHECK(net_handed_lists(FIRST, 3, listen, http, sizeof(listen)) == 2); // the last is not open
    snprintf(wanted, sizeof(wanted), "127.0.0.1:%u,[::]:%u", four.port, any.port);
    CHECK_TEXT(listen, wanted);
    CHECK_TEXT(http, "");
    CHECK(net_handed_lists(FIRST, 0, listen, http, sizeof(listen)) == 0 && !listen[0]);
    CHECK(net_handed_lists(FIRST, 2, listen, http, 8) == 2 && !listen[0]); // no room
    close(FIRST);
    close(FIRST + 1);
}

// Of several addresses one that is here is enough.
static void test_here(void)
{
    static const struct {
        const char *text, *coming;
        bool beside, outside; // as loopback counts, and does not
    } here[] = {{"[::]:443", "", true, true},
                {"0.0.0.0:443", "", true, true},
                {"*:1", "", true, true},
                {"127.0.0.1:443", "", true, false},
                {"192.0.2.77:443, [::1]:443", "", true, false},
                {"192.0.2.77:443, [2001:db8::77]:443", "", false, false},
                {"[::ffff:127.0.0.1]:443", "", false, false}, // IPv6, which takes no IPv4
                {"192.0.2.77:443", "192.0.2.7/24", false, false},
                {"192.0.2.77:443", "eth1 192.0.2.7/24,eth0 192.0.2.77/24", true, true},
                {"[2001:db8::77]:443", "2001:db8::77/64", true, true},
                {"nonsense", "192.0.2.77/24", false, false}};
    for (size_t i = 0; i < COUNT_OF(here); i++) {
        CHECK(net_listen_here(here[i].text, here[i].coming, true) == here[i].beside);
        CHECK(net_listen_here(here[i].text, here[i].coming, false) == here[i].outside);
    }
}

int main(void)
{
    test_lists();
    test_here();
    struct listen_at four, any, unnamed, other = at("127.0.0.2:1");
    struct handed handed;
    put(FIRST, "127.0.0.1:0", &four);
    CHECK(dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), FIRST + 1) == FIRST + 1); // no socket
    put(FIRST + 2, "*:0", &any);
    put(FIRST + 3, "127.0.0.1:0", &unnamed);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(dup2(udp, FIRST + 4) == FIRST + 4);
    close(udp);
    handed_read(&handed, FIRST, 6); // the last one is not open at all
    CHECK(handed.n == 3);
    CHECK(is_open(FIRST) && !is_open(FIRST + 1) && is_open(FIRST + 2) && !is_open(FIRST + 4));
    CHECK(fcntl(FIRST, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(FIRST, F_GETFL) & O_NONBLOCK);
    CHECK(handed_take(&handed, &other) == -1);
    other = four;
    ((struct sockaddr_in *)(void *)&other.at)->sin_port ^= htons(1);
    CHECK(handed_take(&handed, &other) == -1); // the address, but another port
    int taken = handed_take(&handed, &four);
    CHECK(taken > 2 && is_open(taken) && (fcntl(taken, F_GETFD) & FD_CLOEXEC));
    CHECK(handed_take(&handed, &four) == -1); // once
    handed_read(&handed, FIRST, 4);           // another try
    CHECK(handed.n == 3);
    int again = handed_take(&handed, &four), wide = handed_take(&handed, &any);
    CHECK(again > 2 && wide > 2);
    CHECK(handed_taken(&handed) == 5); // by their places among all that were handed over
    handed_close(&handed);
    CHECK(is_open(taken) && is_open(again) && is_open(wide)); // the caller's
    CHECK(!is_open(FIRST) && !is_open(FIRST + 2) && !is_open(FIRST + 3));
    CHECK(handed.n == 0);
    for (int i = 0; i < 20; i++)
        CHECK(dup2(taken, 60 + i) == 60 + i);
    handed_read(&handed, 60, 20); // more than there is room for
    CHECK(handed.n == COUNT_OF(handed.one) && is_open(60 + 15) && !is_open(60 + 16));
    handed_close(&handed);
    CHECK(!is_open(60));
    // [::] is also what stands at 0.0.0.0, where the kernel has no IPv6
    put(FIRST, "0.0.0.0:0", &four);
    handed_read(&handed, FIRST, 1);
    other = at("*:1");
    CHECK(handed_take(&handed, &other) == -1);
    other.port = four.port;
    CHECK(handed_take(&handed, &other) > 2 && other.at.ss_family == AF_INET);
    return check_done("net_handed");
}
