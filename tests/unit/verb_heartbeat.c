// verb_heartbeat.c - the QR code that PID 1 is given, read back by hand: the three finders, the
// mask that the format says, and the bytes along the zigzag (ISO/IEC 18004, versions 1 to 3 at
// error correction level L, which are one block).
#include "../../engine/verb/heartbeat.h"
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int side;
static bool dark[29][29];

static void read_line(const char *line)
{
    char *hex;
    side = (int)strtol(line + 3, &hex, 10);
    CHECK(strncmp(line, "qr ", 3) == 0 && *hex == ' ' && (side == 21 || side == 25 || side == 29));
    const size_t n = strcspn(++hex, "\n");
    CHECK(n == 2 * (((size_t)(side * side) + 7) / 8));
    for (int i = 0; i < side * side; i++) {
        const char c = hex[i / 4], digit = (char)(c <= '9' ? c - '0' : c - 'a' + 10);
        dark[i / side][i % side] = digit >> (3 - i % 4) & 1;
    }
}

static void check_finder(int top, int left)
{
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 7; x++) {
            const int far_y = y < 3 ? 3 - y : y - 3, far_x = x < 3 ? 3 - x : x - 3,
                      far = far_y > far_x ? far_y : far_x;
            CHECK(dark[top + y][left + x] == (far != 2));
        }
}

// What is no data: finders with their margins and formats, timing, the alignment pattern.
static bool is_frame(int y, int x)
{
    const int at = side - 7; // of the alignment pattern's middle; version 1 has none
    return y == 6 || x == 6 || (y < 9 && (x < 9 || x >= side - 8)) || (y >= side - 8 && x < 9) ||
           (side > 21 && y >= at - 2 && y <= at + 2 && x >= at - 2 && x <= at + 2);
}

static bool masked(int mask, int y, int x)
{
    switch (mask) {
    case 0:
        return (y + x) % 2 == 0;
    case 1:
        return y % 2 == 0;
    case 2:
        return x % 3 == 0;
    case 3:
        return (y + x) % 3 == 0;
    case 4:
        return (y / 2 + x / 3) % 2 == 0;
    case 5:
        return y * x % 2 + y * x % 3 == 0;
    case 6:
        return (y * x % 2 + y * x % 3) % 2 == 0;
    default:
        return ((y + x) % 2 + y * x % 3) % 2 == 0;
    }
}

static void check_code(const char *line, const char *want)
{
    uint8_t bytes[128] = {0};
    int n = 0, format = 0;
    read_line(line);
    check_finder(0, 0);
    check_finder(0, side - 7);
    check_finder(side - 7, 0);
    for (int x = 0; x < 5; x++)
        format = 2 * format + dark[8][x];
    format ^= 0x15;          // the first five of the 15 bits of its own mask
    CHECK(format >> 3 == 1); // level L
    bool up = true;
    for (int right = side - 1; right > 0; right -= 2, up = !up) {
        right -= right == 6;
        for (int i = 0; i < side; i++)
            for (int k = 0; k < 2; k++) {
                const int x = right - k, y = up ? side - 1 - i : i;
                if (is_frame(y, x) || n >= 8 * (int)sizeof(bytes))
                    continue;
                if (dark[y][x] ^ masked(format & 7, y, x))
                    bytes[n / 8] |= (uint8_t)(0x80 >> n % 8);
                n++;
            }
    }
    CHECK(bytes[0] >> 4 == 4); // bytes follow
    const size_t len = (size_t)((bytes[0] & 15) << 4 | bytes[1] >> 4);
    char text[64] = "";
    for (size_t i = 0; i < len && i < sizeof(text) - 1; i++)
        text[i] = (char)(bytes[1 + i] << 4 | bytes[2 + i] >> 4);
    CHECK(len == strlen(want));
    CHECK_TEXT(text, want);
}

static void check_page(const char *url, bool plain, const char *want)
{
    int ends[2];
    char line[600] = "";
    if (!CHECK(pipe2(ends, O_CLOEXEC) == 0))
        return;
    struct heartbeat h = {.fd = ends[1], .log_fd = -1};
    heartbeat_start_page(&h, url, plain);
    CHECK(read(ends[0], line, sizeof(line) - 1) > 0 && strlen(line) < HEARTBEAT_LINE);
    if (want)
        check_code(line, want);
    else
        CHECK_TEXT(line, "qr 0\n");
    close(ends[0]);
    close(ends[1]);
}

// Which sockets are listened on, as PID 1 reads it (init/ports.c).
static void check_serves(void)
{
    int ends[2];
    char said[400] = "";
    struct heartbeat h = {.log_fd = -1};
    CHECK(pipe(ends) == 0);
    h.fd = ends[1];
    heartbeat_serves(&h, 5);
    heartbeat_serves(&h, 0);
    heartbeat_serves(&h, 1ULL << 15);
    CHECK(read(ends[0], said, sizeof(said) - 1) > 0);
    CHECK_TEXT(said, "serves 0 2\nserves\nserves 15\n");
    said[0] = 0;
    heartbeat_serves(&h, UINT64_MAX);
    const ssize_t n = read(ends[0], said, sizeof(said));
    CHECK(n > 6 && memcmp(said + n - 6, "62 63\n", 6) == 0);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    check_serves();
    check_page("https://10.0.0.7/", false, "https://10.0.0.7/");      // version 1
    check_page("https://10.0.2.15:8443/", true, "http://10.0.2.15/"); // its start page
    check_page("https://192.168.178.123:8443/", false, "https://192.168.178.123:8443/");
    check_page("https://[2001:db8::7]/", true, "http://[2001:db8::7]/");
    check_page("https://[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]/", false,
               "https://[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]/"); // version 3
    check_page("https://[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:12345678/", false, NULL);
    check_page(NULL, true, NULL);
    struct heartbeat nobody = {.fd = -1, .log_fd = -1};
    heartbeat_start_page(&nobody, "https://10.0.0.7/", true);
    return check_done("verb_heartbeat");
}
