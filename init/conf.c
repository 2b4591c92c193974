/* conf.c - the one setting of tawny.conf that init needs: the host name.
 *
 * The file is `key = value` lines; '#' starts a comment line, or a comment behind a blank; a value
 * may stand in double quotes (as engine/base/settings.c has it: both must see the same name). It is
 * edited by people on any PC, so a byte order mark and CR LF line ends are fine. A line that is no
 * `key = value`, or a host name that is none, is reported with its number and ignored; every other
 * key belongs to the engine, which checks it.
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

void conf_defaults(struct conf *c)
{
    snprintf(c->hostname, sizeof(c->hostname), "tawny");
}

bool conf_hostname(const char *in, size_t len, char out[64])
{
    if (len < 1 || len > 63 || in[0] == '-' || in[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
        out[i] = c;
    }
    out[len] = 0;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The value without its quotes or the comment behind it. What is not whole stays as it is, and is
 * then no host name. */
static void bare_value(const char **value, size_t *len)
{
    const char *s = *value;

    if (*len && *s == '"') {
        const char *end = memchr(s + 1, '"', *len - 1), *rest = end ? end + 1 : s;
        while (rest < s + *len && blank(*rest))
            rest++;
        if (end && (rest == s + *len || *rest == '#')) {
            *value = s + 1;
            *len = (size_t)(end - s) - 1;
        }
        return;
    }
    for (size_t i = 0; i < *len; i++)
        if (s[i] == '#' && (i == 0 || blank(s[i - 1])))
            *len = i;
    while (*len && blank(s[*len - 1]))
        --*len;
}

/* One line without its '\n'. Returns what is wrong with it, or NULL. */
static const char *conf_line(struct conf *c, const char *s, size_t len)
{
    char name[64];

    while (len && blank(s[len - 1]))
        len--;
    while (len && blank(*s)) {
        s++;
        len--;
    }
    if (!len || *s == '#')
        return NULL;
    const char *eq = memchr(s, '=', len);
    if (!eq || eq == s)
        return "it is not of the form `key = value`";
    size_t key_len = (size_t)(eq - s), value_len = len - key_len - 1;
    const char *value = eq + 1;
    while (key_len && blank(s[key_len - 1]))
        key_len--;
    while (value_len && blank(*value)) {
        value++;
        value_len--;
    }
    if (key_len != strlen("hostname") || memcmp(s, "hostname", key_len) != 0)
        return NULL;
    bare_value(&value, &value_len);
    if (!conf_hostname(value, value_len, name)) {
        return "a hostname is 1 to 63 of the characters a-z, 0-9 and -, and does not begin or end "
               "with -";
    }
    memcpy(c->hostname, name, sizeof(name));
    return NULL;
}

void conf_parse(struct conf *c, const char *text, size_t len,
                void (*bad)(void *ctx, int line, const char *what), void *ctx)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    for (int line = 1; len; line++) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        const char *what = conf_line(c, text, n);
        if (what)
            bad(ctx, line, what);
        n += end ? 1 : 0;
        text += n;
        len -= n;
    }
}
