// gbnf.c - a GBNF grammar (llama.cpp's notation) into rules.
//
// An element is read into two states of its own and then joined to what stands before it, with
// edges that read nothing for * + ?. For {m,n} it becomes a rule that is called as often. A rule
// may be used before it is defined; it is refused when it never is, when it is defined twice, and
// when it begins with itself: every walk from it would be endless.
#include "automaton.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { GBNF_BYTES_MOST = 1 << 20, NAMES_MOST = 20000, NESTING_MOST = 100, REPEAT_MOST = 10000 };

struct gbnf_name {
    struct bytes text;
    uint32_t rule;
    bool defined;
};

struct gbnf {
    struct grammar *g;
    const uint8_t *p;
    size_t n, at;
    struct gbnf_name *names;
    uint32_t *slots; // hash table of names: index + 1
    uint32_t n_names;
    int depth;
    struct err *err;
};

enum { SLOTS = 65536 }; // three times NAMES_MOST

static bool wrong(struct gbnf *b, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < b->at && i < b->n; i++)
        line += b->p[i] == '\n';
    (void)err_set(b->err, BAD_INPUT, "line %zu: %s", line, what);
    return false;
}

static bool more(const struct gbnf *b)
{
    return b->at < b->n;
}

static bool next_is(struct gbnf *b, const char *text)
{
    size_t n = strlen(text);
    if (b->n - b->at < n || memcmp(b->p + b->at, text, n) != 0)
        return false;
    b->at += n;
    return true;
}

// Blanks and comments; lines: their ends too.
static void space(struct gbnf *b, bool lines)
{
    for (; more(b); b->at++) {
        uint8_t c = b->p[b->at];
        if (c == '#')
            while (b->at + 1 < b->n && b->p[b->at + 1] != '\n')
                b->at++;
        else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

static bool is_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct gbnf_name *name_of(struct gbnf *b, struct bytes text)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ text.p[i]) * 16777619u;
    uint32_t at = (hash ^ hash >> 16) & (SLOTS - 1);
    for (; b->slots[at]; at = (at + 1) & (SLOTS - 1))
        if (bytes_equal(b->names[b->slots[at] - 1].text, text))
            return &b->names[b->slots[at] - 1];
    if (b->n_names == NAMES_MOST) {
        (void)wrong(b, "more than 20000 rules");
        return NULL;
    }
    b->slots[at] = ++b->n_names;
    b->names[b->n_names - 1] = (struct gbnf_name){text, automaton_rule(b->g), false};
    return &b->names[b->n_names - 1];
}

static struct bytes read_name(struct gbnf *b)
{
    const size_t from = b->at;
    while (more(b) && is_name(b->p[b->at]))
        b->at++;
    return (struct bytes){b->p + from, b->at - from};
}

// ---- characters ---------------------------------------------------------------------------------

static bool hex(struct gbnf *b, int n_digits, uint32_t *point)
{
    *point = 0;
    for (int i = 0; i < n_digits; i++, b->at++) {
        uint8_t c = more(b) ? b->p[b->at] : 0, low = c | 0x20;
        if (c >= '0' && c <= '9')
            *point = *point * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            *point = *point * 16 + (uint32_t)(low - 'a' + 10);
        else
            return wrong(b, "hexadecimal digits are missing");
    }
    return *point <= LETTER_LAST ? true : wrong(b, "a character is beyond U+10FFFF");
}

static bool character(struct gbnf *b, uint32_t *point)
{
    static const char letters[] = "nrt\\\"[]-^", means[] = "\n\r\t\\\"[]-^";
    if (!next_is(b, "\\")) {
        size_t n = unicode_decode(b->p + b->at, b->n - b->at, point);
        if (n == 0)
            return wrong(b, "it is not UTF-8");
        b->at += n;
        return true;
    }
    uint8_t c = more(b) ? b->p[b->at++] : 0;
    const char *found = c ? strchr(letters, c) : NULL;
    if (found) {
        *point = (uint8_t)means[found - letters];
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U')
        return hex(b, c == 'x' ? 2 : c == 'u' ? 4 : 8, point);
    return wrong(b, "an unknown escape");
}

// The rest of a text in quotation marks, which is added to *text.
static bool literal(struct gbnf *b, struct buf *text)
{
    while (more(b) && b->p[b->at] != '"') {
        uint32_t point = 0;
        uint8_t utf8[4];
        if (!character(b, &point))
            return false;
        if (point >= 0xd800 && point <= 0xdfff)
            return wrong(b, "a text has half of a surrogate pair: write the character itself");
        if (buf_add(text, utf8, unicode_encode(utf8, point)) != OK)
            die("out of memory");
    }
    return next_is(b, "\"") ? true : wrong(b, "a text is not closed");
}

static bool read_literal(struct gbnf *b, uint32_t from, uint32_t to)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    const bool good = literal(b, &text);
    if (good)
        automaton_text(b->g, from, buf_view(&text), to);
    buf_free(&text);
    return good;
}

static int by_low(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

static bool read_class(struct gbnf *b, uint32_t from, uint32_t to)
{
    enum { RANGES_MOST = 1024 };
    uint32_t(*ranges)[2] = mem_array(RANGES_MOST, sizeof(*ranges)), low = 0;
    size_t n = 0;
    bool negated = next_is(b, "^"), good = true;
    while (good && more(b) && b->p[b->at] != ']') {
        good = n < RANGES_MOST ? character(b, &ranges[n][0])
                               : wrong(b, "a class has too many members");
        if (!good)
            break;
        ranges[n][1] = ranges[n][0];
        if (b->n - b->at > 1 && b->p[b->at] == '-' && b->p[b->at + 1] != ']') {
            b->at++;
            good = character(b, &ranges[n][1]);
            if (good && ranges[n][1] < ranges[n][0])
                good = wrong(b, "a range in a class runs backwards");
        }
        n++;
    }
    if (good && !next_is(b, "]"))
        good = wrong(b, "a class is not closed");
    if (good && negated)
        qsort(ranges, n, sizeof(*ranges), by_low);
    for (size_t i = 0; good && i < n; i++) {
        if (!negated)
            automaton_range(b->g, from, ranges[i][0], ranges[i][1], to);
        else if (ranges[i][0] > low)
            automaton_range(b->g, from, low, ranges[i][0] - 1, to);
        low = ranges[i][1] + 1 > low ? ranges[i][1] + 1 : low;
    }
    if (good && negated)
        automaton_range(b->g, from, low, LETTER_LAST, to);
    free(ranges);
    return good;
}

// ---- elements -----------------------------------------------------------------------------------

static bool read_choice(struct gbnf *b, uint32_t from, uint32_t to, bool nested);

static bool read_element(struct gbnf *b, uint32_t from, uint32_t to)
{
    if (next_is(b, "\""))
        return read_literal(b, from, to);
    if (next_is(b, "["))
        return read_class(b, from, to);
    if (next_is(b, ".")) {
        automaton_range(b->g, from, 0, LETTER_LAST, to);
        return true;
    }
    if (next_is(b, "(")) {
        if (++b->depth > NESTING_MOST)
            return wrong(b, "groups are nested too deep");
        space(b, true);
        if (!read_choice(b, from, to, true))
            return false;
        b->depth--;
        return next_is(b, ")") ? true : wrong(b, "a group is not closed");
    }
    if (b->p[b->at] == '<' || b->p[b->at] == '!')
        return wrong(b, "tokens (<...>) are not supported: write their text");
    const struct bytes text = read_name(b);
    if (text.n == 0)
        return wrong(b, "a rule's name, a text, a class or a group is expected");
    const struct gbnf_name *name = name_of(b, text);
    if (!name)
        return false;
    automaton_call(b->g, from, name->rule, to);
    return true;
}

static bool number(struct gbnf *b, int64_t *out)
{
    const size_t from = b->at;
    *out = 0;
    for (; more(b) && b->p[b->at] >= '0' && b->p[b->at] <= '9'; b->at++)
        *out = *out > REPEAT_MOST ? *out : *out * 10 + (b->p[b->at] - '0');
    return b->at > from;
}

static bool read_counts(struct gbnf *b, int64_t *least, int64_t *most)
{
    space(b, false);
    bool good = number(b, least);
    *most = *least;
    space(b, false);
    if (good && next_is(b, ",")) {
        space(b, false);
        if (!number(b, most))
            *most = -1;
    }
    space(b, false);
    if (!good || !next_is(b, "}"))
        return wrong(b, "a repetition is {m}, {m,} or {m,n}");
    if (*least > REPEAT_MOST || *most > REPEAT_MOST)
        return wrong(b, "a repetition is over 10000");
    return *most >= 0 && *most < *least ? wrong(b, "a repetition's bounds run backwards") : true;
}

// The rule of one element, least to most times (-1: no limit); returns where it ends.
static uint32_t repeat(struct grammar *g, uint32_t at, uint32_t rule, int64_t least, int64_t most)
{
    const uint32_t end = automaton_state(g);
    for (int64_t i = 0; i < (most < 0 ? least : most) && !g->full; i++) {
        uint32_t next = automaton_state(g);
        if (i >= least)
            automaton_skip(g, at, end);
        automaton_call(g, at, rule, next);
        at = next;
    }
    if (most < 0) {
        uint32_t loop = automaton_state(g);
        automaton_skip(g, at, loop);
        automaton_call(g, loop, rule, loop);
        at = loop;
    }
    automaton_skip(g, at, end);
    return end;
}

// An element and how often, from *at on, which moves behind it.
static bool read_repeated(struct gbnf *b, uint32_t *at)
{
    struct grammar *g = b->g;
    uint32_t from = automaton_state(g), to = automaton_state(g), end;
    int64_t least, most;
    if (!read_element(b, from, to))
        return false;
    if (next_is(b, "{")) {
        if (!read_counts(b, &least, &most))
            return false;
        *at = repeat(g, *at, automaton_rule_of(g, from, to), least, most);
        return true;
    }
    end = automaton_state(g);
    automaton_skip(g, *at, from);
    automaton_skip(g, to, end);
    bool star = next_is(b, "*"), plus = !star && next_is(b, "+"),
         maybe = !star && !plus && next_is(b, "?");
    if (star || plus)
        automaton_skip(g, to, from);
    if (star || maybe)
        automaton_skip(g, *at, end);
    *at = end;
    if (more(b) && strchr("*+?", b->p[b->at]) && b->p[b->at])
        return wrong(b, "a repetition of a repetition: put the inner one in a group");
    return true;
}

// Whether another alternative follows; steps behind its bar.
static bool bar_follows(struct gbnf *b)
{
    const size_t before = b->at;
    space(b, true);
    if (next_is(b, "|")) {
        space(b, true);
        return true;
    }
    b->at = before;
    return false;
}

static bool sequence_ends(struct gbnf *b, bool nested)
{
    space(b, nested);
    return !more(b) || strchr("|)\n\r", b->p[b->at]);
}

static bool read_sequence(struct gbnf *b, uint32_t from, uint32_t to, bool nested)
{
    uint32_t at = automaton_state(b->g);
    automaton_skip(b->g, from, at);
    while (!sequence_ends(b, nested)) {
        if (!read_repeated(b, &at))
            return false;
        if (b->g->full)
            return wrong(b, "the grammar is too large");
    }
    automaton_skip(b->g, at, to);
    return true;
}

// Alternatives that are a text and no more share the states of what they begin with: a list of
// thousands of words is at one place at a time, not at thousands.
struct gbnf_texts {
    struct buf all;
    size_t *ends; // [n]
    size_t n, allocated;
};

// False: the alternative is something else, and is still to be read.
static bool take_text(struct gbnf *b, struct gbnf_texts *texts, bool nested)
{
    const size_t from = b->at, n_before = texts->all.n;
    struct err *err = b->err, unused;
    b->err = &unused; // whatever is wrong is said when it is read again
    space(b, nested);
    const bool alone = next_is(b, "\"") && literal(b, &texts->all) && sequence_ends(b, nested);
    b->err = err;
    if (!alone) {
        b->at = from;
        texts->all.n = n_before;
        return false;
    }
    if (texts->n == texts->allocated) {
        texts->allocated = texts->allocated ? 2 * texts->allocated : 16;
        texts->ends = mem_resize(texts->ends, texts->allocated * sizeof(*texts->ends));
    }
    texts->ends[texts->n++] = texts->all.n;
    return true;
}

static void write_texts(struct gbnf *b, const struct gbnf_texts *texts, uint32_t from, uint32_t to)
{
    struct bytes *each = mem_array(texts->n + 1, sizeof(*each));
    for (size_t i = 0; i < texts->n; i++) {
        const size_t begin = i ? texts->ends[i - 1] : 0;
        if (texts->ends[i] > begin)
            each[i] = (struct bytes){texts->all.p + begin, texts->ends[i] - begin};
    }
    if (texts->n == 1)
        automaton_text(b->g, from, each[0], to);
    else
        automaton_any_of(b->g, from, each, texts->n, to);
    free(each);
}

static bool read_choice(struct gbnf *b, uint32_t from, uint32_t to, bool nested)
{
    struct gbnf_texts texts = {.n = 0};
    bool good = true;
    buf_init(&texts.all, SIZE_MAX);
    do
        good = take_text(b, &texts, nested) || read_sequence(b, from, to, nested);
    while (good && bar_follows(b));
    if (good && texts.n > 0)
        write_texts(b, &texts, from, to);
    if (good && b->g->full)
        good = wrong(b, "the grammar is too large");
    buf_free(&texts.all);
    free(texts.ends);
    return good;
}

static bool read_rule(struct gbnf *b)
{
    const struct bytes text = read_name(b);
    if (text.n == 0)
        return wrong(b, "a rule is expected: name ::= ...");
    struct gbnf_name *name = name_of(b, text);
    space(b, false);
    if (!name || (!next_is(b, "::=") && !wrong(b, "::= is expected behind a rule's name")))
        return false;
    if (name->defined)
        return wrong(b, "a rule is defined twice");
    name->defined = true;
    const struct grammar_rule rule = b->g->rules[name->rule];
    space(b, true);
    if (!read_choice(b, rule.start, rule.end, false))
        return false;
    if (more(b) && b->p[b->at] == ')')
        return wrong(b, "a closing parenthesis has no opening one");
    space(b, true);
    return true;
}

static enum status root_rule(struct gbnf *b, uint32_t *rule)
{
    char shown[NAME_TEXT];
    for (uint32_t i = 0; i < b->n_names; i++)
        if (!b->names[i].defined)
            return err_set(b->err, BAD_INPUT, "rule '%s' is used and not defined",
                           name_text(shown, b->names[i].text));
    const struct gbnf_name *root = name_of(b, bytes_of("root"));
    if (!root || !root->defined)
        return err_set(b->err, BAD_INPUT, "there is no rule 'root'");
    *rule = root->rule;
    return OK;
}

static enum status finish(struct gbnf *b, uint32_t root)
{
    char shown[NAME_TEXT];
    uint32_t loops;
    enum status status = automaton_finish(b->g, root, &loops, b->err);
    for (uint32_t i = 0; loops && i < b->n_names; i++)
        if (b->names[i].rule == loops)
            return err_set(b->err, BAD_INPUT,
                           "rule '%s' begins with itself (left recursion); write what repeats with "
                           "* or behind what it begins with",
                           name_text(shown, b->names[i].text));
    return status;
}

static enum status read_all(struct gbnf *b, uint32_t *rule)
{
    space(b, true);
    while (more(b))
        if (!read_rule(b))
            return BAD_INPUT;
    return root_rule(b, rule);
}

static enum status open_gbnf(struct gbnf *b, struct grammar *g, struct bytes text, struct err *err)
{
    if (text.n > GBNF_BYTES_MOST)
        return err_set(err, TOO_LARGE, "the grammar has %zu bytes; at most %d are read", text.n,
                       GBNF_BYTES_MOST);
    *b = (struct gbnf){.p = text.p, .n = text.n, .err = err, .g = g};
    b->names = mem_array(NAMES_MOST, sizeof(*b->names));
    b->slots = mem_array(SLOTS, sizeof(*b->slots));
    return OK;
}

static void close_gbnf(struct gbnf *b)
{
    free(b->names);
    free(b->slots);
}

enum status gbnf_rule(struct grammar *g, struct bytes text, uint32_t *rule, struct err *err)
{
    struct gbnf b;
    enum status status = open_gbnf(&b, g, text, err);
    if (status != OK)
        return status;
    status = read_all(&b, rule);
    close_gbnf(&b);
    return status;
}

enum status grammar_compile_gbnf(struct grammar **out, struct bytes text, struct err *err)
{
    struct gbnf b;
    struct grammar *g;
    uint32_t root;
    automaton_open(&g);
    enum status status = open_gbnf(&b, g, text, err);
    if (status == OK) {
        status = read_all(&b, &root);
        if (status == OK)
            status = finish(&b, root);
        close_gbnf(&b);
    }
    if (status == OK)
        *out = g;
    else
        grammar_close(g);
    return status;
}
