/* init_screen.c - the page on the monitor: what it takes from the lines that are said, and that it
 * fits 80x25 whatever they say.
 */
#include "../../init/screen.h"
#include "check.h"

static struct screen screen;
static char page[8192];

static void say_engine(const char *line)
{
    screen_take(&screen, "engine", line, strlen(line), false);
}

/* 25 rows, none wider than 79, no control bytes but those of the drawing. */
static void check_page(void)
{
    size_t n = screen_draw(&screen, page, sizeof(page));
    int rows = 1, wide = 0, widest = 0;

    CHECK(n == strlen(page) && n < sizeof(page));
    for (const char *at = page; *at; at++) {
        if (*at == '\033') {
            CHECK(at[1] == '[' && (at[2] == 'K' || at[2] == 'H'));
            at += 2;
        } else if (*at == '\r') {
            CHECK(at[1] == '\n');
            at++;
            rows++;
            wide = 0;
        } else if (strncmp(at, "\u2588", 3) == 0 || strncmp(at, "\u2580", 3) == 0 ||
                   strncmp(at, "\u2584", 3) == 0) { // of the QR code
            at += 2;
            widest = ++wide > widest ? wide : widest;
        } else {
            CHECK(*at >= 0x20 && *at < 0x7f);
            widest = ++wide > widest ? wide : widest;
        }
    }
    CHECK(rows == 25);
    CHECK(widest <= 79);
}

static bool shows(const char *text)
{
    return strstr(page, text) != NULL;
}

static void test_first(void)
{
    check_page();
    CHECK(shows("none that another machine can reach") && shows("starting") && shows("(o,o)"));
    say_engine("tawny v1, appliance (static, musl)");
    say_engine("url https://192.0.2.7/");
    say_engine("url https://[2001:db8::7]/");
    say_engine(
        "CA fingerprint SHA-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:"
        "FF:00:11:22:33:44:55:66:77:88:99");
    say_engine("API key tawny-0123");
    say_engine("12:00:00.000 info  device: AMD Radeon 8060S (gpu, vulkan, radv)");
    say_engine("12:00:01.000 info  loading: 1.5 of 30.0 GB, about 20 s left");
    check_page();
    CHECK(shows("https://192.0.2.7/") && shows("https://[2001:db8::7]/") && shows("tawny-0123"));
    CHECK(shows("AA:BB:CC:DD:EE:FF:00:11") && shows("77:88:99") && shows("Radeon 8060S"));
    CHECK(shows("loading: 1.5 of 30.0 GB") && shows("Last trouble none"));
    say_engine(
        "12:00:02.000 info  model: qwen (qwen3moe, Q4_K, 30000.0 M parameters), 48/48 layers "
        "on the device, context 131072 tokens, 4 at once");
    screen_take(&screen, "data", "the disk is full", 16, true);
    check_page();
    CHECK(shows("48/48 layers") && shows("ready") && !shows("loading:"));
    CHECK(shows("data: the disk is full"));
    say_engine("tawny v1, appliance (static, musl)"); // started again
    say_engine("url https://192.0.2.9/");
    check_page();
    CHECK(shows("https://192.0.2.9/") && !shows("192.0.2.7") && !shows("2001:db8"));
    say_engine("12:00:02.000 error no model is loaded: the file is cut off");
    check_page();
    CHECK(shows("no model is loaded: the file is cut off"));
}

static void test_keys(void)
{
    CHECK(!screen_key(&screen, 'x') && !screen_key(&screen, '\033') && !screen_key(&screen, 3));
    screen_take(&screen, "net", "eth0: 192.0.2.9/24 by DHCP", 26, false);
    CHECK(screen_key(&screen, '1') && !screen_key(&screen, '1'));
    check_page();
    CHECK(shows("Network") && shows("eth0: 192.0.2.9/24 by DHCP"));
    CHECK(screen_key(&screen, '2'));
    check_page();
    CHECK(shows("data: the disk is full") && shows("engine: url https://192.0.2.9/"));
    CHECK(screen_key(&screen, '3'));
    check_page();
    CHECK(shows("Doctor") && shows("no model is loaded"));
    CHECK(screen_key(&screen, '4'));
    check_page();
    CHECK(shows("ca.crt") && shows("AA:BB:CC"));
    CHECK(screen_key(&screen, '0'));
    check_page();
    CHECK(shows("Address"));
}

static void test_hostile(void)
{
    char line[2000];

    for (size_t n = 0; n < sizeof(line); n++)
        line[n] = (char)(n * 7);
    for (size_t n = 0; n < sizeof(line); n += 13) {
        screen_take(&screen, "engine", line, n, true);
        screen_take(&screen, "a step with a name that is far too long for it", line, n, true);
    }
    memset(line, 'W', sizeof(line));
    static const char *const heads[] = {"url https://",      "CA fingerprint SHA-256 ",
                                        "API key ",          "x info  device: ",
                                        "x info  model: ",   "tawny ",
                                        "x info  context: ", "x info  loading: ",
                                        "x error ",          "x error no model is loaded"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        memcpy(line, heads[i], strlen(heads[i]));
        screen_take(&screen, "engine", line, sizeof(line), true);
        memset(line, 'W', 40);
    }
    for (char key = '0'; key <= '4'; key++) {
        (void)screen_key(&screen, key);
        check_page();
    }
}

/* The page's characters at the code's place, read back module by module: as they were told, with
 * two light ones around. */
static bool shows_code(int n, bool (*dark)(int y, int x))
{
    char cell[80][4];
    const char *at = page + 3;
    bool right = true;

    for (int y = 0; y < n + 4; y += 2) {
        int wide = 0;
        for (; *at != '\033'; wide++) {
            int len = (unsigned char)*at < 0x80 ? 1 : 3;
            snprintf(cell[wide < 79 ? wide : 79], 4, "%.*s", len, at);
            at += len;
        }
        right = right && wide == 79;
        for (int x = 0; right && x < n + 4; x++) {
            const char *c = cell[79 - (n + 4) + x];
            bool up = strcmp(c, " ") == 0 || strcmp(c, "\u2584") == 0,
                 down = strcmp(c, " ") == 0 || strcmp(c, "\u2580") == 0;
            right = up == dark(y - 2, x - 2) && (y + 1 >= n + 4 || down == dark(y - 1, x - 2));
        }
        at = strstr(at, "\r\n") + 2;
    }
    return right;
}

static int side;

static bool told(int y, int x)
{
    return y >= 0 && x >= 0 && y < side && x < side && (y * side + x) * 7919 % 13 < 6;
}

static void say_code(int n)
{
    char line[400];
    int len = snprintf(line, sizeof(line), "%d ", side = n);

    for (int at = 0; at < n * n || at % 8; at += 4) {
        int digit = 0;
        for (int i = at; i < at + 4; i++)
            digit = 2 * digit + (i < n * n && told(i / n, i % n));
        len += snprintf(line + len, 2, "%x", digit);
    }
    screen_qr(&screen, line, (size_t)len);
    for (int cut = 0; cut < len; cut++) { // what is not whole changes nothing
        screen_qr(&screen, line, (size_t)cut);
        CHECK(screen.n_qr == n);
    }
    line[len - 5] = 'g';
    screen_qr(&screen, line, (size_t)len);
}

static void test_code(void)
{
    memset(&screen, 0, sizeof(screen));
    test_first();
    for (int n = 21; n <= 29; n += 4) {
        say_code(n);
        check_page();
        CHECK(shows_code(n, told));
        CHECK(shows("https://192.0.2.9/") && shows("AA:BB:CC:DD") && shows("77:88:99") &&
              shows("no model is loaded:") && shows("4 certificates"));
    }
    screen_speed(&screen, "41.3", 4);
    screen_speed(&screen, "41.3\033[2J", 8);
    screen_speed(&screen, "", 0);
    check_page();
    CHECK(shows("41.3"));
    screen_qr(&screen, "33 00", 5);
    CHECK(screen.n_qr == 29);
    test_hostile();
    (void)screen_key(&screen, '0');
    screen_qr(&screen, "0", 1);
    check_page();
    CHECK(screen.n_qr == 0 && !shows("\u2588"));
}

int main(void)
{
    test_first();
    test_keys();
    test_hostile();
    test_code();
    return check_done("init_screen");
}
