// regex.c - a regular expression into an automaton over characters.
//
// The subset that JSON schemas use (ECMA-262 with the u flag) as far as it is regular: literals,
// classes, groups, alternatives, * + ? {m,n} (lazy ones mean the same here), ^ and $ anywhere, the
// classes \d \w \s. Look-around, back references, \b and \p are refused by name. \d and \w are
// ASCII; what they leave out (\D, \W) leaves out the letters and digits beyond ASCII as well, and
// . every line end, so that all dialects agree on what is written.
//
// Anchors are edges that read the text's beginning or end as if it were a character. Whoever does
// not ask for the whole text gets loops in front and behind; then a walk in three phases (before
// the beginning, inside, behind the end) takes those characters out again.
#include "automaton.h"
#include "inside.h"

#include <string.h>

enum { NESTING_MOST = 60, REPEAT_MOST = 10000 };

struct regex {
    struct letters *l;
    const uint8_t *p;
    size_t n, at;
    int depth;
    struct err *err;
};

struct fragment { // states that nothing else uses
    uint32_t from, to;
};

static bool wrong(struct regex *r, const char *what)
{
    (void)err_set(r->err, UNSUPPORTED, "%s, at character %zu of the expression", what, r->at);
    return false;
}

static bool more(const struct regex *r)
{
    return r->at < r->n;
}

static bool next_is(struct regex *r, const char *text)
{
    size_t n = strlen(text);
    if (r->n - r->at < n || memcmp(r->p + r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

// ---- classes ------------------------------------------------------------------------------------

enum { RANGES_MOST = 512 };
struct ranges {
    uint32_t lo[RANGES_MOST], hi[RANGES_MOST];
    int n;
};

static bool add_range(struct regex *r, struct ranges *c, uint32_t lo, uint32_t hi)
{
    if (c->n == RANGES_MOST)
        return wrong(r, "a class has too many members");
    c->lo[c->n] = lo;
    c->hi[c->n++] = hi;
    return true;
}

static const uint32_t digit[][2] = {{'0', '9'}},
                      word[][2] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                      not_digit[][2] = {{0, '0' - 1}, {'9' + 1, 0x24f}},
                      not_word[][2] = {{0, '0' - 1},
                                       {'9' + 1, 'A' - 1},
                                       {'Z' + 1, '_' - 1},
                                       {'_' + 1, 'a' - 1},
                                       {'z' + 1, 0x7f}},
                      space[][2] = {{'\t', '\r'}, {' ', ' '}},
                      not_space[][2] = {{0x21, 0x7e},     {0xa1, 0x167f},   {0x1681, 0x1fff},
                                        {0x200b, 0x2027}, {0x202a, 0x202e}, {0x2030, 0x205e},
                                        {0x2060, 0x2fff}, {0x3001, 0xfefe}, {0xff00, LETTER_LAST}};

static bool named_class(struct regex *r, struct ranges *c, uint8_t letter)
{
    static const struct {
        char letter;
        const uint32_t (*ranges)[2];
        size_t n;
    } all[] = {
        {'d', digit, COUNT_OF(digit)},       {'w', word, COUNT_OF(word)},
        {'s', space, COUNT_OF(space)},       {'D', not_digit, COUNT_OF(not_digit)},
        {'W', not_word, COUNT_OF(not_word)}, {'S', not_space, COUNT_OF(not_space)},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (letter != all[i].letter)
            continue;
        for (size_t k = 0; k < all[i].n; k++)
            if (!add_range(r, c, all[i].ranges[k][0], all[i].ranges[k][1]))
                return false;
        r->at++;
        return true;
    }
    return false;
}

static bool hex(struct regex *r, int n_digits, uint32_t *point)
{
    *point = 0;
    for (int i = 0; i < n_digits; i++, r->at++) {
        const char *digits = "0123456789abcdef";
        const char *found = more(r) && r->p[r->at] ? strchr(digits, r->p[r->at] | 0x20) : NULL;
        if (!found || (r->p[r->at] < '0'))
            return wrong(r, "hexadecimal digits are missing");
        *point = *point * 16 + (uint32_t)(found - digits);
    }
    return true;
}

// What stands behind a backslash and means one character.
static bool escape(struct regex *r, uint32_t *point)
{
    static const char letters[] = "nrtfv0", means[] = "\n\r\t\f\v";
    if (!more(r))
        return wrong(r, "it ends with a backslash");
    uint8_t c = r->p[r->at++];
    const char *found = strchr(letters, c);
    if (c && found) {
        if (c == '0' && more(r) && r->p[r->at] >= '0' && r->p[r->at] <= '9')
            return wrong(r, "an octal escape is not supported");
        *point = (uint8_t)means[found - letters];
        return true;
    }
    if (c == 'x')
        return hex(r, 2, point);
    if (c == 'u' && next_is(r, "{")) {
        *point = 0;
        while (more(r) && r->p[r->at] != '}' && *point <= LETTER_LAST) {
            uint32_t digit_value;
            if (!hex(r, 1, &digit_value))
                return false;
            *point = *point * 16 + digit_value;
        }
        return next_is(r, "}") && *point <= LETTER_LAST ? true : wrong(r, "\\u{...} is not whole");
    }
    if (c == 'u') {
        uint32_t low;
        if (!hex(r, 4, point))
            return false;
        if (*point >= 0xd800 && *point < 0xdc00 && next_is(r, "\\u") && hex(r, 4, &low))
            *point = 0x10000 + ((*point - 0xd800) << 10) + (low & 0x3ff);
        return true;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
        r->at--;
        return wrong(r, c >= '1' && c <= '9'   ? "a reference back to a group is not supported"
                        : c == 'b' || c == 'B' ? "a word boundary (\\b) is not supported"
                        : c == 'p' || c == 'P' ? "Unicode properties (\\p) are not supported"
                                               : "an unknown escape");
    }
    *point = c;
    if (c >= 0x80) {
        r->at--;
        size_t n = unicode_decode(r->p + r->at, r->n - r->at, point);
        r->at += n ? n : 1;
    }
    return true;
}

static bool plain_point(struct regex *r, uint32_t *point)
{
    size_t n = unicode_decode(r->p + r->at, r->n - r->at, point);
    if (n == 0)
        return wrong(r, "it is not UTF-8");
    r->at += n;
    return true;
}

// One member of a class; true with *single = false: it was a class of its own.
static bool class_member(struct regex *r, struct ranges *c, uint32_t *point, bool *single)
{
    *single = true;
    if (!next_is(r, "\\"))
        return plain_point(r, point);
    if (more(r) && r->p[r->at] == 'b') { // in a class it is the backspace
        r->at++;
        *point = '\b';
        return true;
    }
    if (more(r) && strchr("dwsDWS", r->p[r->at]) && r->p[r->at]) {
        *single = false;
        return named_class(r, c, r->p[r->at]);
    }
    return escape(r, point);
}

static void sort_ranges(struct ranges *c)
{
    for (int i = 1; i < c->n; i++)
        for (int k = i; k > 0 && c->lo[k] < c->lo[k - 1]; k--) {
            uint32_t lo = c->lo[k], hi = c->hi[k];
            c->lo[k] = c->lo[k - 1];
            c->hi[k] = c->hi[k - 1];
            c->lo[k - 1] = lo;
            c->hi[k - 1] = hi;
        }
}

static void write_ranges(struct regex *r, struct ranges *c, bool negated, struct fragment f)
{
    uint32_t from = 0;
    sort_ranges(c);
    for (int i = 0; i < c->n; i++) {
        if (!negated)
            letters_add(r->l, f.from, c->lo[i], c->hi[i], f.to);
        else if (c->lo[i] > from)
            letters_add(r->l, f.from, from, c->lo[i] - 1, f.to);
        from = c->hi[i] + 1 > from ? c->hi[i] + 1 : from;
    }
    if (negated && from <= LETTER_LAST)
        letters_add(r->l, f.from, from, LETTER_LAST, f.to);
}

static bool read_class(struct regex *r, struct fragment f)
{
    struct ranges c = {.n = 0};
    bool negated = next_is(r, "^"), single, last_single;
    while (more(r) && r->p[r->at] != ']') {
        uint32_t lo = 0, hi = 0;
        if (!class_member(r, &c, &lo, &single))
            return false;
        if (!single)
            continue;
        hi = lo;
        if (r->n - r->at > 1 && r->p[r->at] == '-' && r->p[r->at + 1] != ']') {
            r->at++;
            if (!class_member(r, &c, &hi, &last_single))
                return false;
            if (!last_single || hi < lo)
                return wrong(r, "a range in a class runs backwards");
        }
        if (!add_range(r, &c, lo, hi))
            return false;
    }
    if (!next_is(r, "]"))
        return wrong(r, "a class is not closed");
    write_ranges(r, &c, negated, f);
    return true;
}

// ---- atoms, repetition, groups ------------------------------------------------------------------

static bool read_choice(struct regex *r, struct fragment f);

static bool read_group(struct regex *r, struct fragment f)
{
    if (next_is(r, "?")) {
        bool named = next_is(r, "<") || next_is(r, "P<");
        if (named && more(r) && (r->p[r->at] == '=' || r->p[r->at] == '!'))
            return wrong(r, "look-behind is not supported");
        if (named) {
            while (more(r) && r->p[r->at] != '>')
                r->at++;
            if (!next_is(r, ">"))
                return wrong(r, "a group's name is not closed");
        } else if (!next_is(r, ":")) {
            bool ahead = more(r) && (r->p[r->at] == '=' || r->p[r->at] == '!');
            return wrong(r, ahead ? "look-ahead is not supported" : "an unknown kind of group");
        }
    }
    if (++r->depth > NESTING_MOST)
        return wrong(r, "groups are nested too deep");
    if (!read_choice(r, f))
        return false;
    r->depth--;
    return next_is(r, ")") ? true : wrong(r, "a group is not closed");
}

static bool read_atom(struct regex *r, struct fragment f)
{
    static const uint32_t but_lines[][2] = {
        {0, '\n' - 1}, {'\n' + 1, '\r' - 1}, {'\r' + 1, 0x2027}, {0x202a, LETTER_LAST}};
    uint32_t point = 0;
    if (next_is(r, "("))
        return read_group(r, f);
    if (next_is(r, "["))
        return read_class(r, f);
    if (next_is(r, ".")) {
        for (size_t i = 0; i < COUNT_OF(but_lines); i++)
            letters_add(r->l, f.from, but_lines[i][0], but_lines[i][1], f.to);
        return true;
    }
    if (next_is(r, "^")) {
        letters_add(r->l, f.from, LETTER_BEGIN, LETTER_BEGIN, f.to);
        return true;
    }
    if (next_is(r, "$")) {
        letters_add(r->l, f.from, LETTER_END, LETTER_END, f.to);
        return true;
    }
    if (strchr("*+?", r->p[r->at]))
        return wrong(r, "there is nothing to repeat");
    if (next_is(r, "\\")) {
        struct ranges c = {.n = 0};
        if (more(r) && r->p[r->at] && strchr("dwsDWS", r->p[r->at])) {
            if (!named_class(r, &c, r->p[r->at]))
                return false;
            write_ranges(r, &c, false, f);
            return true;
        }
        if (!escape(r, &point))
            return false;
    } else if (!plain_point(r, &point)) {
        return false;
    }
    letters_add(r->l, f.from, point, point, f.to);
    return true;
}

static bool number(struct regex *r, int64_t *out)
{
    size_t from = r->at;
    *out = 0;
    for (; more(r) && r->p[r->at] >= '0' && r->p[r->at] <= '9'; r->at++)
        *out = *out > REPEAT_MOST ? *out : *out * 10 + (r->p[r->at] - '0');
    return r->at > from;
}

// {m}, {m,}, {m,n}; anything else is a brace.
static bool read_counts(struct regex *r, int64_t *least, int64_t *most)
{
    const size_t from = r->at;
    if (next_is(r, "{") && number(r, least)) {
        *most = *least;
        if (next_is(r, ",") && !number(r, most))
            *most = -1;
        if (next_is(r, "}"))
            return true;
    }
    r->at = from;
    return false;
}

static bool read_quantifier(struct regex *r, int64_t *least, int64_t *most)
{
    *least = *most = 1;
    if (next_is(r, "*")) {
        *least = 0;
        *most = -1;
    } else if (next_is(r, "+")) {
        *most = -1;
    } else if (next_is(r, "?")) {
        *least = 0;
    } else if (!read_counts(r, least, most)) {
        return true;
    }
    (void)next_is(r, "?"); // lazy: the same texts
    if (more(r) && strchr("*+", r->p[r->at]) && r->p[r->at])
        return wrong(r, "a repetition of a repetition is not supported");
    if (*least > REPEAT_MOST || *most > REPEAT_MOST)
        return wrong(r, "a repetition is over 10000");
    return *most >= 0 && *most < *least ? wrong(r, "a repetition's bounds run backwards") : true;
}

struct extent { // of the states and edges of an atom
    uint32_t state, edge, n_states, n_edges;
};

static struct fragment copy_atom(struct letters *l, struct extent e, struct fragment f)
{
    if (l->n_states + e.n_states > LETTERS_STATES_MOST ||
        l->n_edges + e.n_edges > LETTERS_EDGES_MOST)
        l->full = true;
    if (l->full)
        return f;
    const uint32_t shift = l->n_states - e.state;
    l->n_states += e.n_states;
    for (uint32_t i = 0; i < e.n_edges; i++) {
        const struct letters_edge edge = l->edges[e.edge + i];
        letters_add(l, edge.from + shift, edge.lo, edge.hi, edge.to + shift);
    }
    return (struct fragment){f.from + shift, f.to + shift};
}

// An atom and how often; from *at on, which moves behind it.
static bool read_repeated(struct regex *r, uint32_t *at)
{
    struct letters *l = r->l;
    struct extent e = {l->n_states, l->n_edges, 0, 0};
    struct fragment f;
    f.from = letters_state(l);
    f.to = letters_state(l);
    int64_t least, most;
    if (!read_atom(r, f) || !read_quantifier(r, &least, &most))
        return false;
    e.n_states = l->n_states - e.state;
    e.n_edges = l->n_edges - e.edge;
    const int64_t n = most < 0 ? (least ? least : 1) : most;
    uint32_t end = letters_state(l);
    for (int64_t i = 0; i < n && !l->full; i++) {
        struct fragment one = i + 1 < n ? copy_atom(l, e, f) : f;
        if (i >= least)
            letters_skip(l, *at, end);
        uint32_t before = *at;
        letters_skip(l, before, one.from);
        *at = one.to;
        if (most < 0 && i + 1 == n)
            letters_skip(l, one.to, one.from);
    }
    if (n == 0 && most == 0) {
        uint32_t after = letters_state(l);
        letters_skip(l, *at, after);
        *at = after;
        return true;
    }
    letters_skip(l, *at, end);
    *at = end;
    return true;
}

static bool read_choice(struct regex *r, struct fragment f)
{
    do {
        uint32_t at = letters_state(r->l);
        letters_skip(r->l, f.from, at);
        while (more(r) && r->p[r->at] != '|' && r->p[r->at] != ')' && !r->l->full)
            if (!read_repeated(r, &at))
                return false;
        letters_skip(r->l, at, f.to);
        if (r->l->full)
            return wrong(r, "it is too large");
    } while (next_is(r, "|"));
    return true;
}

// ---- anchors ------------------------------------------------------------------------------------

// Three copies of every state: before the text's beginning, inside, behind its end.
static void take_out_anchors(struct letters *out, const struct letters *in, bool whole)
{
    const uint32_t n = in->n_states;
    letters_init(out);
    out->full = in->full;
    for (uint32_t i = 0; i < 3 * n; i++)
        letters_state(out);
#define PHASE(phase, state) (2 + (phase) * n + (state))
    for (uint32_t i = 0; i < in->n_edges; i++) {
        const struct letters_edge e = in->edges[i];
        for (uint32_t phase = 0; phase < 3; phase++)
            if (e.lo == LETTER_NONE)
                letters_skip(out, PHASE(phase, e.from), PHASE(phase, e.to));
            else if (e.lo == LETTER_BEGIN && phase < 1)
                letters_skip(out, PHASE(phase, e.from), PHASE(1, e.to));
            else if (e.lo == LETTER_END && phase == 1)
                letters_skip(out, PHASE(phase, e.from), PHASE(2, e.to));
            else if (e.lo <= LETTER_LAST && phase == 1)
                letters_add(out, PHASE(1, e.from), e.lo, e.hi, PHASE(1, e.to));
    }
    // where the expression leaves them out, the beginning and the end are there all the same
    letters_skip(out, PHASE(0, in->start), PHASE(1, in->start));
    letters_skip(out, PHASE(1, in->end), PHASE(2, in->end));
    letters_skip(out, out->start, PHASE(0, in->start));
    letters_skip(out, PHASE(2, in->end), out->end);
    if (!whole) {
        letters_add(out, PHASE(1, in->start), 0, LETTER_LAST, PHASE(1, in->start));
        letters_add(out, PHASE(1, in->end), 0, LETTER_LAST, PHASE(1, in->end));
    }
#undef PHASE
}

enum status regex_read(struct letters *out, struct bytes expression, bool whole, struct err *err)
{
    struct letters in;
    letters_init(&in);
    struct regex r = {.l = &in, .p = expression.p, .n = expression.n, .err = err};
    bool good = read_choice(&r, (struct fragment){in.start, in.end});
    if (good && more(&r))
        good = wrong(&r, "a closing parenthesis has no opening one");
    if (good)
        take_out_anchors(out, &in, whole);
    letters_free(&in);
    if (good && out->full) {
        letters_free(out);
        return err_set(err, TOO_LARGE, "the expression is too large");
    }
    return good ? OK : UNSUPPORTED;
}
