// schema_string.c - what a JSON schema says of strings: pattern, format, lengths.
//
// A pattern is searched for in the string, as the standard says, unless it has anchors; a format
// that is enforced is a pattern too. All of them are joined into one automaton over characters, the
// lengths as well, and written in one spelling a character. Lengths alone are a chain of calls of
// the rule of a character, in any spelling.
#include "schema.h"

// ---- patterns and formats -----------------------------------------------------------------------

bool schema_pattern(struct schema_maker *m, const struct spot *spot, const char *keyword,
                    struct bytes pattern, struct letters *out)
{
    struct err err = {0};
    if (regex_read(out, pattern, false, &err) == OK)
        return true;
    if (m->lenient)
        schema_note(m, spot, keyword, err.text);
    else
        schema_fail(m, err.status, spot, keyword, "%s", err.text);
    return false;
}

#define DAY_OF_MONTH                                                                               \
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|"          \
    "02-(?:0[1-9]|1\\d|2[0-8]))"
#define DATE "(?:[1-9]\\d\\d\\d|0[1-9]\\d\\d)-" DAY_OF_MONTH
#define TIME                                                                                       \
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"}, // the 29th of February is left out
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
    {"ipv4", "^" BYTE "(?:\\." BYTE "){3}$"},
    {"email", "^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\\.[A-Za-z0-9-]{1,63}){1,8}$"},
};

static const char *format_pattern(struct schema_maker *m, const struct fact *fact)
{
    const struct value *format = schema_get(fact, "format");
    if (!format)
        return NULL;
    for (size_t i = 0; format->kind == VALUE_TEXT && i < COUNT_OF(formats); i++)
        if (bytes_equal_text(format->text, formats[i].name))
            return formats[i].pattern;
    schema_note(m, fact->spot, "format", "not enforced");
    return NULL;
}

// Joins another expression to those so far.
static void join(struct schema_maker *m, const struct fact *fact, const char *keyword,
                 struct bytes pattern, struct letters *all, bool *any)
{
    struct letters one, both;
    if (!schema_pattern(m, fact->spot, keyword, pattern, &one))
        return;
    if (*any) {
        letters_both(&both, all, &one);
        letters_free(all);
        letters_free(&one);
        one = both;
    }
    *all = one;
    *any = true;
}

bool schema_patterns(struct schema_maker *m, const struct facts *facts, struct letters *all)
{
    bool any = false;
    for (size_t i = 0; i < facts->n && !schema_failed(m); i++) {
        const struct fact *fact = &facts->fact[i];
        const struct value *pattern = schema_get(fact, "pattern");
        const char *format = format_pattern(m, fact);
        if (pattern && pattern->kind != VALUE_TEXT)
            schema_fail(m, BAD_INPUT, fact->spot, "pattern", "it must be a string");
        else if (pattern)
            join(m, fact, "pattern", pattern->text, all, &any);
        if (format)
            join(m, fact, "format", bytes_of(format), all, &any);
    }
    return any;
}

// ---- strings ------------------------------------------------------------------------------------

// least to most characters in quotation marks; most < 0: no limit.
static void write_lengths(struct grammar *g, uint32_t rule, int64_t least, int64_t most)
{
    uint32_t at = automaton_state(g), end = automaton_state(g);
    automaton_bytes(g, g->rules[rule].start, '"', '"', at);
    automaton_bytes(g, end, '"', '"', g->rules[rule].end);
    for (int64_t i = 0; i < (most < 0 ? least : most) && !g->full; i++) {
        uint32_t next = automaton_state(g);
        if (i >= least)
            automaton_skip(g, at, end);
        automaton_call(g, at, plain_character(g), next);
        at = next;
    }
    if (most < 0)
        automaton_call(g, at, plain_character(g), at);
    automaton_skip(g, at, end);
}

static void write_pattern(struct schema_maker *m, const struct fact *fact, struct letters *l,
                          int64_t least, int64_t most, uint32_t from, uint32_t to)
{
    struct letters lengths, both;
    uint32_t inside = automaton_state(m->g), end = automaton_state(m->g);
    if (least > 0 || most >= 0) {
        letters_count(&lengths, least, most);
        letters_both(&both, l, &lengths);
        letters_free(&lengths);
        if (both.full && m->lenient) { // the lengths are given up
            schema_note(m, fact->spot, "pattern", "too large together with the length");
            letters_free(&both);
        } else {
            letters_free(l);
            *l = both;
        }
    }
    if (l->full)
        schema_fail(m, TOO_LARGE, fact->spot, "pattern",
                    "it is too large, alone or together with the length");
    else
        letters_write(l, m->g, inside, end, true);
    automaton_bytes(m->g, from, '"', '"', inside);
    automaton_bytes(m->g, end, '"', '"', to);
}

void schema_string(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to)
{
    struct bounds lengths = {.least = 0, .most = -1};
    const struct fact *first = &facts->fact[0];
    for (size_t i = 0; i < facts->n; i++) {
        int64_t least = schema_count(m, &facts->fact[i], "minLength"),
                most = schema_count(m, &facts->fact[i], "maxLength");
        if (least > COUNT_MOST)
            schema_fail(m, UNSUPPORTED, facts->fact[i].spot, "minLength", "at most %d is counted",
                        COUNT_MOST);
        if (most > COUNT_MOST) {
            schema_note(m, facts->fact[i].spot, "maxLength", "not enforced above 10000");
            most = -1;
        }
        lengths.least = (double)least > lengths.least ? (double)least : lengths.least;
        if (most >= 0 && (lengths.most < 0 || (double)most < lengths.most))
            lengths.most = (double)most;
    }
    struct letters l;
    bool is_new;
    if (schema_failed(m))
        return;
    if (lengths.most >= 0 && lengths.least > lengths.most) {
        schema_dead(m, first->spot, "minLength", "it is above the maxLength");
        return;
    }
    if (schema_patterns(m, facts, &l)) {
        write_pattern(m, first, &l, (int64_t)lengths.least, (int64_t)lengths.most, from, to);
        letters_free(&l);
        return;
    }
    if (lengths.least <= 0 && lengths.most < 0) {
        automaton_call(m->g, from, plain_string(m->g), to);
        return;
    }
    uint32_t rule = schema_shared(m, 's', &lengths, &is_new);
    if (is_new)
        write_lengths(m->g, rule, (int64_t)lengths.least, (int64_t)lengths.most);
    automaton_call(m->g, from, rule, to);
}
