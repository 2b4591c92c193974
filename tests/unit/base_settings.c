// base_settings.c - tawny.conf and files: what a person may write, what is refused and how it is
// said, modes and atomicity.
#include "../../engine/base/base.h"
#include "check.h"
#include "static_lines.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/tawny-settings-XXXXXX";
static char path[64];

static enum status read_text(struct settings *settings, const char *text, struct err *err)
{
    settings_default(settings);
    CHECK(file_write(path, bytes_of(text), 0644, err) == OK);
    return settings_read(settings, path, err);
}

static void test_good(void)
{
    struct settings settings;
    struct err err = {0};
    CHECK(read_text(&settings, "", &err) == OK);
    CHECK_TEXT(settings.listen, "[::]:443,[::]:11434");
    CHECK(settings.n_ctx == CTX_AUTO && settings.n_parallel == 4 && settings.log == LOG_INFO);
    CHECK(read_text(&settings,
                    "\xef\xbb\xbf# a comment\r\n\r\n  model =  my model.gguf \t# which one\r\n"
                    "listen-http = \"\"\r\nctx=8192\r\nlog = debug\r\ndevice = \"a # b\" # "
                    "c\r\nhostname = box-1",
                    &err) == OK);
    CHECK_TEXT(settings.model, "my model.gguf");
    CHECK_TEXT(settings.listen_http, "");
    CHECK_TEXT(settings.device, "a # b");
    CHECK_TEXT(settings.hostname, "box-1");
    CHECK(settings.n_ctx == 8192 && settings.log == LOG_DEBUG);
    CHECK(settings_set(&settings, "threads", bytes_of("3"), &err) == OK && settings.n_threads == 3);
    CHECK(!settings.kv_q8_0);
    CHECK(settings_set(&settings, "kv-type", bytes_of("q8_0"), &err) == OK && settings.kv_q8_0);
    CHECK(settings_set(&settings, "kv-type", bytes_of("f16"), &err) == OK && !settings.kv_q8_0);
    CHECK(!settings.share_prefixes);
    CHECK(settings_set(&settings, "share-prefixes", bytes_of("yes"), &err) == OK &&
          settings.share_prefixes);
    CHECK(settings_set(&settings, "share-prefixes", bytes_of("no"), &err) == OK &&
          !settings.share_prefixes);
    CHECK(settings.keep_prefixes_mb == 4096);
    CHECK(settings_set(&settings, "keep-prefixes", bytes_of("0"), &err) == OK &&
          settings.keep_prefixes_mb == 0);
    CHECK(settings_set(&settings, "keep-prefixes", bytes_of("-1"), &err) == BAD_INPUT);
    CHECK(!settings.open_metrics);
    CHECK(settings_set(&settings, "open-metrics", bytes_of("yes"), &err) == OK &&
          settings.open_metrics);
    CHECK(settings.speculation);
    CHECK(settings_set(&settings, "speculation", bytes_of("off"), &err) == OK &&
          !settings.speculation);
    CHECK(settings_set(&settings, "speculation", bytes_of("auto"), &err) == OK &&
          settings.speculation);
    CHECK(settings_set(&settings, "ctx", bytes_of("auto"), &err) == OK);
    CHECK(settings.n_ctx == CTX_AUTO);
    CHECK(settings_set(&settings, "ctx", bytes_of("0"), &err) == OK && settings.n_ctx == 0);
    CHECK(settings_set(&settings, "threads", bytes_of("auto"), &err) == BAD_INPUT);
    CHECK(settings_set(&settings, "model", bytes_of("x"), &err) == OK);
    CHECK_TEXT(settings.model, "x");
}

// Where a gateway can be: in a network of an IPv4 address, where there are such (RFC 1122).
static void test_gateways(void)
{
    static const struct {
        const char *address, *gateway;
        bool good;
    } cases[] = {{"", "9.9.9.9", true},
                 {"10.0.0.5/24", "10.0.0.1", true},
                 {"10.0.0.5/24", "10.0.1.1", false},
                 {"10.0.0.5/23", "eth0 10.0.1.1", true},
                 {"eth1 192.0.2.7/25, 10.0.0.5/24", "10.0.0.1,192.0.2.1", true},
                 {"192.0.2.7/25, 10.0.0.5/24", "10.0.0.1, 192.0.2.129", false},
                 {"10.0.0.5/32", "172.31.1.1", true},
                 {"fd00::5/64", "9.9.9.9", true},
                 {"fd00::5/64, 10.0.0.5/8", "fe80::1", true},
                 {"128.0.0.1/1", "1.0.0.1", false}};
    struct settings settings;
    struct err err = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        settings_default(&settings);
        CHECK(settings_set(&settings, "address", bytes_of(cases[i].address), &err) == OK);
        CHECK(settings_set(&settings, "gateway", bytes_of(cases[i].gateway), &err) == OK);
        CHECK((settings_gateways_good(&settings, &err) == OK) == cases[i].good);
    }
    CHECK(strstr(err.text, "gateway: 1.0.0.1 is in no network of 'address' (128.0.0.1/1)"));
}

// The list that --help is made of says of each setting what settings_default and settings_set do.
static void test_described(void)
{
    struct settings settings, before;
    struct setting setting;
    struct err err = {0};
    size_t n = 0;
    settings_default(&before);
    settings = before;
    for (; settings_describe(n, &setting); n++) {
        const char *value = strcmp(setting.fallback, "\"\"") == 0 ? "" : setting.fallback;
        CHECK(setting.name[0] && setting.value[0] && setting.what[0] && setting.fallback[0]);
        CHECK(settings_set(&settings, setting.name, bytes_of(value), &err) == OK);
        CHECK(memcmp(&settings, &before, sizeof(before)) == 0);
    }
    CHECK(n == 33);
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        bool good;
        int64_t s;
    } cases[] = {{"0", true, 0},
                 {"300", true, 300},
                 {"5m", true, 300},
                 {"1h30m", true, 5400},
                 {"24h", true, 86400},
                 {"250ms", true, 1},
                 {"always", true, -1},
                 {"-1", true, -1},
                 {"-5m", true, -1},
                 {"-0", true, 0},
                 {"1d2h", true, 93600},
                 {"1000000000", false, 0},
                 {"", false, 0},
                 {"-", false, 0},
                 {"m", false, 0},
                 {"5 m", false, 0},
                 {"5mm", false, 0},
                 {"1h30", false, 0},
                 {"999999999d", true, 86399999913600},
                 {"0x5", false, 0},
                 {"1.5h", false, 0}};
    struct settings settings;
    struct err err = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t s = 77;
        CHECK(duration_read(bytes_of(cases[i].text), &s) == cases[i].good);
        CHECK(s == (cases[i].good ? cases[i].s : 77));
    }
    settings_default(&settings);
    CHECK(settings.keep_s == KEEP_ALWAYS);
    CHECK(settings_set(&settings, "keep-alive", bytes_of("5m"), &err) == OK);
    CHECK(settings.keep_s == 300);
    CHECK(settings_set(&settings, "keep-alive", bytes_of("soon"), &err) == BAD_INPUT);
    CHECK(strstr(err.text, "keep-alive: \"soon\" is not a time"));
}

static void test_parse(void)
{
    struct settings settings;
    struct err err = {0};
    settings_default(&settings);
    CHECK(settings_parse(&settings, bytes_of("ctx = 8\nlisten-http = auto\n"), "it", &err) == OK);
    CHECK(settings.n_ctx == 8);
    CHECK_TEXT(settings.listen_http, "auto");
    CHECK(settings_parse(&settings, bytes_of("\nctx = x\n"), "it", &err) == BAD_INPUT);
    CHECK(strstr(err.text, "it line 2: ctx: \"x\""));
    CHECK(settings.n_ctx == 8);
}

static void test_bad(void)
{
    static const struct {
        const char *text, *wanted; // a part of the sentence
    } vectors[] = {
        {"model = a\nmodle = b\n",
         "line 2: there is no setting \"modle\"; the settings are model, models, alias"},
        {"model = a\n\nmodel = b\n", "line 3: model was set in line 1 already"},
        {"ctx = many\n", "line 1: ctx: \"many\" is not a whole number from 0 to 1048576, nor auto"},
        {"ctx = -1\n", "ctx: \"-1\""},
        {"ctx = 99999999999999999999\n", "ctx: \"99999999999999999999\""},
        {"ctx =\n", "ctx: \"\""},
        {"parallel = 0\n", "from 1 to 64"},
        {"model =\n", "model: a value is missing"},
        {"model = \"abc\n", "model: the closing quote is missing"},
        {"model = \"abc\" d\n", "model: there is text after the closing quote"},
        {"just words\n", "line 1: this is not a `key = value` line"},
        {"share-prefixes = true\n", "share-prefixes: \"true\" is neither yes nor no"},
        {"kv-type = q4_0\n", "kv-type: \"q4_0\" is neither f16 nor q8_0"},
        {"speculation = on\n", "speculation: \"on\" is neither auto nor off"},
        {"log = loud\n", "log: \"loud\" is neither info nor debug"},
        {"hostname = a b\n", "hostname: \"a b\" is not a host name"},
        {"hostname = -a\n", "hostname: \"-a\""},
        {"hostname = 123\n", "hostname: \"123\""},
        {"hostname = LocalHost\n", "not digits alone, nor localhost"},
        {"model = a\xe2\x80\xae.b\n", "model: a character that nobody sees (U+202E)"},
        {"device = \xd8\x9c\n", "(U+061C)"},
        {"device = \xe2\x81\xa9x\n", "(U+2069)"},
        {"model = a\x01"
         "b\n",
         "control character (0x01)"},
        {"model = a\xff\n", "not valid UTF-8"},
        {"= a\n", "there is no setting \"\""},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct settings settings, before;
        struct err err = {0};
        settings_default(&before);
        CHECK(read_text(&settings, vectors[i].text, &err) == BAD_INPUT);
        if (!CHECK(strstr(err.text, vectors[i].wanted)))
            fprintf(stderr, "    got \"%s\"\n", err.text);
        CHECK(strstr(err.text, path));
        CHECK(memcmp(&settings, &before, sizeof(before)) == 0); // untouched on failure
    }
    struct settings settings;
    struct err err = {0};
    char many[200];
    memset(many, 'd', sizeof(many));
    CHECK(settings_set(&settings, "device", (struct bytes){(const uint8_t *)many, sizeof(many)},
                       &err) == TOO_LARGE);
    CHECK(settings_read(&settings, "/nonexistent/tawny.conf", &err) == NOT_FOUND);
    CHECK(strstr(err.text, "/nonexistent/tawny.conf"));
}

// What PID 1 makes of each is tested by init_static.c.
static void test_network(void)
{
    for (size_t i = 0; i < N_STATIC_LINES; i++) {
        const struct static_line *line = &static_lines[i];
        struct settings settings;
        struct err err = {0};
        settings_default(&settings);
        enum status status = settings_set(&settings, line->key, bytes_of(line->value), &err);
        if (!CHECK(status == (line->good ? OK : BAD_INPUT)))
            fprintf(stderr, "    %s = %s: %s\n", line->key, line->value, err.text);
        CHECK(line->good || strstr(err.text, line->key));
    }
}

static void test_files(void)
{
    struct err err = {0};
    struct stat info;
    umask(0);
    CHECK(file_write(path, bytes_of("one"), 0600, &err) == OK);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    umask(077);
    CHECK(file_write(path, bytes_of("two"), 0644, &err) == OK);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0644);
    struct buf buf;
    CHECK(file_read(&buf, path, 3, &err) == OK && bytes_equal_text(buf_view(&buf), "two"));
    buf_free(&buf);
    CHECK(file_read(&buf, path, 2, &err) == TOO_LARGE);
    CHECK(file_read(&buf, "/nonexistent", 2, &err) == NOT_FOUND);
    CHECK(file_read(&buf, dir, 200, &err) == IO_ERROR);
    char other[80];
    snprintf(other, sizeof(other), "%s.new", path);
    CHECK(access(other, F_OK) != 0); // nothing left beside it
    CHECK(symlink("/nonexistent/target", other) ==
          0); // what a power cut or a prankster left is not followed
    CHECK(file_write(path, bytes_of("three"), 0600, &err) == OK &&
          access("/nonexistent/target", F_OK) != 0);
    snprintf(other, sizeof(other), "%s/no/such", dir);
    CHECK(file_write(other, bytes_of("x"), 0600, &err) == NOT_FOUND);
    CHECK(file_make_dir(dir, 0700, &err) == OK && file_make_dir(path, 0700, &err) == IO_ERROR);
    uint8_t a[64], b[64];
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    CHECK(memcmp(a, b, sizeof(a)) != 0);
}

// A server that nobody sees: what is right counts, what is wrong is noted.
static void test_rest(void)
{
    static struct settings_report report;
    struct settings settings;
    struct setting setting;
    char value[64];
    size_t ctx = 0, last = 0;
    settings_default(&settings);
    settings_parse_rest(&settings,
                        bytes_of("\xef\xbb\xbfparallel = 3\nctxx = 5\r\npass word\nctx = lots\n"
                                 "ctx = 2048\nctx = 4096\nlog = \"debug\n"),
                        "conf", SETTING_FILE, &report);
    CHECK(settings.n_parallel == 3 && settings.n_ctx == 2048 && settings.log == LOG_INFO);
    CHECK(report.n_faults == 5);
    CHECK(strstr(report.fault[0].text, "conf line 2: there is no setting \"ctxx\""));
    CHECK(strstr(report.fault[1].text, "line 3") && !strstr(report.fault[1].text, "pass"));
    CHECK(strstr(report.fault[2].text, "line 4: ctx") && strstr(report.fault[3].text, "line 6"));
    CHECK_TEXT(report.place[0], "conf line 2"); // what anybody is told: nothing that stands there
    CHECK_TEXT(report.place[2], "conf line 4: ctx");
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        ctx = strcmp(setting.name, "ctx") == 0 ? i : ctx;
        last = i;
    }
    CHECK(report.source[ctx] == SETTING_FILE && report.source[last] == SETTING_DEFAULT);
    CHECK(settings_value(&settings, ctx, value, sizeof(value)));
    CHECK_TEXT(value, "2048");
    CHECK(!settings_value(&settings, last + 1, value, sizeof(value)));
    for (int i = 0; i < 40; i++) // more than are kept
        settings_parse_rest(&settings, bytes_of("x\n"), "conf", SETTING_API, &report);
    CHECK(report.n_faults == 45 && settings.n_ctx == 2048);
    // What each setting says of itself is what the file may say.
    settings_default(&settings);
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        struct err err = {0};
        char text[4200];
        CHECK(settings_value(&settings, i, text, sizeof(text)));
        if (!CHECK(!text[0] || settings_set(&settings, setting.name, bytes_of(text), &err) == OK))
            fprintf(stderr, "    %s\n", err.text);
    }
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/tawny.conf", dir);
    test_good();
    test_rest();
    test_described();
    test_gateways();
    test_durations();
    test_parse();
    test_bad();
    test_network();
    test_files();
    unlink(path);
    rmdir(dir);
    return check_done("base_settings");
}
