// plain.c - the rules that all JSON shares; each is made once a grammar, when it is first asked
// for.
//
// White space is what models write and no more: nothing, one blank, or a new line and its indent,
// and only where a value, a name or a closing bracket may follow. So an answer cannot run away in
// blanks. Numbers have at most 16 digits before and behind the point, so that they are numbers to
// whoever reads them.
#include "automaton.h"

#include <stdio.h>
#include <string.h>

enum { DIGITS_MOST = 16, EXPONENT_DIGITS = 2, INDENT_MOST = 32 };

// Whether it is there already; else *rule is new.
static bool there(struct grammar *g, int which, uint32_t *rule)
{
    *rule = g->plain[which];
    if (*rule)
        return true;
    *rule = g->plain[which] = automaton_rule(g);
    return false;
}

static const struct grammar_rule *rule_at(const struct grammar *g, uint32_t rule)
{
    return &g->rules[rule];
}

uint32_t plain_space(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_SPACE, &rule))
        return rule;
    const uint32_t start = rule_at(g, rule)->start, end = rule_at(g, rule)->end;
    automaton_skip(g, start, end);
    automaton_bytes(g, start, ' ', ' ', end);
    uint32_t at = automaton_state(g);
    automaton_bytes(g, start, '\n', '\n', at);
    automaton_skip(g, at, end);
    for (int i = 0; i < INDENT_MOST; i++) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, at, ' ', ' ', next);
        automaton_bytes(g, at, '\t', '\t', next);
        automaton_skip(g, next, end);
        at = next;
    }
    return rule;
}

// ---- strings ------------------------------------------------------------------------------------

struct bytes plain_escape(uint32_t point, char spelled[PLAIN_ESCAPE])
{
    static const char shorts[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = point ? strchr(shorts, (int)point) : NULL;
    if (found)
        snprintf(spelled, PLAIN_ESCAPE, "\\%c", letters[found - shorts]);
    else
        snprintf(spelled, PLAIN_ESCAPE, "\\u%04x", point & 0xff);
    return bytes_of(spelled);
}

uint32_t plain_control(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_CONTROL, &rule))
        return rule;
    char spelled[32][PLAIN_ESCAPE];
    struct bytes texts[32];
    for (uint32_t point = 0; point < 32; point++)
        texts[point] = plain_escape(point, spelled[point]);
    automaton_any_of(g, rule_at(g, rule)->start, texts, 32, rule_at(g, rule)->end);
    return rule;
}

uint32_t plain_beyond_ascii(struct grammar *g)
{
    uint32_t rule;
    if (!there(g, PLAIN_BEYOND_ASCII, &rule))
        automaton_range(g, rule_at(g, rule)->start, 0x80, LETTER_LAST, rule_at(g, rule)->end);
    return rule;
}

// What a string may hold as it is.
static void unescaped(struct grammar *g, uint32_t from, uint32_t to)
{
    automaton_bytes(g, from, 0x20, '"' - 1, to);
    automaton_bytes(g, from, '"' + 1, '\\' - 1, to);
    automaton_bytes(g, from, '\\' + 1, 0x7f, to);
    automaton_range(g, from, 0x80, LETTER_LAST, to);
}

uint32_t plain_letter(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_LETTER, &rule))
        return rule;
    const uint32_t start = rule_at(g, rule)->start, end = rule_at(g, rule)->end,
                   control = plain_control(g);
    unescaped(g, start, end);
    automaton_text(g, start, bytes_of("\\\""), end);
    automaton_text(g, start, bytes_of("\\\\"), end);
    automaton_call(g, start, control, end);
    return rule;
}

static void hex_digits(struct grammar *g, uint32_t from, int n, uint32_t to)
{
    for (int i = 0; i < n; i++) {
        uint32_t next = i + 1 == n ? to : automaton_state(g);
        automaton_bytes(g, from, '0', '9', next);
        automaton_bytes(g, from, 'a', 'f', next);
        automaton_bytes(g, from, 'A', 'F', next);
        from = next;
    }
}

// d or D, then a digit of the list in either case.
static void after_d(struct grammar *g, uint32_t from, const char *digits, uint32_t to)
{
    uint32_t second = automaton_state(g), rest = automaton_state(g);
    automaton_bytes(g, from, 'd', 'd', second);
    automaton_bytes(g, from, 'D', 'D', second);
    for (; *digits; digits++)
        automaton_bytes(g, second, (uint8_t)*digits, (uint8_t)*digits, rest);
    hex_digits(g, rest, 2, to);
}

// Backslash and what may follow; surrogates only as a pair.
static void escaped(struct grammar *g, uint32_t from, uint32_t to)
{
    uint32_t slash = automaton_state(g), u = automaton_state(g), high = automaton_state(g),
             low = automaton_state(g), after = automaton_state(g);
    automaton_bytes(g, from, '\\', '\\', slash);
    for (const char *p = "\"\\/bfnrt"; *p; p++)
        automaton_bytes(g, slash, (uint8_t)*p, (uint8_t)*p, to);
    automaton_bytes(g, slash, 'u', 'u', u);
    automaton_bytes(g, u, '0', '9', after);
    for (const char *p = "abcefABCEF"; *p; p++)
        automaton_bytes(g, u, (uint8_t)*p, (uint8_t)*p, after);
    hex_digits(g, after, 3, to);
    after_d(g, u, "01234567", to);
    after_d(g, u, "89abAB", high);
    automaton_text(g, high, bytes_of("\\u"), low);
    after_d(g, low, "cdefCDEF", to);
}

uint32_t plain_character(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_CHARACTER, &rule))
        return rule;
    unescaped(g, rule_at(g, rule)->start, rule_at(g, rule)->end);
    escaped(g, rule_at(g, rule)->start, rule_at(g, rule)->end);
    return rule;
}

uint32_t plain_string(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_STRING, &rule))
        return rule;
    uint32_t inside = automaton_state(g);
    automaton_bytes(g, rule_at(g, rule)->start, '"', '"', inside);
    unescaped(g, inside, inside);
    escaped(g, inside, inside);
    automaton_bytes(g, inside, '"', '"', rule_at(g, rule)->end);
    return rule;
}

// ---- numbers ------------------------------------------------------------------------------------

// 1 to n digits.
static void digits(struct grammar *g, uint32_t from, int n, uint32_t to)
{
    for (int i = 0; i < n; i++) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, from, '0', '9', next);
        automaton_skip(g, next, to);
        from = next;
    }
}

static void whole_part(struct grammar *g, uint32_t from, uint32_t to)
{
    uint32_t first = automaton_state(g), more = automaton_state(g);
    automaton_skip(g, from, first);
    automaton_bytes(g, from, '-', '-', first);
    automaton_bytes(g, first, '0', '0', to);
    automaton_bytes(g, first, '1', '9', more);
    automaton_skip(g, more, to);
    digits(g, more, DIGITS_MOST - 1, to);
}

uint32_t plain_integer(struct grammar *g)
{
    uint32_t rule;
    if (!there(g, PLAIN_INTEGER, &rule))
        whole_part(g, rule_at(g, rule)->start, rule_at(g, rule)->end);
    return rule;
}

uint32_t plain_number(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_NUMBER, &rule))
        return rule;
    const uint32_t end = rule_at(g, rule)->end;
    uint32_t whole = automaton_state(g), point = automaton_state(g), fraction = automaton_state(g),
             e = automaton_state(g), sign = automaton_state(g);
    whole_part(g, rule_at(g, rule)->start, whole);
    automaton_skip(g, whole, fraction);
    automaton_bytes(g, whole, '.', '.', point);
    digits(g, point, DIGITS_MOST, fraction);
    automaton_skip(g, fraction, end);
    automaton_bytes(g, fraction, 'e', 'e', e);
    automaton_bytes(g, fraction, 'E', 'E', e);
    automaton_skip(g, e, sign);
    automaton_bytes(g, e, '+', '+', sign);
    automaton_bytes(g, e, '-', '-', sign);
    digits(g, sign, EXPONENT_DIGITS, end);
    return rule;
}

// ---- values -------------------------------------------------------------------------------------

// open, then any number of items with commas between, then close.
static void listed(struct grammar *g, uint32_t rule, const char *brackets, uint32_t item)
{
    const uint32_t space = plain_space(g);
    uint32_t opened = automaton_state(g), first = automaton_state(g), next = automaton_state(g),
             comma = automaton_state(g), closing = automaton_state(g);
    automaton_bytes(g, rule_at(g, rule)->start, (uint8_t)brackets[0], (uint8_t)brackets[0], opened);
    automaton_call(g, opened, space, first);
    automaton_call(g, first, item, next);
    automaton_bytes(g, next, ',', ',', comma);
    automaton_call(g, comma, space, first);
    automaton_call(g, opened, space, closing);
    automaton_call(g, next, space, closing);
    automaton_bytes(g, closing, (uint8_t)brackets[1], (uint8_t)brackets[1], rule_at(g, rule)->end);
}

uint32_t plain_object(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_OBJECT, &rule))
        return rule;
    const uint32_t any = plain_any(g), string = plain_string(g), member = automaton_rule(g);
    uint32_t name = automaton_state(g), colon = automaton_state(g), value = automaton_state(g);
    automaton_call(g, rule_at(g, member)->start, string, name);
    automaton_bytes(g, name, ':', ':', colon);
    automaton_skip(g, colon, value);
    automaton_bytes(g, colon, ' ', ' ', value);
    automaton_call(g, value, any, rule_at(g, member)->end);
    listed(g, rule, "{}", member);
    return rule;
}

uint32_t plain_any(struct grammar *g)
{
    uint32_t rule;
    if (there(g, PLAIN_ANY, &rule))
        return rule;
    const uint32_t list = automaton_rule(g),
                   parts[] = {plain_object(g), list, plain_string(g), plain_number(g)};
    struct bytes words[] = {bytes_of("true"), bytes_of("false"), bytes_of("null")};
    listed(g, list, "[]", rule);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        automaton_call(g, rule_at(g, rule)->start, parts[i], rule_at(g, rule)->end);
    automaton_any_of(g, rule_at(g, rule)->start, words, COUNT_OF(words), rule_at(g, rule)->end);
    return rule;
}
