// jinja_format.c - texts made of a pattern: Python's `%` and str.format.
//
// As far as templates use them: texts, whole and real numbers, with flags, width and precision.
// What else a pattern asks for is refused by name.
#include "jinja_inside.h"

#include <math.h>

enum { WIDTH_MOST = 1000 };

struct spec { // of one place
    bool left, zero, plus, blank, center;
    int width, precision; // precision -1: not given
    char kind;            // 0: not given
    char fill;
    bool commas;
};

static void write_padded(struct run *run, const struct spec *spec, struct datum text, bool number)
{
    struct bytes view = text_bytes_of(text);
    size_t n = utf8_length(view), from = 0;
    char fill = spec->fill ? spec->fill : ' ';
    if (spec->zero && number && !spec->left) {
        fill = '0';
        from = view.n > 0 && (view.p[0] == '-' || view.p[0] == '+' || view.p[0] == ' ');
        write_text(run, text_part(text, 0, from));
    }
    size_t rest = n < (size_t)spec->width ? (size_t)spec->width - n : 0, before = spec->left ? 0
                                                                                  : spec->center
                                                                                      ? rest / 2
                                                                                      : rest;
    for (size_t i = 0; i < before; i++)
        run_write(run, &fill, 1, NULL);
    write_text(run, text_part(text, from, text.text.n - from));
    for (size_t i = before; i < rest; i++)
        run_write(run, &fill, 1, NULL);
}

static const double WHOLE_MOST = 9223372036854775808.0; // 2^63

static struct datum number_text(struct run *run, const struct spec *spec, struct datum value)
{
    char text[400], form[16];
    bool whole = spec->kind == 'd' || spec->kind == 'i' || spec->kind == 'x' || spec->kind == 'X' ||
                 spec->kind == 'o';
    size_t from = run->n_out;
    const char *sign = spec->plus ? "+" : spec->blank ? " " : "";
    if (!datum_is_number(value)) {
        run_fail(run, BAD_INPUT, "a number is to be formatted, not '%s'", datum_type(value));
        return datum_text("");
    }
    const bool large = value.kind == D_REAL && !(fabs(value.real) < WHOLE_MOST);
    if (whole && large) { // Python's integers have no end
        if (!isfinite(value.real) || (spec->kind != 'd' && spec->kind != 'i')) {
            run_fail(run, BAD_INPUT, "%g cannot be formatted as a whole number", value.real);
            return datum_text("");
        }
        snprintf(form, sizeof(form), "%%%s.0f", sign);
        snprintf(text, sizeof(text), form, value.real);
    } else if (whole) {
        int64_t number = value.kind == D_REAL   ? (int64_t)value.real
                         : value.kind == D_BOOL ? value.yes
                                                : value.whole;
        snprintf(form, sizeof(form), "%%%sll%c", sign, spec->kind == 'i' ? 'd' : spec->kind);
        bool hex = spec->kind == 'x' || spec->kind == 'X' || spec->kind == 'o';
        if (hex) // no sign in C
            snprintf(form, sizeof(form), "%s%%ll%c", number < 0 ? "-" : sign, spec->kind);
        snprintf(text, sizeof(text), form,
                 (long long)(hex && number < 0 ? (int64_t)-(uint64_t)number : number));
    } else {
        char kind = spec->kind ? spec->kind : 'g';
        snprintf(form, sizeof(form), "%%%s.*%c", sign, kind == '%' ? 'f' : kind);
        snprintf(text, sizeof(text), form, spec->precision < 0 ? 6 : spec->precision,
                 datum_number(value) * (kind == '%' ? 100 : 1));
    }
    write_string(run, text);
    if (spec->kind == '%')
        write_string(run, "%");
    return run_since(run, from);
}

// 1234567 with commas between threes.
static struct datum with_commas(struct run *run, struct datum text)
{
    size_t from = run->n_out, begin = 0, end;
    const uint8_t *p = text.text.p;
    while (begin < text.text.n && p[begin] - '0' >= 10u)
        begin++;
    for (end = begin; end < text.text.n && p[end] - '0' < 10u;)
        end++;
    for (size_t i = 0; i < text.text.n; i++) {
        if (i > begin && i < end && (end - i) % 3 == 0)
            write_string(run, ",");
        write_text(run, text_part(text, i, 1));
    }
    return run_since(run, from);
}

static void write_place(struct run *run, const struct spec *spec, struct datum value)
{
    bool texts = spec->kind == 's' || spec->kind == 'r' ||
                 (spec->kind == 0 && !(spec->precision >= 0 && datum_is_number(value)));
    struct datum text;
    if (texts && spec->kind == 'r') {
        size_t from = run->n_out;
        write_repr(run, value);
        text = run_since(run, from);
    } else
        text = texts ? datum_str(run, value) : number_text(run, spec, value);
    if (texts && spec->precision >= 0 && text.kind == D_TEXT)
        text = text_part(text, 0, text_offset(text_bytes_of(text), (size_t)spec->precision));
    if (spec->commas)
        text = with_commas(run, text);
    if (!run->failed)
        write_padded(run, spec, text, !texts || datum_is_number(value));
}

static size_t read_number(struct bytes text, size_t at, int *out)
{
    *out = 0;
    for (; at < text.n && text.p[at] - '0' < 10u; at++)
        *out = *out < WIDTH_MOST ? *out * 10 + text.p[at] - '0' : WIDTH_MOST;
    return at;
}

// ---- % ------------------------------------------------------------------------------------------

static size_t read_percent(struct bytes text, size_t at, struct spec *spec)
{
    *spec = (struct spec){.precision = -1};
    for (; at < text.n && text.p[at] && strchr("-+ 0#", text.p[at]); at++) {
        spec->left = spec->left || text.p[at] == '-';
        spec->plus = spec->plus || text.p[at] == '+';
        spec->blank = spec->blank || text.p[at] == ' ';
        spec->zero = spec->zero || text.p[at] == '0';
    }
    at = read_number(text, at, &spec->width);
    if (at < text.n && text.p[at] == '.')
        at = read_number(text, at + 1, &spec->precision);
    spec->kind = at < text.n ? (char)text.p[at] : 0;
    return at + 1;
}

// "%(name)s": the place behind the bracket, and its value; `at` is returned when there is none.
static size_t read_key(struct run *run, struct datum format, size_t at, const struct args *args,
                       struct datum *value)
{
    struct bytes text = text_bytes_of(format);
    const uint8_t *end =
        at < text.n && text.p[at] == '(' ? memchr(text.p + at, ')', text.n - at) : NULL;
    if (!end)
        return at;
    size_t n = (size_t)(end - text.p) - at - 1;
    struct bytes name = {text.p + at + 1, n};
    for (size_t i = 0; i < args->n_named; i++)
        if (bytes_equal(text_bytes_of(args->named[i].key), name))
            *value = args->named[i].value;
    const struct datum *found = args->n == 1 && args->p[0].kind == D_DICT
                                    ? dict_get_text(run, args->p[0].dict, name)
                                    : NULL;
    if (found)
        *value = *found;
    else if (value->kind == D_MISSING)
        run_fail(run, BAD_INPUT, "the pattern names what is not given");
    return at + n + 2;
}

struct datum text_percent(struct run *run, struct datum format, const struct args *args)
{
    struct bytes text = text_bytes_of(format);
    size_t begin = run->n_out, n_used = 0;
    for (size_t at = 0; at < text.n && run_charge(run, 1);) {
        size_t end = at;
        struct spec spec;
        struct datum value = datum_of(D_MISSING);
        while (end < text.n && text.p[end] != '%')
            end++;
        write_text(run, text_part(format, at, end - at));
        if (end == text.n)
            break;
        at = read_percent(text, read_key(run, format, end + 1, args, &value), &spec);
        if (spec.kind == '%') {
            write_string(run, "%");
            continue;
        }
        if (!spec.kind || !strchr("sdirxXofFeEgG", spec.kind))
            run_fail(run, UNSUPPORTED, "a pattern with '%%%c'", spec.kind ? spec.kind : ' ');
        if (value.kind == D_MISSING && n_used < args->n)
            value = args->p[n_used++];
        if (value.kind == D_MISSING)
            run_fail(run, BAD_INPUT, "the pattern has more places than there are values");
        if (!run->failed)
            write_place(run, &spec, value);
    }
    if (n_used < args->n && !(args->n == 1 && args->p[0].kind == D_DICT))
        run_fail(run, BAD_INPUT, "the pattern has fewer places than there are values");
    return run_since(run, begin);
}

// ---- format -------------------------------------------------------------------------------------

static bool read_format_spec(struct bytes text, struct spec *spec)
{
    size_t at = 0;
    bool filled = text.n > 1 && strchr("<>^", text.p[1]);
    *spec = (struct spec){.precision = -1, .left = true};
    if (filled)
        spec->fill = (char)text.p[at++];
    if (at < text.n && text.p[at] && strchr("<>^", text.p[at])) {
        spec->left = text.p[at] == '<';
        spec->center = text.p[at++] == '^';
    }
    if (at < text.n && text.p[at] && strchr("+- ", text.p[at])) {
        spec->plus = text.p[at] == '+';
        spec->blank = text.p[at++] == ' ';
    }
    if (at < text.n && text.p[at] == '0') {
        spec->zero = true;
        spec->left = false;
    }
    at = read_number(text, at, &spec->width);
    if (at < text.n && text.p[at] == ',') {
        spec->commas = true;
        at++;
    }
    if (at < text.n && text.p[at] == '.')
        at = read_number(text, at + 1, &spec->precision);
    if (at < text.n)
        spec->kind = (char)text.p[at++];
    return at == text.n && (!spec->kind || strchr("sdxXofFeEgG%", spec->kind));
}

static struct datum place_value(const struct calling *call, struct bytes name, size_t *n_used)
{
    const struct args *args = call->args;
    int at;
    if (name.n == 0)
        return *n_used < args->n ? args->p[(*n_used)++] : datum_of(D_MISSING);
    if (read_number(name, 0, &at) == name.n)
        return (size_t)at < args->n ? args->p[at] : datum_of(D_MISSING);
    for (size_t i = 0; i < args->n_named; i++)
        if (bytes_equal(text_bytes_of(args->named[i].key), name))
            return args->named[i].value;
    return datum_of(D_MISSING);
}

// One {name:spec}, without its brackets.
static void write_field(const struct calling *call, struct bytes field, size_t *n_used)
{
    struct run *run = call->run;
    size_t n = 0;
    struct spec spec;
    while (n < field.n && field.p[n] != ':' && field.p[n] != '!')
        n++;
    struct datum value = place_value(call, (struct bytes){field.p, n}, n_used);
    bool repr = n + 1 < field.n && field.p[n] == '!';
    char how = repr ? (char)field.p[n + 1] : 0;
    n = repr ? n + 2 : n;
    struct bytes rest = {field.p + n, field.n - n};
    if (rest.n > 0)
        rest = (struct bytes){rest.p + 1, rest.n - 1};
    if (!read_format_spec(rest, &spec) || (repr && how != 'r' && how != 's'))
        run_fail(run, UNSUPPORTED, "a pattern of format() that is not known");
    else if (value.kind == D_MISSING)
        run_fail(run, BAD_INPUT, "format(): the pattern names what is not given");
    if (run->failed)
        return;
    if (how == 'r')
        spec.kind = 'r';
    if (datum_is_number(value) && rest.n > 0 && !memchr(rest.p, '<', rest.n) && how == 0)
        spec.left = false; // numbers stand at the right
    write_place(run, &spec, value);
}

struct datum text_format(const struct calling *call)
{
    struct run *run = call->run;
    struct bytes text = text_bytes_of(call->in);
    size_t begin = run->n_out, n_used = 0;
    for (size_t at = 0; at < text.n && run_charge(run, 1);) {
        bool twice = at + 1 < text.n && text.p[at + 1] == text.p[at];
        size_t end = at;
        while (end < text.n && text.p[end] != '{' && text.p[end] != '}')
            end++;
        if (end > at) {
            write_text(run, text_part(call->in, at, end - at));
            at = end;
        } else if (twice) {
            write_text(run, text_part(call->in, at, 1));
            at += 2;
        } else {
            while (end < text.n && text.p[end] != '}')
                end++;
            if (end == text.n || text.p[at] == '}')
                run_fail(run, BAD_INPUT, "format(): a bracket stands alone");
            else
                write_field(call, (struct bytes){text.p + at + 1, end - at - 1}, &n_used);
            at = end + 1;
        }
    }
    return run_since(run, begin);
}
