// schema_value.c - what a JSON schema says of fixed values (enum and const) and of numbers.
//
// Numbers with bounds are written out digit by digit: for each number of digits, and of digits
// behind the point, an automaton that knows whether it still runs along a bound. They have 15
// digits at most in all, so that what is written is what is compared, and no exponent.
#include "schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- values -------------------------------------------------------------------------------------

static bool is_whole(double number)
{
    return number == floor(number) && fabs(number) < 9e15;
}

static int value_types(const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        return TYPE_NULL_BIT;
    case VALUE_BOOL:
        return TYPE_BOOL_BIT;
    case VALUE_WHOLE:
        return TYPE_INTEGER_BIT;
    case VALUE_REAL:
        return is_whole(value->real) ? TYPE_INTEGER_BIT : TYPE_REAL_BIT;
    case VALUE_TEXT:
        return TYPE_STRING_BIT;
    case VALUE_LIST:
        return TYPE_ARRAY_BIT;
    case VALUE_DICT:
        return TYPE_OBJECT_BIT;
    }
    return 0;
}

static double number_of(const struct value *value)
{
    return value->kind == VALUE_WHOLE ? (double)value->whole : value->real;
}

static bool is_number(const struct value *value)
{
    return value->kind == VALUE_WHOLE || value->kind == VALUE_REAL;
}

static bool same_deep(const struct value *a, const struct value *b, int depth)
{
    if (is_number(a) && is_number(b))
        return a->kind == VALUE_WHOLE && b->kind == VALUE_WHOLE ? a->whole == b->whole
                                                                : number_of(a) == number_of(b);
    if (a->kind != b->kind || depth > VALUE_DEPTH)
        return false;
    if (a->kind == VALUE_BOOL)
        return a->yes == b->yes;
    if (a->kind == VALUE_TEXT)
        return bytes_equal(a->text, b->text);
    if (a->kind == VALUE_LIST) {
        bool same = a->list.n == b->list.n;
        for (size_t i = 0; same && i < a->list.n; i++)
            same = same_deep(&a->list.items[i], &b->list.items[i], depth + 1);
        return same;
    }
    if (a->kind == VALUE_DICT) {
        bool same = a->dict.n == b->dict.n;
        for (size_t i = 0; same && i < a->dict.n; i++) // in the same order: else they are two
            same = bytes_equal(a->dict.members[i].name, b->dict.members[i].name) &&
                   same_deep(&a->dict.members[i].value, &b->dict.members[i].value, depth + 1);
        return same;
    }
    return true;
}

bool value_same(const struct value *a, const struct value *b)
{
    return same_deep(a, b, 0);
}

// ---- bounds of numbers --------------------------------------------------------------------------

static void tighten(struct bounds *b, double number, bool open, bool least)
{
    if (least && (number > b->least || (number == b->least && open))) {
        b->least_open = open;
        b->least = number;
    } else if (!least && (number < b->most || (number == b->most && open))) {
        b->most_open = open;
        b->most = number;
    }
}

// Numbers of 16 digits are not all told apart; those with more are never written.
static void check_exact(struct schema_maker *m, const struct fact *fact, const char *keyword,
                        const struct value *value)
{
    const double exact = 9007199254740992.0,
                 number = value && is_number(value) ? number_of(value) : 0;
    const bool rounded = value && value->kind == VALUE_WHOLE && fabs(number) == exact &&
                         value->whole != (int64_t)number;
    if ((fabs(number) > exact && fabs(number) < 1e16) || rounded)
        schema_fail(m, UNSUPPORTED, fact->spot, keyword,
                    "numbers between 9007199254740992 and 10000000000000000 are not told apart");
}

static void read_bound(struct schema_maker *m, const struct fact *fact, struct bounds *b,
                       bool least)
{
    const char *plain = least ? "minimum" : "maximum",
               *open = least ? "exclusiveMinimum" : "exclusiveMaximum";
    const struct value *value = schema_get(fact, plain), *exclusive = schema_get(fact, open);
    bool is_open = exclusive && exclusive->kind == VALUE_BOOL && exclusive->yes; // draft 4
    if (exclusive && exclusive->kind == VALUE_BOOL && exclusive->yes && !value)
        schema_note(m, fact->spot, open,
                    least ? "true says nothing without a minimum"
                          : "true says nothing without a maximum");
    check_exact(m, fact, plain, value);
    check_exact(m, fact, open, exclusive);
    if (value && !is_number(value))
        schema_fail(m, BAD_INPUT, fact->spot, plain, "it must be a number");
    else if (value)
        tighten(b, number_of(value), is_open, least);
    if (exclusive && !is_number(exclusive) && exclusive->kind != VALUE_BOOL)
        schema_fail(m, BAD_INPUT, fact->spot, open, "it must be a number");
    else if (exclusive && is_number(exclusive))
        tighten(b, number_of(exclusive), true, least);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

enum { MULTIPLE_MOST = 400 };

static void read_multiple(struct schema_maker *m, const struct fact *fact, struct bounds *b)
{
    const struct value *value = schema_get(fact, "multipleOf");
    if (!value)
        return;
    if (!is_number(value) || number_of(value) <= 0) {
        schema_fail(m, BAD_INPUT, fact->spot, "multipleOf", "it must be a number above 0");
        return;
    }
    double number = number_of(value);
    int64_t whole = is_whole(number) ? (int64_t)number : 0, joined = b->multiple;
    if (whole && whole <= MULTIPLE_MOST)
        joined = joined / common_divisor(joined, whole) * whole;
    if (!whole || whole > MULTIPLE_MOST || joined > MULTIPLE_MOST)
        schema_note(m, fact->spot, "multipleOf", "only whole numbers up to 400 are enforced");
    else
        b->multiple = joined;
}

static struct bounds read_bounds(struct schema_maker *m, const struct facts *facts)
{
    struct bounds b = {.least = -INFINITY, .most = INFINITY, .multiple = 1};
    for (size_t i = 0; i < facts->n; i++) {
        read_bound(m, &facts->fact[i], &b, true);
        read_bound(m, &facts->fact[i], &b, false);
        read_multiple(m, &facts->fact[i], &b);
    }
    return b;
}

// ---- enum, const --------------------------------------------------------------------------------

static bool has_member(const struct value *dict, struct bytes name)
{
    for (size_t i = 0; i < dict->dict.n; i++)
        if (bytes_equal(dict->dict.members[i].name, name))
            return true;
    return false;
}

// Of an object or an array what can be told by its members' names and number. What is said of the
// members themselves is not looked at, and noted.
static bool fits_outside(struct schema_maker *m, const struct value *value, const struct fact *fact)
{
    static const char *const inner[2][4] = {
        {"properties", "patternProperties", "additionalProperties", "propertyNames"},
        {"items", "prefixItems", "additionalItems", "contains"},
    };
    const bool list = value->kind == VALUE_LIST;
    const struct value *required = list ? NULL : schema_get(fact, "required");
    const int64_t least = schema_count(m, fact, list ? "minItems" : "minProperties"),
                  most = schema_count(m, fact, list ? "maxItems" : "maxProperties"),
                  n = (int64_t)(list ? value->list.n : value->dict.n);
    bool good = n >= least && (most < 0 || n <= most);
    for (size_t i = 0; required && required->kind == VALUE_LIST && i < required->list.n; i++)
        good = good && (required->list.items[i].kind != VALUE_TEXT ||
                        has_member(value, required->list.items[i].text));
    for (size_t i = 0; good && i < COUNT_OF(inner[0]); i++)
        if (schema_get(fact, inner[list][i]))
            schema_note(m, fact->spot, inner[list][i], "not enforced beside enum or const");
    return good;
}

// Whether a fixed value obeys one fact. source: the fact that it comes from.
static bool fits(struct schema_maker *m, const struct value *value, const struct fact *fact,
                 const struct fact *source)
{
    const struct value *only = schema_get(fact, "enum"), *fixed = value_get(fact->schema, "const");
    bool found = fact == source || !only || only->kind != VALUE_LIST;
    for (size_t i = 0; !found && i < only->list.n; i++)
        found = value_same(&only->list.items[i], value);
    if (!found || (fixed && !value_same(fixed, value)))
        return false;
    if (is_number(value)) {
        struct facts one = {.fact = {*fact}, .n = 1};
        const struct bounds b = read_bounds(m, &one);
        double number = number_of(value);
        return number >= b.least && number <= b.most && !(b.least_open && number == b.least) &&
               !(b.most_open && number == b.most) &&
               (b.multiple == 1 || fmod(number, (double)b.multiple) == 0);
    }
    if (value->kind == VALUE_TEXT) {
        int64_t least = schema_count(m, fact, "minLength"),
                most = schema_count(m, fact, "maxLength"), n = (int64_t)utf8_length(value->text);
        return n >= least && (most < 0 || n <= most);
    }
    return (value->kind != VALUE_DICT && value->kind != VALUE_LIST) || fits_outside(m, value, fact);
}

static bool fits_all(struct schema_maker *m, const struct value *value, const struct facts *facts,
                     const struct fact *source, int types, struct letters *pattern)
{
    bool good = value_types(value) & types;
    for (size_t i = 0; good && i < facts->n; i++)
        good = fits(m, value, &facts->fact[i], source);
    return good && (value->kind != VALUE_TEXT || !pattern || letters_match(pattern, value->text));
}

bool schema_fixed(struct schema_maker *m, const struct facts *facts, int types, uint32_t from,
                  uint32_t to)
{
    const struct value *list = NULL, *fixed = NULL;
    const struct fact *fact = NULL;
    for (size_t i = 0; i < facts->n && !list && !fixed; i++) {
        fact = &facts->fact[i];
        list = schema_get(fact, "enum");
        fixed = value_get(fact->schema, "const");
    }
    if (!list && !fixed)
        return false;
    if (!fixed && list->kind != VALUE_LIST) {
        schema_fail(m, BAD_INPUT, fact->spot, "enum", "it must be an array");
        return true;
    }
    const struct value *values = fixed ? fixed : list->list.items;
    size_t n = fixed ? 1 : list->list.n, kept = 0;
    struct bytes *texts = mem_array(n + 1, sizeof(*texts));
    struct json *written = mem_array(n + 1, sizeof(*written));
    struct letters pattern;
    const bool has_pattern = schema_patterns(m, facts, &pattern);
    for (size_t i = 0; i < n && !schema_failed(m); i++) {
        if (!fits_all(m, &values[i], facts, fact, types, has_pattern ? &pattern : NULL))
            continue;
        json_init(&written[kept], 4 << 20);
        value_write(&written[kept], NULL, &values[i]);
        if (json_done(&written[kept]) != OK)
            schema_fail(m, TOO_LARGE, fact->spot, fixed ? "const" : "enum", "it is too large");
        texts[kept] = buf_view(&written[kept].text);
        kept++;
    }
    if (kept == 0)
        schema_dead(m, fact->spot, fixed ? "const" : "enum", "none of its values is allowed");
    automaton_any_of(m->g, from, texts, kept, to);
    for (size_t i = 0; i < kept; i++)
        json_free(&written[i]);
    if (has_pattern)
        letters_free(&pattern);
    free(written);
    free(texts);
    return true;
}

// ---- digits -------------------------------------------------------------------------------------

enum { WHOLE_DIGITS = 16, ALL_DIGITS = 15, DECIMALS_MOST = 6, LARGE_DIGITS = 9 };

// Texts of n more digits that run along no bound, from rest[n]; a point before the last n_behind.
static void free_digits(struct letters *l, uint32_t rest[WHOLE_DIGITS + 1], int n_behind,
                        uint32_t to)
{
    rest[0] = to;
    for (int n = 1; n <= WHOLE_DIGITS; n++) {
        uint32_t digit = rest[n] = letters_state(l);
        if (n == n_behind) {
            digit = letters_state(l);
            letters_add(l, rest[n], '.', '.', digit);
        }
        letters_add(l, digit, '0', '9', rest[n - 1]);
    }
}

// All texts of n digits from lo to hi. Which of the bounds a text still runs along: 1 the lower, 2
// the upper; along none it goes on in `rest`. The first digit is never below that of lo.
static void digits_between(struct letters *l, uint32_t from, const char *lo, const char *hi, int n,
                           int n_behind, int bounds, const uint32_t rest[WHOLE_DIGITS + 1])
{
    uint32_t now[4] = {from, from, from, from}, next[4];
    bool there[4] = {false}, there_next[4];
    there[bounds] = true;
    for (int i = 0; i < n; i++) {
        for (int k = 1; k < 4 && n_behind && i == n - n_behind; k++) {
            uint32_t point = letters_state(l);
            if (there[k])
                letters_add(l, now[k], '.', '.', point);
            now[k] = point;
        }
        memset(there_next, 0, sizeof(there_next));
        next[0] = rest[n - 1 - i];
        for (int k = 1; k < 4; k++) {
            char least = k & 1 || i == 0 ? lo[i] : '0', most = k & 2 ? hi[i] : '9', end;
            for (char digit = least; there[k] && digit <= most; digit = (char)(end + 1)) {
                int along = (k & 1 && digit == lo[i] ? 1 : 0) | (k & 2 && digit == hi[i] ? 2 : 0);
                end = digit;
                while (!along && end < most && !(k & 2 && end + 1 == hi[i]))
                    end++;
                if (along && !there_next[along])
                    next[along] = i + 1 == n ? rest[0] : letters_state(l);
                there_next[along] = true;
                letters_add(l, now[k], (uint32_t)digit, (uint32_t)end, next[along]);
            }
        }
        memcpy(now, next, sizeof(now));
        memcpy(there, there_next, sizeof(there));
    }
}

// Numbers from least to most (not below 0) in units of the last of n_behind decimals.
static void magnitudes(struct letters *l, uint32_t from, uint64_t least, uint64_t most,
                       int n_behind, uint32_t to)
{
    uint64_t shortest = 0, longest = 9; // of n digits
    uint32_t rest[WHOLE_DIGITS + 1];
    free_digits(l, rest, n_behind, to);
    for (int n = 1; n < n_behind + 1; n++)
        longest = longest * 10 + 9;
    for (int n = n_behind + 1; n <= WHOLE_DIGITS && shortest <= most; n++) {
        uint64_t a = least > shortest ? least : shortest, b = most < longest ? most : longest;
        char lo[24], hi[24];
        snprintf(lo, sizeof(lo), "%0*llu", n, (unsigned long long)a);
        snprintf(hi, sizeof(hi), "%0*llu", n, (unsigned long long)b);
        const int bounds = (a > shortest ? 1 : 0) | (b < longest ? 2 : 0);
        if (a <= b && bounds)
            digits_between(l, from, lo, hi, n, n_behind, bounds, rest);
        else if (a <= b)
            letters_add(l, from, (uint32_t)lo[0], '9', rest[n - 1]);
        shortest = longest + 1;
        longest = longest * 10 + 9;
    }
}

static double power_of_ten(int n)
{
    double power = 1;
    for (; n > 0; n--)
        power *= 10;
    return power;
}

// The least whole number r with r / scale inside the bound. Both are whole numbers below 2^53, so
// the quotient is what a reader makes of the digits.
static double first_inside(double bound, bool open, double scale)
{
    double r = floor(bound * scale) - 1;
    for (int i = 0; i < 4 && (r / scale < bound || (open && r / scale == bound)); i++)
        r++;
    return r;
}

// Numbers with exactly n_behind decimals inside the bounds.
static void decimals(struct letters *l, const struct bounds *b, int n_behind)
{
    const double scale = power_of_ten(n_behind),
                 all = power_of_ten(n_behind ? LARGE_DIGITS + n_behind : WHOLE_DIGITS) - 1;
    double least = -all, most = all;
    if (b->least > -all / scale)
        least = first_inside(b->least, b->least_open, scale);
    if (b->most < all / scale)
        most = -first_inside(-b->most, b->most_open, scale);
    if (least > most || least > all || most < -all)
        return;
    least = least < -all ? -all : least;
    most = most > all ? all : most;
    if (most >= 0)
        magnitudes(l, l->start, (uint64_t)(least > 0 ? least : 0), (uint64_t)most, n_behind,
                   l->end);
    if (least < 0) {
        uint32_t minus = letters_state(l);
        letters_add(l, l->start, '-', '-', minus);
        magnitudes(l, minus, (uint64_t)(most < 0 ? -most : 1), (uint64_t)-least, n_behind, l->end);
    }
}

// Whole numbers that `multiple` divides.
static void multiples(struct letters *l, int64_t multiple)
{
    letters_init(l);
    uint32_t first = letters_state(l), rest = l->n_states;
    letters_skip(l, l->start, first);
    letters_add(l, l->start, '-', '-', first);
    for (int64_t i = 0; i < multiple; i++)
        letters_state(l);
    for (int64_t i = -1; i < multiple; i++)
        for (uint32_t digit = 0; digit < 10; digit++)
            letters_add(l, i < 0 ? first : rest + (uint32_t)i, '0' + digit, '0' + digit,
                        rest + (uint32_t)(((i < 0 ? 0 : i) * 10 + digit) % multiple));
    letters_skip(l, rest, l->end);
}

static void write_number(struct schema_maker *m, const struct bounds *b, bool whole, uint32_t rule)
{
    struct letters l, factors, both;
    letters_init(&l);
    decimals(&l, b, 0);
    for (int n = 1; !whole && b->multiple == 1 && n <= DECIMALS_MOST; n++)
        decimals(&l, b, n);
    if (b->multiple > 1) {
        multiples(&factors, b->multiple);
        letters_both(&both, &l, &factors);
        letters_free(&factors);
        letters_free(&l);
        l = both;
    }
    letters_write(&l, m->g, m->g->rules[rule].start, m->g->rules[rule].end, false);
    letters_free(&l);
}

uint32_t schema_shared(struct schema_maker *m, char kind, const struct bounds *b, bool *is_new)
{
    struct shared_rule *s = m->shared;
    *is_new = false;
    for (; s < m->shared + m->n_shared; s++)
        if (s->kind == kind && s->least == b->least && s->most == b->most &&
            s->least_open == b->least_open && s->most_open == b->most_open &&
            s->multiple == b->multiple)
            return s->rule;
    *is_new = true;
    uint32_t rule = automaton_rule(m->g);
    if (m->n_shared < SHARED_MOST)
        m->shared[m->n_shared++] = (struct shared_rule){
            kind, b->least, b->most, b->least_open, b->most_open, b->multiple, rule};
    return rule;
}

void schema_number(struct schema_maker *m, const struct facts *facts, bool whole, uint32_t from,
                   uint32_t to)
{
    const struct bounds b = read_bounds(m, facts);
    bool is_new;
    if (schema_failed(m))
        return;
    if (isinf(b.least) && isinf(b.most) && b.multiple == 1) {
        automaton_call(m->g, from, whole ? plain_integer(m->g) : plain_number(m->g), to);
        return;
    }
    if (b.least > b.most || (b.least == b.most && (b.least_open || b.most_open)))
        schema_dead(m, facts->fact[0].spot, "minimum", "it is above the maximum");
    if (b.least > 1e16 || b.most < -1e16)
        schema_dead(m, facts->fact[0].spot, NULL, "numbers are written with at most 16 digits");
    uint32_t rule = schema_shared(m, whole ? 'i' : 'n', &b, &is_new);
    if (is_new)
        write_number(m, &b, whole, rule);
    automaton_call(m->g, from, rule, to);
}
