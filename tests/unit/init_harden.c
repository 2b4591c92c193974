/* init_harden.c - which ports are open, out of what the kernel's tables say. */
#include "../../init/init.h"
#include "check.h"

static const char tcp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 00000000:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n"
    "   1: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n"
    "   2: 0F02000A:01BB 0202000A:E1B2 01 00000000:00000000 02:000A7214 00000000  1000\n"
    "   3: 0F02000A:C350 0202000A:0050 06 00000000:00000000 02:000A7214 00000000  1000\n";
static const char tcp6[] =
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n"
    "   1: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0\n";
static const char udp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    " 2042: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0\n"
    " 2043: 0F02000A:8235 0302000A:0035 01 00000000:00000000 00:00000000 00000000  1000\n";

int main(void)
{
    uint16_t port[8] = {0};
    int n = open_ports(tcp, false, port, 0, 8);

    CHECK(n == 2 && port[0] == 11434 && port[1] == 443); // those that talk to somebody are not open
    n = open_ports(tcp6, false, port, n, 8);
    CHECK(n == 3 && port[2] == 80); // 443 once
    CHECK(open_ports(tcp6, false, port, 0, 1) == 1);
    CHECK(open_ports(udp, true, port, 0, 8) == 1 && port[0] == 68);
    CHECK(open_ports(udp, false, port, 0, 8) == 0);
    CHECK(open_ports("", false, port, 0, 8) == 0 && open_ports("no line", true, port, 0, 8) == 0);
    for (size_t cut = 0; cut < sizeof(tcp); cut++) { // whatever is missing
        char text[sizeof(tcp)] = "";
        memcpy(text, tcp, cut);
        CHECK(open_ports(text, false, port, 0, 8) <= 2);
    }
    return check_done("init_harden");
}
