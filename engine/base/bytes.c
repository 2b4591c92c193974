// bytes.c - views of bytes, the growable capped buffer, and what is needed of UTF-8.
//
// Text from outside is {pointer, length}. Output is built in a buf whose cap was fixed at its
// birth; a full buffer is an answer (NO_ROOM), not a crash. UTF-8 is RFC 3629's: no overlong forms,
// no surrogates, nothing above U+10FFFF. An ill-formed sequence is replaced the way the Unicode
// standard recommends (one U+FFFD for each maximal part that could have begun a sequence), which is
// what Python, browsers and the reference tokenizers do.
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

bool bytes_equal_secret(struct bytes a, struct bytes b)
{
    if (a.n != b.n)
        return false;
    volatile uint8_t different = 0;
    for (size_t i = 0; i < a.n; i++)
        different = (uint8_t)(different | (a.p[i] ^ b.p[i]));
    return different == 0;
}

int bytes_compare(struct bytes a, struct bytes b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

bool bytes_begins_with(struct bytes text, const char *start)
{
    const size_t n = strlen(start);
    return text.n >= n && (n == 0 || memcmp(text.p, start, n) == 0);
}

bool bytes_ends_in(struct bytes text, const char *end)
{
    const size_t n = strlen(end);
    return text.n >= n && (n == 0 || memcmp(text.p + text.n - n, end, n) == 0);
}

bool bytes_cut_end(struct bytes *text, const char *end)
{
    const size_t n = strlen(end);
    if (text->n <= n || !bytes_ends_in(*text, end))
        return false;
    text->n -= n;
    return true;
}

bool sha256_read(char out[SHA256_TEXT], struct bytes text)
{
    char small[SHA256_TEXT] = "";
    if (text.n != SHA256_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const uint8_t c = text.p[i], letter = c | 0x20;
        if (!(c >= '0' && c <= '9') && !(letter >= 'a' && letter <= 'f'))
            return false;
        small[i] = (char)(c >= '0' && c <= '9' ? c : letter);
    }
    memcpy(out, small, SHA256_TEXT);
    return true;
}

void hex_write(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_read(uint8_t *out, size_t n, struct bytes text)
{
    if (text.n % 2 || text.n / 2 != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const int high = digit_of(text.p[2 * i]), low = digit_of(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

struct bytes bytes_copy(struct arena *arena, struct bytes from)
{
    uint8_t *p = from.n < SIZE_MAX ? arena_take(arena, from.n + 1) : NULL;
    if (!p)
        return (struct bytes){NULL, 0};
    if (from.n)
        memcpy(p, from.p, from.n);
    return (struct bytes){p, from.n};
}

const char *name_text(char out[NAME_TEXT], struct bytes name)
{
    size_t n = name.n < NAME_TEXT - 1 ? name.n : NAME_TEXT - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = name.p[i] >= 0x20 && name.p[i] < 0x7f ? (char)name.p[i] : '?';
    if (name.n > n)
        memcpy(out + n - 3, "...", 3);
    out[n] = 0;
    return out;
}

// ---- buf ------------------------------------------------------------------------------------

void buf_init(struct buf *buf, size_t cap_bytes)
{
    *buf = (struct buf){.cap_bytes = cap_bytes};
}

void buf_free(struct buf *buf)
{
    free(buf->p);
    *buf = (struct buf){.cap_bytes = buf->cap_bytes};
}

// Makes room for n more bytes.
static enum status buf_reserve(struct buf *buf, size_t n)
{
    if (n > buf->cap_bytes || buf->n > buf->cap_bytes - n)
        return NO_ROOM;
    size_t wanted = buf->n + n;
    if (wanted <= buf->allocated)
        return OK;
    size_t size = buf->allocated < 256 ? 256 : buf->allocated;
    while (size < wanted && size <= SIZE_MAX / 2)
        size *= 2;
    if (size > buf->cap_bytes)
        size = buf->cap_bytes;
    if (size < wanted)
        size = wanted;
    buf->p = mem_resize(buf->p, size);
    buf->allocated = size;
    return OK;
}

enum status buf_add(struct buf *buf, const void *p, size_t n)
{
    enum status status = buf_reserve(buf, n);
    if (status == OK && n) {
        memcpy(buf->p + buf->n, p, n);
        buf->n += n;
    }
    return status;
}

enum status buf_format(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return BAD_INPUT;
    char *text = mem_alloc((size_t)n + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    enum status status = buf_add(buf, text, (size_t)n);
    free(text);
    return status;
}

enum status buf_json(struct buf *out, struct bytes text)
{
    size_t before = out->n, from = 0;
    enum status status = buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n && status == OK; i++) {
        uint8_t c = text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[8] = {'\\', (char)c, 0};
        if (c == '\n')
            escape[1] = 'n';
        else if (c == '\r')
            escape[1] = 'r';
        else if (c == '\t')
            escape[1] = 't';
        else if (c < 0x20)
            snprintf(escape, sizeof(escape), "\\u%04x", c);
        status = buf_add(out, text.p + from, i - from);
        if (status == OK)
            status = buf_add(out, escape, bytes_of(escape).n);
        from = i + 1;
    }
    if (status == OK && from < text.n)
        status = buf_add(out, text.p + from, text.n - from);
    if (status == OK)
        status = buf_add(out, "\"", 1);
    if (status != OK)
        out->n = before;
    return status;
}

void buf_drop_front(struct buf *buf, size_t n)
{
    if (n >= buf->n) {
        buf->n = 0;
        return;
    }
    if (n == 0)
        return;
    buf->n -= n;
    memmove(buf->p, buf->p + n, buf->n);
}

struct bytes buf_view(const struct buf *buf)
{
    return (struct bytes){buf->p, buf->n};
}

// ---- UTF-8 (RFC 3629 section 4) -------------------------------------------------------------

// What stands at text[at]: *n bytes that are a whole character (returns OK), the beginning of one
// that the text cuts off (AGAIN), or a maximal ill-formed part (BAD_INPUT).
static enum status utf8_step(struct bytes text, size_t at, size_t *n)
{
    uint8_t first = text.p[at];
    uint8_t low = 0x80, high = 0xbf;
    size_t more;
    *n = 1;
    if (first < 0x80)
        return OK;
    if (first >= 0xc2 && first <= 0xdf)
        more = 1;
    else if (first >= 0xe0 && first <= 0xef)
        more = 2;
    else if (first >= 0xf0 && first <= 0xf4)
        more = 3;
    else
        return BAD_INPUT;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i <= more; i++) {
        if (at + i >= text.n)
            return AGAIN;
        uint8_t c = text.p[at + i];
        if (c < low || c > high)
            return BAD_INPUT;
        low = 0x80;
        high = 0xbf;
        *n = i + 1;
    }
    return OK;
}

size_t utf8_whole(struct bytes text)
{
    // Only the last three bytes can begin a sequence that is cut off.
    for (size_t back = 1; back <= 3 && back <= text.n; back++) {
        size_t at = text.n - back, n;
        if (text.p[at] < 0xc0)
            continue;
        return utf8_step(text, at, &n) == AGAIN ? at : text.n;
    }
    return text.n;
}

enum status utf8_clean(struct buf *out, struct bytes text)
{
    size_t before = out->n, from = 0, at = 0;
    enum status status = OK;
    while (at < text.n && status == OK) {
        size_t n;
        if (utf8_step(text, at, &n) == OK) {
            at += n;
            continue;
        }
        status = buf_add(out, text.p + from, at - from);
        if (status == OK)
            status = buf_add(out, "\xef\xbf\xbd", 3);
        at += n;
        from = at;
    }
    if (status == OK && text.n > from)
        status = buf_add(out, text.p + from, text.n - from);
    if (status != OK)
        out->n = before;
    return status;
}

enum status utf8_tame(struct buf *out, struct bytes text)
{
    size_t before = out->n;
    enum status status = OK;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        uint8_t c = text.p[i];
        // U+0080 to U+009F are control characters too, ESC [ among them
        bool upper = c == 0xc2 && i + 1 < text.n && text.p[i + 1] >= 0x80 && text.p[i + 1] < 0xa0;
        if (upper || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            status = buf_add(out, "\xef\xbf\xbd", 3);
        else
            status = buf_add(out, &c, 1);
        i += upper;
    }
    if (status != OK)
        out->n = before;
    return status;
}

bool utf8_valid(struct bytes text)
{
    size_t at = 0;
    while (at < text.n) {
        size_t n;
        if (utf8_step(text, at, &n) != OK)
            return false;
        at += n;
    }
    return true;
}

size_t utf8_length(struct bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += (text.p[i] & 0xc0) != 0x80;
    return n;
}

// Eight bytes at a time (FNV's constants); the last ones padded with zeros.
uint64_t hash_on(uint64_t hash, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const uint8_t *)p + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ word) * 1099511628211ull;
        hash ^= hash >> 29;
    }
    return hash;
}
