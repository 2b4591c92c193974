// verb_start.c - the settings of a start (engine/verb/start.c): which ones are refused, that a box
// does without those and keeps all others, and what of them anybody is told.
#include "../../engine/verb/start.h"
#include "../../engine/net/address.h"
#include "check.h"
#include "listen_lines.h"

#include <netinet/in.h>

static const struct bad {
    const char *name, *value;
} bad[] = {
    {"models", "stick"},
    {"alias", "x"},
    {"alias", "a: b, a: c"},
    {"cors", "https://chat.example/"},
    {"proxy", "user:SECRET@host:3128"},
    {"registry", "a b"},
    {"hub", "SECRET TOKEN"},
    {"tokens", "hf.co"},
    {"ca", "ca.pem"},
    {"pull-plain", "no port"},
    {"listen", "nowhere"},
    {"listen-http", "nowhere"},
};

static void set(struct settings *settings, const char *name, const char *value)
{
    struct err err = {0};
    if (!CHECK(settings_set(settings, name, bytes_of(value), &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
}

// All that start_settings_good looks at, at values that are no defaults.
static void set_all(struct settings *settings)
{
    static const struct bad good[] = {
        {"models", "/a, /b"},         {"alias", "llama:8b: x"},      {"cors", "http://localhost"},
        {"proxy", "proxy:3128"},      {"registry", "one.example"},   {"hub", "two.example"},
        {"tokens", "hf.co word"},     {"ca", "/etc/ca.pem"},         {"pull-plain", "host:80"},
        {"listen", "127.0.0.1:8443"}, {"listen-http", "[::1]:8080"},
    };
    struct err err = {0};
    settings_default(settings);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        set(settings, good[i].name, good[i].value);
    CHECK(start_settings_good(settings, &err) == OK);
}

// The one setting becomes its default, and all others stay.
static void test_one(const struct bad *one)
{
    static struct settings_report report;
    struct settings settings, before, usual;
    struct setting setting;
    struct err err = {0};
    char is[4200], was[4200], fallback[4200];
    report = (struct settings_report){0};
    settings_default(&usual);
    set_all(&settings);
    before = settings;
    set(&settings, one->name, one->value);
    CHECK(start_settings_good(&settings, &err) != OK);
    if (!CHECK(settings_named(err.text) && strcmp(settings_named(err.text), one->name) == 0))
        fprintf(stderr, "    %s: %s\n", one->name, err.text);
    start_mend(&settings, &report);
    CHECK(report.n_faults == 1 && start_settings_good(&settings, &err) == OK);
    CHECK_TEXT(report.place[0], one->name);
    CHECK(strstr(report.fault[0].text, one->name) && !strstr(report.place[0], "SECRET"));
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        (void)settings_value(&settings, i, is, sizeof(is));
        (void)settings_value(&before, i, was, sizeof(was));
        (void)settings_value(&usual, i, fallback, sizeof(fallback));
        CHECK_TEXT(is, strcmp(setting.name, one->name) == 0 ? fallback : was);
    }
}

static void test_many(void)
{
    static struct settings_report report;
    struct settings settings;
    struct err err = {0};
    set_all(&settings);
    set(&settings, "cors", "x");
    set(&settings, "proxy", "a b");
    set(&settings, "listen-http", "");
    start_mend(&settings, &report);
    CHECK(report.n_faults == 2 && start_settings_good(&settings, &err) == OK);
    CHECK_TEXT(settings.listen_http, ""); // no port is opened because something else is wrong
    CHECK_TEXT(settings.tokens, "hf.co word");
    CHECK(!settings_named("there is no setting") && !settings_named("modelsx: y"));
}

static bool read_lines(char out[600], const char *text)
{
    struct listen_at at[16];
    struct err err = {0};
    size_t n = 0, used = 0;
    out[0] = 0;
    if (listen_parse(at, COUNT_OF(at), &n, "listen", text, &err) != OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct sockaddr_in *four = (const void *)&at[i].at;
        const struct sockaddr_in6 *six = (const void *)&at[i].at;
        const bool is_six = at[i].at.ss_family == AF_INET6;
        const uint8_t *p =
            is_six ? six->sin6_addr.s6_addr : (const uint8_t *)&four->sin_addr.s_addr;
        used += (size_t)snprintf(out + used, 600 - used, "%s%d %02x%02x%02x%02x %u", i ? ", " : "",
                                 is_six ? 6 : 4, p[0], p[1], p[2], p[3], at[i].port);
    }
    return true;
}

static void test_listen(void)
{
    char text[600];
    struct err err = {0};
    for (size_t i = 0; i < LISTEN_LINES; i++) {
        struct settings settings;
        settings_default(&settings);
        CHECK(read_lines(text, listen_lines[i].listen) == (listen_lines[i].read != NULL));
        if (!listen_lines[i].read)
            continue;
        CHECK_TEXT(text, listen_lines[i].read);
        snprintf(settings.listen, sizeof(settings.listen), "%s", listen_lines[i].listen);
        CHECK(start_http(&settings, &err) == OK && read_lines(text, settings.listen_http));
        CHECK_TEXT(text, listen_lines[i].plain);
    }
}

int main(void)
{
    test_listen();
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        test_one(&bad[i]);
    test_many();
    return check_done("verb_start");
}
