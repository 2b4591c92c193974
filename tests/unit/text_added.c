// text_added.c - tokens found by their texts: the one pass against a plain reading of the rule (the
// longest first, then the lower id, then from left to right), strip flags, and that thousands of
// them cost no more than a few.
#include "check.h"
#include "text/inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MOST = 64, LIST_MOST = 12 };

static unsigned seed = 1;

static unsigned draw(unsigned n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

struct made {
    struct added added;
    uint8_t bytes[LIST_MOST][8];
};

// Texts of a and b and a blank: they overlap and begin alike as often as can be.
static void make_list(struct made *m)
{
    *m = (struct made){0};
    m->added.list = mem_array(LIST_MOST, sizeof(*m->added.list));
    for (int32_t i = 0, n = 1 + (int32_t)draw(LIST_MOST); i < n; i++) {
        size_t length = 1 + draw(5);
        for (size_t k = 0; k < length; k++)
            m->bytes[i][k] = (uint8_t)"aab "[draw(4)];
        struct bytes text = {m->bytes[i], length};
        bool known = false;
        for (int32_t k = 0; k < m->added.n; k++)
            known = known || bytes_equal(m->added.list[k].text, text);
        if (!known)
            m->added.list[m->added.n++] =
                (struct special){text, 100 + i, draw(3) == 0, draw(6) == 0, draw(6) == 0};
    }
    added_make(&m->added);
}

// owner[i]: the id that byte i belongs to, 0: text, -1: stripped.
static void plainly(const struct added *added, const uint8_t *text, size_t n, bool special,
                    int32_t *owner)
{
    memset(owner, 0, n * sizeof(*owner));
    for (int32_t s = 0; s < added->n; s++) { // the list is in order of rank
        const struct special *x = &added->list[s];
        if (x->control && !special)
            continue;
        for (size_t at = 0; at + x->text.n <= n; at++) {
            bool here = memcmp(text + at, x->text.p, x->text.n) == 0;
            for (size_t i = at; i < at + x->text.n; i++)
                here = here && owner[i] == 0;
            if (!here)
                continue;
            for (size_t i = at; i < at + x->text.n; i++)
                owner[i] = x->id;
            for (size_t i = at; x->lstrip && i > 0 && owner[i - 1] == 0 && text[i - 1] == ' '; i--)
                owner[i - 1] = -1;
            for (size_t i = at + x->text.n; x->rstrip && i < n && owner[i] == 0 && text[i] == ' ';
                 i++)
                owner[i] = -1;
        }
    }
}

static void compare(const struct made *m, const uint8_t *text, size_t n, bool special)
{
    int32_t want[TEXT_MOST], got[TEXT_MOST];
    struct pieces pieces = {NULL, 0, 0};
    plainly(&m->added, text, n, special, want);
    added_cut(&m->added, (struct bytes){text, n}, special, &pieces);
    for (size_t i = 0; i < n; i++)
        got[i] = -1;
    const uint8_t *end = text;
    bool in_order = true;
    for (size_t i = 0; i < pieces.n; i++) {
        const struct piece *piece = &pieces.p[i];
        in_order = in_order && piece->text.p >= end && piece->text.n > 0;
        end = piece->text.p + piece->text.n;
        for (size_t k = 0; k < piece->text.n; k++)
            got[piece->text.p - text + (ptrdiff_t)k] = piece->id < 0 ? 0 : piece->id;
    }
    if (!CHECK(in_order && memcmp(want, got, n * sizeof(*want)) == 0))
        fprintf(stderr, "    text \"%.*s\", %d tokens\n", (int)n, text, m->added.n);
    free(pieces.p);
}

static void test_rule(void)
{
    for (int list = 0; list < 400; list++) {
        struct made m;
        make_list(&m);
        for (int i = 0; i < 40; i++) {
            uint8_t text[TEXT_MOST];
            size_t n = draw(TEXT_MOST + 1);
            for (size_t k = 0; k < n; k++)
                text[k] = (uint8_t)"aab  c"[draw(6)];
            compare(&m, text, n, i % 2 == 0);
        }
        added_free(&m.added);
    }
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

// All of `n` tokens occur in a megabyte; every one is found.
static double time_many(int32_t n)
{
    enum { MEGABYTE = 1 << 20 };
    char(*names)[16] = mem_array((size_t)n, sizeof(*names));
    struct added added = {.list = mem_array((size_t)n, sizeof(*added.list)), .n = n};
    uint8_t *text = mem_alloc(MEGABYTE + 16);
    size_t n_text = 0, n_found = 0;
    for (int32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "<unused%d>", i);
        added.list[i] = (struct special){bytes_of(names[i]), i, false, false, false};
    }
    for (int32_t i = 0; n_text < MEGABYTE; i = (i + 1) % n) {
        memcpy(text + n_text, names[i], strlen(names[i]));
        n_text += strlen(names[i]);
    }
    added_make(&added);
    struct pieces pieces = {NULL, 0, 0};
    double start = cpu_ms();
    added_cut(&added, (struct bytes){text, n_text}, true, &pieces);
    double ms = cpu_ms() - start;
    for (size_t i = 0; i < pieces.n; i++)
        n_found += pieces.p[i].id >= 0;
    CHECK(n_found == pieces.n && n_found > MEGABYTE / 16);
    free(pieces.p);
    added_free(&added);
    free(names);
    free(text);
    return ms;
}

static void test_many(void)
{
    double few = time_many(8), many = time_many(6400);
    if (!CHECK(many < few * 10 + 100)) // not a pass for each
        fprintf(stderr, "    8 tokens: %.0f ms, 6400 tokens: %.0f ms for 1 MB\n", few, many);
}

int main(void)
{
    test_rule();
    test_many();
    return check_done("text_added");
}
