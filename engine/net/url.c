// url.c - https://HOST[:PORT]/PATH?QUERY taken apart and followed (RFC 3986), as far as fetching
// needs it.
//
// Strict where laxness would be read differently by two: only printable ASCII, no user name, no
// backslash. A path with dots in it is left as it is; the server knows what it means.
#include "url.h"
#include "http.h"

#include <stdio.h>
#include <string.h>

static bool begins(struct bytes text, const char *lower)
{
    const size_t n = strlen(lower);
    if (text.n < n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((text.p[i] >= 'A' && text.p[i] <= 'Z' ? text.p[i] | 0x20 : text.p[i]) != lower[i])
            return false;
    return true;
}

static bool characters_good(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7f || strchr("\\\"<>^`{|}", text.p[i]))
            return false;
    return true;
}

// HOST or HOST:PORT; without a port, usual.
static bool read_host(char host[URL_HOST_BYTES], uint16_t *port, struct bytes text, uint16_t usual)
{
    struct bytes name = host_without_port(text);
    uint32_t number = 0;
    if (!host_is_good(text))
        return false;
    for (size_t i = name.n + 1; i < text.n; i++)
        number = number * 10 + (uint32_t)(text.p[i] - '0');
    if (text.n == name.n)
        number = usual;
    if (number == 0 || number > 65535)
        return false;
    *port = (uint16_t)number;
    if (name.p[0] == '[')
        name = (struct bytes){name.p + 1, name.n - 2};
    if (name.n >= URL_HOST_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++)
        host[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
    host[name.n] = 0;
    return true;
}

static struct bytes without_fragment(struct bytes text)
{
    const uint8_t *mark = text.n ? memchr(text.p, '#', text.n) : NULL;
    return mark ? (struct bytes){text.p, (size_t)(mark - text.p)} : text;
}

static enum status set_target(struct url *url, struct bytes target, struct err *err)
{
    const bool slash = target.n == 0 || target.p[0] != '/';
    if (target.n + slash >= sizeof(url->target))
        return err_set(err, TOO_LARGE, "an address of %zu bytes is too long", target.n);
    snprintf(url->target, sizeof(url->target), "%s%.*s", slash ? "/" : "", (int)target.n,
             (const char *)target.p);
    return OK;
}

enum status url_read(struct url *out, struct bytes text, struct err *err)
{
    char shown[NAME_TEXT];
    struct url url = {.tls = begins(text, "https://")};
    const size_t scheme = url.tls ? 8 : 7;
    if (!url.tls && !begins(text, "http://"))
        return err_set(err, BAD_INPUT, "'%s' is not an address that begins with https://",
                       name_text(shown, text));
    struct bytes rest = without_fragment((struct bytes){text.p + scheme, text.n - scheme});
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    if (!characters_good(rest) ||
        !read_host(url.host, &url.port, (struct bytes){rest.p, n}, url.tls ? 443 : 80))
        return err_set(err, BAD_INPUT,
                       "the address '%s' has no good host in it, or a character "
                       "that may not stand there",
                       name_text(shown, text));
    enum status status = set_target(&url, (struct bytes){rest.p + n, rest.n - n}, err);
    if (status == OK)
        *out = url;
    return status;
}

enum status url_follow(struct url *out, const struct url *from, struct bytes location,
                       struct err *err)
{
    char text[URL_TARGET_BYTES + URL_HOST_BYTES + 32], host[URL_HOST_BYTES + 16];
    size_t n_folder = strcspn(from->target, "?");
    int n;
    if (begins(location, "https://") || begins(location, "http://"))
        return url_read(out, location, err);
    if (location.n >= URL_TARGET_BYTES)
        return err_set(err, TOO_LARGE, "an address of %zu bytes is too long", location.n);
    while (n_folder > 0 && from->target[n_folder - 1] != '/')
        n_folder--;
    const char *scheme = from->tls ? "https" : "http";
    const int n_location = (int)location.n;
    if (location.n >= 2 && location.p[0] == '/' && location.p[1] == '/')
        n = snprintf(text, sizeof(text), "%s:%.*s", scheme, n_location, (const char *)location.p);
    else if (location.n >= 1 && location.p[0] == '/')
        n = snprintf(text, sizeof(text), "%s://%s%.*s", scheme, url_host_text(from, host),
                     n_location, (const char *)location.p);
    else
        n = snprintf(text, sizeof(text), "%s://%s%.*s%.*s", scheme, url_host_text(from, host),
                     (int)n_folder, from->target, n_location, (const char *)location.p);
    if (n < 0 || (size_t)n >= sizeof(text))
        return err_set(err, TOO_LARGE, "an address of %d bytes is too long", n);
    return url_read(out, bytes_of(text), err);
}

bool url_same_host(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}

bool url_host_is_address(const struct url *url)
{
    return strchr(url->host, ':') || url->host[strspn(url->host, "0123456789.")] == 0;
}

const char *url_host_text(const struct url *url, char out[URL_HOST_BYTES + 16])
{
    const bool brackets = strchr(url->host, ':') != NULL;
    char port[8] = "";
    if (url->port != (url->tls ? 443 : 80))
        snprintf(port, sizeof(port), ":%u", url->port);
    snprintf(out, URL_HOST_BYTES + 16, "%s%s%s%s", brackets ? "[" : "", url->host,
             brackets ? "]" : "", port);
    return out;
}

bool url_host_is(const struct url *url, struct bytes text)
{
    char host[URL_HOST_BYTES];
    uint16_t port;
    return read_host(host, &port, text, url->tls ? 443 : 80) && port == url->port &&
           strcmp(host, url->host) == 0;
}
