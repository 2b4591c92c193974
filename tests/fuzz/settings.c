// settings.c - fuzz target: any bytes as tawny.conf (engine/base/settings.c), and the addresses
// that come out of it (engine/net/address.c). A file that is refused changes nothing and says why;
// one that is taken leaves every setting within its bounds.
//
// Kept inputs: settings/ (tawny.conf as it ships, one line for each key and each fault, and what
// fuzzing found).
#include "base/base.h"
#include "net/address.h"

#include <stdlib.h>
#include <string.h>

enum { LISTENERS_MOST = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_is_good(const char *text, size_t size)
{
    const char *end = memchr(text, 0, size);
    if (!end || !utf8_valid(bytes_of(text)))
        abort();
    for (const char *p = text; p < end; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            abort();
}

static void settings_are_good(const struct settings *s)
{
    text_is_good(s->model, sizeof(s->model));
    text_is_good(s->listen, sizeof(s->listen));
    text_is_good(s->listen_http, sizeof(s->listen_http));
    text_is_good(s->state, sizeof(s->state));
    text_is_good(s->device, sizeof(s->device));
    text_is_good(s->hostname, sizeof(s->hostname));
    if (!s->model[0] || !s->listen[0] || !s->device[0] || !s->hostname[0] || s->n_ctx < CTX_AUTO ||
        s->n_threads < 0 || s->n_parallel < 1)
        abort();
}

static void read_addresses(const char *key, const char *text)
{
    struct listen_at at[LISTENERS_MOST];
    struct err err = {0};
    size_t n = 0;
    enum status status = listen_parse(at, COUNT_OF(at), &n, key, text, &err);
    if (status == OK ? n == 0 || n > COUNT_OF(at) : !err.text[0])
        abort();
    for (size_t i = 0; i < n && status == OK; i++)
        if (at[i].n == 0 || at[i].n > sizeof(at[i].at))
            abort();
}

// As a server reads it that runs on. whole: what all of the file says, NULL: a line of it is wrong.
static void read_rest(struct bytes text, const struct settings *whole)
{
    static struct settings_report report;
    struct settings rest;
    memset(&rest, 0, sizeof(rest));
    settings_default(&rest);
    memset(&report, 0, sizeof(report));
    settings_parse_rest(&rest, text, "tawny.conf", SETTING_FILE, &report);
    settings_are_good(&rest);
    if ((report.n_faults == 0) != (whole != NULL))
        abort();
    static char one[8192], other[8192];
    for (size_t i = 0; whole && settings_value(&rest, i, one, sizeof(one)); i++)
        if (!settings_value(whole, i, other, sizeof(other)) || strcmp(one, other) != 0)
            abort();
    for (size_t i = 0; i < report.n_faults && i < SETTING_FAULTS; i++)
        if (!strstr(report.fault[i].text, " line "))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings, before;
    struct err err = {0};
    memset(&settings, 0, sizeof(settings));
    settings_default(&settings);
    before = settings;
    uint8_t *copy = malloc(size ? size : 1); // not a byte longer than the input
    if (!copy)
        abort();
    memcpy(copy, data, size);
    enum status status = settings_parse(&settings, (struct bytes){copy, size}, "tawny.conf", &err);
    read_rest((struct bytes){copy, size}, status == OK ? &settings : NULL);
    free(copy);
    if (status != OK && (!err.text[0] || memcmp(&settings, &before, sizeof(settings)) != 0))
        abort();
    settings_are_good(&settings);
    read_addresses("listen", settings.listen);
    if (settings.listen_http[0])
        read_addresses("listen-http", settings.listen_http);
    return 0;
}
