// host.c - hosts as requests and origins write them: "name", "192.0.2.1", "[2001:db8::1]", each
// perhaps with ":port". The one place that takes them apart.
#include "http.h"

#include <string.h>

struct bytes host_without_port(struct bytes host)
{
    const uint8_t *end = host.n == 0 ? NULL : memchr(host.p, host.p[0] == '[' ? ']' : ':', host.n);
    if (!end)
        return host;
    return (struct bytes){host.p, (size_t)(end - host.p) + (*end == ']')};
}

static bool name_is_good(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i], letter = c | 0x20;
        bool good = (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z');
        if (!good && c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

static bool address_is_good(struct bytes name)
{
    if (name.n < 4 || name.p[name.n - 1] != ']')
        return false;
    for (size_t i = 1; i < name.n - 1; i++) {
        uint8_t c = name.p[i], letter = c | 0x20;
        bool good = (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'f');
        if (!good && c != ':' && c != '.')
            return false;
    }
    return true;
}

bool host_is_good(struct bytes text)
{
    struct bytes name = host_without_port(text);
    if (name.n == 0 || name.n > 255 ||
        !(name.p[0] == '[' ? address_is_good(name) : name_is_good(name)))
        return false;
    if (text.n == name.n)
        return true;
    if (text.p[name.n] != ':' || text.n - name.n > 6)
        return false;
    for (size_t i = name.n + 1; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return true;
}
