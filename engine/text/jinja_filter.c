// jinja_filter.c - filters over single values: texts, numbers, defaults.
//
// What is no text is taken as it would be printed, as Jinja2 does. Those over lists are in
// jinja_sequence.c.
#include "jinja_inside.h"
#include "inside.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static struct datum as_text(const struct calling *call)
{
    return datum_str(call->run, call->in);
}

// ---- texts --------------------------------------------------------------------------------------

static struct datum filter_string(const struct calling *call)
{
    return as_text(call);
}

static struct datum filter_trim(const struct calling *call)
{
    return text_strip(call->run, as_text(call), call->arg[0], true, true);
}

static struct datum filter_upper(const struct calling *call)
{
    return text_case(call->run, as_text(call), 'u');
}

static struct datum filter_lower(const struct calling *call)
{
    return text_case(call->run, as_text(call), 'l');
}

static struct datum filter_capitalize(const struct calling *call)
{
    return text_case(call->run, as_text(call), 'c');
}

static bool begins_word(uint8_t before)
{
    return before == ' ' || before - 9u < 5 || before == '-' || before == '(' || before == '{' ||
           before == '[' || before == '<';
}

// Words begin behind white space, - ( { [ <.
static struct datum filter_title(const struct calling *call)
{
    struct datum text = as_text(call);
    size_t from = call->run->n_out;
    for (size_t at = 0; at < text.text.n && run_charge(call->run, 1);) {
        size_t end = at + 1;
        while (end < text.text.n &&
               (!begins_word(text.text.p[end - 1]) || begins_word(text.text.p[end])))
            end++;
        write_text(call->run, text_case(call->run, text_part(text, at, end - at), 'c'));
        at = end;
    }
    return run_since(call->run, from);
}

static struct datum filter_replace(const struct calling *call)
{
    int64_t most = -1;
    if (datum_given(call->arg[2]))
        (void)datum_whole_of(call->run, call->arg[2], &most, "replace's count");
    return text_replace(call->run, as_text(call), datum_str(call->run, call->arg[0]),
                        datum_str(call->run, call->arg[1]), most);
}

static struct datum indent_text(struct run *run, struct datum width)
{
    int64_t n = 4;
    if (width.kind == D_TEXT)
        return width;
    if (width.kind != D_MISSING)
        (void)datum_whole_of(run, width, &n, "indent's width");
    size_t from = run->n_out;
    for (int64_t i = 0; i < n && run_charge(run, 1); i++)
        write_string(run, " ");
    return run_since(run, from);
}

// width, first, blank
static struct datum filter_indent(const struct calling *call)
{
    struct run *run = call->run;
    struct datum text = as_text(call), by = indent_text(run, call->arg[0]);
    size_t from = run->n_out;
    if (datum_true(call->arg[1]))
        write_text(run, by);
    for (size_t at = 0; at < text.text.n && run_charge(run, 1);) {
        const uint8_t *newline = memchr(text.text.p + at, '\n', text.text.n - at);
        size_t end = newline ? (size_t)(newline - text.text.p) : text.text.n;
        if (at > 0 && (end > at || datum_true(call->arg[2])))
            write_text(run, by);
        write_text(run, text_part(text, at, end - at + (newline != NULL)));
        at = end + 1;
    }
    if (datum_true(call->arg[2]) && text.text.n > 0 && text.text.p[text.text.n - 1] == '\n')
        write_text(run, by);
    struct datum out = run_since(run, from);
    out.safe = text.safe;
    return out;
}

// length, killwords, end, leeway
static struct datum filter_truncate(const struct calling *call)
{
    struct run *run = call->run;
    struct datum text = as_text(call),
                 end = call->arg[2].kind == D_MISSING ? datum_text("...") : call->arg[2];
    int64_t most = 255, leeway = 5;
    if (call->arg[0].kind != D_MISSING)
        (void)datum_whole_of(run, call->arg[0], &most, "truncate's length");
    if (datum_given(call->arg[3]))
        (void)datum_whole_of(run, call->arg[3], &leeway, "truncate's leeway");
    struct bytes view = text_bytes_of(text);
    int64_t n_end = (int64_t)utf8_length(text_wanted(run, end, "truncate"));
    if (most < n_end || leeway < 0)
        run_fail(run, BAD_INPUT, "truncate to fewer characters than its end has");
    if (run->failed || (int64_t)utf8_length(view) <= most + leeway)
        return text;
    size_t n = text_offset(view, (size_t)(most - n_end));
    if (!datum_true(call->arg[1]))
        for (size_t at = n; at-- > 0;)
            if (view.p[at] == ' ') {
                n = at;
                break;
            }
    size_t from = run->n_out;
    write_text(run, text_part(text, 0, n));
    write_text(run, end);
    return run_since(run, from);
}

static struct datum filter_wordcount(const struct calling *call)
{
    struct datum text = as_text(call);
    int64_t n = 0;
    bool inside = false;
    for (size_t at = 0, length; at < text.text.n && run_charge(call->run, 1); at += length) {
        uint32_t point = 0;
        length = unicode_decode(text.text.p + at, text.text.n - at, &point);
        length = length ? length : 1;
        bool word = point == '_' || (point >= '0' && unicode_category(point) == OTHER);
        n += word && !inside;
        inside = word;
    }
    return datum_whole(n);
}

static struct datum filter_center(const struct calling *call)
{
    struct args args = {.n = 1};
    struct datum width = call->arg[0].kind == D_MISSING ? datum_whole(80) : call->arg[0],
                 text = as_text(call);
    args.p = &width;
    const struct function *center = method_find(text, bytes_of("center"));
    return call_bound(call->run, center->name, center->parameters, 1, center->work, text, &args);
}

static struct datum filter_format(const struct calling *call)
{
    return text_percent(call->run, as_text(call), call->args);
}

static struct datum filter_escape(const struct calling *call)
{
    return datum_escape(call->run, call->in);
}

static struct datum filter_forceescape(const struct calling *call)
{
    struct datum text = as_text(call);
    text.safe = false;
    return datum_escape(call->run, text);
}

static struct datum filter_safe(const struct calling *call)
{
    struct datum text = as_text(call);
    text.safe = true;
    return text;
}

static struct datum filter_urlencode(const struct calling *call)
{
    struct datum text = as_text(call);
    size_t from = call->run->n_out;
    for (size_t i = 0; i < text.text.n && run_charge(call->run, 1); i++) {
        uint8_t c = text.text.p[i];
        char code[4];
        if (c - '0' < 10u || (c | 32) - 'a' < 26u || (c && strchr("_.-~/", c)))
            write_text(call->run, text_part(text, i, 1));
        else {
            snprintf(code, sizeof(code), "%%%02X", c);
            write_string(call->run, code);
        }
    }
    return run_since(call->run, from);
}

// ---- numbers ------------------------------------------------------------------------------------

static struct datum filter_abs(const struct calling *call)
{
    struct datum in = call->in;
    if (!datum_is_number(in))
        run_fail(call->run, BAD_INPUT, "abs of a '%s'", datum_type(in));
    if (in.kind == D_REAL)
        return datum_real(fabs(in.real));
    int64_t whole = in.kind == D_BOOL ? in.yes : in.whole;
    return datum_whole(whole < 0 && whole != INT64_MIN ? -whole : whole);
}

// A text that is a number, with white space around; false: it is none.
static bool read_real(struct datum text, double *out)
{
    char copy[64];
    struct datum bare =
        text_strip(&(struct run){.steps = INT64_MAX}, text, datum_of(D_MISSING), true, true);
    size_t n = bare.text.n;
    if (n == 0 || n >= sizeof(copy) || memchr(bare.text.p, 'x', n) || memchr(bare.text.p, 'X', n))
        return false;
    memcpy(copy, bare.text.p, n);
    copy[n] = 0;
    char *end;
    *out = strtod(copy, &end);
    return *end == 0;
}

static bool read_whole(struct datum text, int base, int64_t *out)
{
    char copy[80];
    struct datum bare =
        text_strip(&(struct run){.steps = INT64_MAX}, text, datum_of(D_MISSING), true, true);
    size_t n = bare.text.n;
    if (n == 0 || n >= sizeof(copy))
        return false;
    memcpy(copy, bare.text.p, n);
    copy[n] = 0;
    char *end;
    errno = 0;
    *out = strtoll(copy, &end, base);
    return *end == 0 && errno == 0;
}

// default, base
static struct datum filter_int(const struct calling *call)
{
    struct datum other = call->arg[0].kind == D_MISSING ? datum_whole(0) : call->arg[0];
    int64_t whole = 0, base = 10;
    double real = 0;
    if (call->arg[1].kind != D_MISSING && !datum_whole_of(call->run, call->arg[1], &base, "a base"))
        return other;
    if (base < 2 || base > 36)
        return other;
    if (call->in.kind == D_BOOL || call->in.kind == D_WHOLE)
        return datum_whole(call->in.kind == D_BOOL ? call->in.yes : call->in.whole);
    if (call->in.kind == D_TEXT && read_whole(call->in, (int)base, &whole))
        return datum_whole(whole);
    if (call->in.kind == D_REAL)
        real = call->in.real;
    else if (call->in.kind != D_TEXT || !read_real(call->in, &real))
        return other;
    return isfinite(real) && fabs(real) < 9e18 ? datum_whole((int64_t)real) : other;
}

static struct datum filter_float(const struct calling *call)
{
    double real = 0;
    if (datum_is_number(call->in))
        return datum_real(datum_number(call->in));
    if (call->in.kind == D_TEXT && read_real(call->in, &real))
        return datum_real(real);
    return call->arg[0].kind == D_MISSING ? datum_real(0) : call->arg[0];
}

// precision, method: common rounds halves to even, as Python does.
static struct datum filter_round(const struct calling *call)
{
    int64_t digits = 0;
    char text[400];
    struct datum how = call->arg[1].kind == D_MISSING ? datum_text("common") : call->arg[1];
    if (!datum_is_number(call->in))
        run_fail(call->run, BAD_INPUT, "round of a '%s'", datum_type(call->in));
    if (call->arg[0].kind != D_MISSING)
        (void)datum_whole_of(call->run, call->arg[0], &digits, "round's precision");
    bool common = datum_is(how, "common");
    if (!common && !datum_is(how, "ceil") && !datum_is(how, "floor"))
        run_fail(call->run, BAD_INPUT, "round's method must be common, ceil or floor");
    if (call->run->failed)
        return call->in;
    digits = digits < -18 ? -18 : digits; // there are no larger numbers
    double real = datum_number(call->in), scale = pow(10, (double)digits);
    if (!common)
        return datum_real((datum_is(how, "ceil") ? ceil(real * scale) : floor(real * scale)) /
                          scale);
    if (call->in.kind != D_REAL && digits >= 0)
        return datum_whole(call->in.kind == D_BOOL ? call->in.yes : call->in.whole);
    if (digits < 0) {
        real = nearbyint(real * scale) / scale;
        return call->in.kind == D_REAL || fabs(real) > 9e18 ? datum_real(real)
                                                            : datum_whole((int64_t)real);
    }
    if (digits > 17)
        return datum_real(real);
    snprintf(text, sizeof(text), "%.*f", (int)digits, real);
    return datum_real(strtod(text, NULL));
}

// ---- any ----------------------------------------------------------------------------------------

static struct datum filter_default(const struct calling *call)
{
    bool counts =
        call->in.kind != D_UNDEFINED && (!datum_true(call->arg[1]) || datum_true(call->in));
    if (counts)
        return call->in;
    return call->arg[0].kind == D_MISSING ? datum_text("") : call->arg[0];
}

static struct datum filter_length(const struct calling *call)
{
    size_t n;
    (void)datum_length(call->run, call->in, &n);
    return datum_whole((int64_t)n);
}

static struct datum filter_attr(const struct calling *call)
{
    struct bytes name = text_wanted(call->run, call->arg[0], "attr");
    if (call->run->failed || call->in.kind == D_DICT) // a dict's keys are no attributes
        return datum_undefined(name, datum_type(call->in));
    return eval_attribute(call->run, call->in, name);
}

const struct filter jinja_filters_texts[] = {
    {"abs", filter_abs, "", 0},
    {"attr", filter_attr, "name", 1},
    {"capitalize", filter_capitalize, "", 0},
    {"center", filter_center, "width", 0},
    {"count", filter_length, "", 0},
    {"d", filter_default, "default_value boolean", 0},
    {"default", filter_default, "default_value boolean", 0},
    {"e", filter_escape, "", 0},
    {"escape", filter_escape, "", 0},
    {"float", filter_float, "default", 0},
    {"forceescape", filter_forceescape, "", 0},
    {"format", filter_format, NULL, 0},
    {"indent", filter_indent, "width first blank", 0},
    {"int", filter_int, "default base", 0},
    {"length", filter_length, "", 0},
    {"lower", filter_lower, "", 0},
    {"replace", filter_replace, "old new count", 2},
    {"round", filter_round, "precision method", 0},
    {"safe", filter_safe, "", 0},
    {"string", filter_string, "", 0},
    {"title", filter_title, "", 0},
    {"tojson", write_tojson, "ensure_ascii indent separators sort_keys", 0},
    {"trim", filter_trim, "chars", 0},
    {"truncate", filter_truncate, "length killwords end leeway", 0},
    {"upper", filter_upper, "", 0},
    {"urlencode", filter_urlencode, "", 0},
    {"wordcount", filter_wordcount, "", 0},
    {NULL, NULL, NULL, 0},
};
