// unicode.c - what the tokenizers must know of characters beyond the classes of PCRE2.
//
// The one thing a reader would get wrong: decoding here is looser than UTF-8. Lone surrogates pass
// and every other invalid byte counts alone, as in llama.cpp: the ids depend on it.

#include "unicode_data.h"

#include <stdlib.h>
#include <string.h>

size_t unicode_decode(const uint8_t *p, size_t n, uint32_t *point)
{
    static const uint8_t lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80   ? 1
                    : p[0] < 0xc0 ? 0
                    : p[0] < 0xe0 ? 2
                    : p[0] < 0xf0 ? 3
                    : p[0] < 0xf8 ? 4
                                  : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t value = p[0] & lead_mask[length];
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    *point = value;
    return value >= least[length] && value <= 0x10ffff ? length : 0;
}

size_t unicode_encode(uint8_t *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

size_t unicode_length(uint8_t first)
{
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static bool is_space(uint32_t point)
{
    return (point >= 9 && point <= 13) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

// ---- tables -------------------------------------------------------------------------------------

static unsigned in_ranges(const struct unicode_range *ranges, size_t n, uint32_t point)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ranges[low].first <= point ? ranges[low].value : 0;
}

enum category unicode_category(uint32_t point)
{
    if (point < 0x80 && ((point | 0x20) - 'a' < 26 || point - '0' < 10))
        return OTHER;
    if (is_space(point))
        return SPACE;
    return (enum category)in_ranges(unicode_categories, n_unicode_categories, point);
}

uint32_t unicode_lower(uint32_t point)
{
    if (point < 0x80)
        return point - 'A' < 26 ? point + 32 : point;
    size_t low = 0, high = n_unicode_lowers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unicode_lowers[middle].from < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n_unicode_lowers && unicode_lowers[low].from == point ? unicode_lowers[low].to
                                                                       : point;
}

static const struct unicode_parts *find_parts(uint32_t point)
{
    size_t low = 0, high = n_unicode_decompositions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unicode_decompositions[middle].whole < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n_unicode_decompositions && unicode_decompositions[low].whole == point
               ? &unicode_decompositions[low]
               : NULL;
}

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
enum { S_BASE = 0xac00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11a7, N_V = 21, N_T = 28 };
enum { N_S = 19 * N_V * N_T };

uint32_t unicode_base(uint32_t point)
{
    if (point - S_BASE < N_S)
        return L_BASE + (point - S_BASE) / (N_V * N_T);
    for (const struct unicode_parts *parts; (parts = find_parts(point)) != NULL;)
        point = parts->first;
    return point;
}

// ---- normalization form C -----------------------------------------------------------------------

enum {
    MARKS_MOST = 64, // in a row are put in order; more are no text, and would cost n * n steps
    PARTS_MOST = 8   // of one code point; 4 at most today
};

struct points {
    uint32_t *p;
    size_t n, allocated;
};

static unsigned class_of(uint32_t point)
{
    return point < 0x300 ? 0 : in_ranges(unicode_classes, n_unicode_classes, point);
}

static uint32_t compose(uint32_t first, uint32_t second) // 0: they do not
{
    if (first - L_BASE < 19 && second - V_BASE < N_V)
        return S_BASE + ((first - L_BASE) * N_V + second - V_BASE) * N_T;
    if (first - S_BASE < N_S && (first - S_BASE) % N_T == 0 && second - T_BASE - 1 < N_T - 1)
        return first + second - T_BASE;
    size_t low = 0, high = n_unicode_compositions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unicode_parts *at = &unicode_compositions[middle];
        if (at->first < first || (at->first == first && at->second < second))
            low = middle + 1;
        else
            high = middle;
    }
    const struct unicode_parts *at = &unicode_compositions[low];
    return low < n_unicode_compositions && at->first == first && at->second == second ? at->whole
                                                                                      : 0;
}

static void push(struct points *points, uint32_t point)
{
    if (points->n == points->allocated) {
        points->allocated = points->allocated ? points->allocated * 2 : 256;
        points->p = mem_resize(points->p, points->allocated * sizeof(*points->p));
    }
    points->p[points->n++] = point;
}

static void push_parts(struct points *points, uint32_t point)
{
    if (point - S_BASE < N_S) {
        uint32_t s = point - S_BASE;
        push(points, L_BASE + s / (N_V * N_T));
        push(points, V_BASE + s % (N_V * N_T) / N_T);
        if (s % N_T != 0)
            push(points, T_BASE + s % N_T);
        return;
    }
    uint32_t behind[PARTS_MOST];
    size_t n = 0;
    for (const struct unicode_parts *parts;
         (parts = find_parts(point)) != NULL && n < PARTS_MOST;) {
        if (parts->second != 0)
            behind[n++] = parts->second;
        point = parts->first;
    }
    push(points, point);
    while (n > 0)
        push(points, behind[--n]);
}

// Marks between two starters in order of their classes, equal ones as they were.
static void order_marks(struct points *points)
{
    for (size_t i = 0, run = 0; i < points->n; i++) {
        unsigned class = class_of(points->p[i]);
        run = class != 0 ? run + 1 : 0;
        if (run < 2 || run > MARKS_MOST)
            continue;
        uint32_t point = points->p[i];
        size_t at = i;
        for (; at > i + 1 - run && class_of(points->p[at - 1]) > class; at--)
            points->p[at] = points->p[at - 1];
        points->p[at] = point;
    }
}

static void compose_all(struct points *points)
{
    size_t n = 0, starter = SIZE_MAX;
    unsigned before = 0; // class of what was kept behind the starter last; 0: nothing
    for (size_t i = 0; i < points->n; i++) {
        uint32_t point = points->p[i];
        unsigned class = class_of(point);
        bool open = starter != SIZE_MAX && (before < class || n == starter + 1);
        uint32_t whole = open ? compose(points->p[starter], point) : 0;
        if (whole != 0) {
            points->p[starter] = whole;
            continue;
        }
        if (class == 0)
            starter = n;
        before = class;
        points->p[n++] = point;
    }
    points->n = n;
}

static void add_composed(struct buf *out, struct bytes text)
{
    struct points points = {0};
    for (size_t i = 0; i < text.n;) {
        uint32_t point = 0xfffd;
        size_t n = unicode_decode(text.p + i, text.n - i, &point);
        push_parts(&points, n > 0 ? point : 0xfffd);
        i += n > 0 ? n : 1;
    }
    order_marks(&points);
    compose_all(&points);
    for (size_t i = 0; i < points.n; i++) {
        uint8_t bytes[4];
        if (buf_add(out, bytes, unicode_encode(bytes, points.p[i])) != OK)
            die("out of memory");
    }
    free(points.p);
}

// ASCII begins a stretch of its own: nothing composes with what stands before it.
void unicode_nfc(struct buf *out, struct bytes text)
{
    size_t start = 0;
    for (size_t i = 0; i < text.n;) {
        while (i < text.n && text.p[i] < 0x80)
            i++;
        size_t last = i > start && i < text.n ? i - 1 : i; // may be the base of what follows
        if (buf_add(out, text.p + start, last - start) != OK)
            die("out of memory");
        while (i < text.n && text.p[i] >= 0x80)
            i++;
        if (i > last)
            add_composed(out, (struct bytes){text.p + last, i - last});
        start = i;
    }
}
