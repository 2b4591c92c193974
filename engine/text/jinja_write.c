// jinja_write.c - values as text: as Python's str() and repr() write them, and as JSON the way
// json.dumps does.
//
// Everything is written at the end of the run's output; datum_str and the like take it back from
// there.
#include "jinja_inside.h"
#include "inside.h"

#include <math.h>
#include <stdlib.h>

void write_text(struct run *run, struct datum text)
{
    run_write(run, text.text.p, text.text.n, text.text.client);
}

void write_string(struct run *run, const char *text)
{
    run_write(run, text, strlen(text), NULL);
}

static void write_whole(struct run *run, int64_t whole)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)whole);
    write_string(run, text);
}

// The shortest digits that give the same number, in Python's notation.
static void write_real(struct run *run, double real)
{
    char digits[40], text[48];
    if (isnan(real) || isinf(real)) {
        write_string(run, isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
        return;
    }
    int n = 1;
    do
        snprintf(digits, sizeof(digits), "%.*e", n - 1, real);
    while (strtod(digits, NULL) != real && n++ < 17);
    const char *e = strchr(digits, 'e');
    long power = e ? strtol(e + 1, NULL, 10) : 0;
    if (power < -4 || power >= 16) {
        size_t length = (size_t)(e - digits);
        snprintf(text, sizeof(text), "%.*se%c%02ld", (int)length, digits, power < 0 ? '-' : '+',
                 labs(power));
    } else
        snprintf(text, sizeof(text), "%.*f", n - 1 > power ? (int)(n - 1 - power) : 1, real);
    write_string(run, text);
}

// ---- repr ---------------------------------------------------------------------------------------

static bool is_printable(uint32_t point)
{
    if (point < 0x80)
        return point >= ' ' && point < 0x7f;
    if (point < 0xa1 || point == 0xad || (point >= 0x200b && point <= 0x200f) ||
        (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) ||
        (point >= 0xe000 && point <= 0xf8ff) || point == 0xfeff)
        return false;
    enum category category = unicode_category(point);
    return category != SPACE && category != CONTROL;
}

static void write_point_escape(struct run *run, uint32_t point)
{
    char text[16];
    const char *letter = point == '\n' ? "\\n" : point == '\r' ? "\\r" : point == '\t' ? "\\t" : "";
    snprintf(text, sizeof(text),
             point < 0x100     ? "\\x%02x"
             : point < 0x10000 ? "\\u%04x"
                               : "\\U%08x",
             point);
    write_string(run, *letter ? letter : text);
}

static void write_text_repr(struct run *run, struct datum text)
{
    bool single = memchr(text.text.p, '\'', text.text.n) != NULL,
         twice = memchr(text.text.p, '"', text.text.n) != NULL;
    char quote = single && !twice ? '"' : '\'';
    size_t done = 0;
    if (!run_charge(run, text.text.n / 8)) // every character is looked at: dearer than a copy
        return;
    run_write(run, &quote, 1, NULL);
    for (size_t at = 0; at < text.text.n && !run->failed;) {
        uint32_t point = 0;
        size_t n = unicode_decode(text.text.p + at, text.text.n - at, &point);
        bool marked = point == (uint32_t)quote || point == '\\';
        if (marked || n == 0 || !is_printable(point)) {
            write_text(run, text_part(text, done, at - done));
            if (marked)
                write_string(run, "\\");
            else
                write_point_escape(run, n ? point : text.text.p[at]);
            done = marked ? at : at + (n ? n : 1);
        }
        at += n ? n : 1;
    }
    write_text(run, text_part(text, done, text.text.n - done));
    run_write(run, &quote, 1, NULL);
}

static void write_list(struct run *run, const struct list *list)
{
    bool tuple = list->sequence == TUPLE;
    write_string(run, tuple ? "(" : "[");
    for (size_t i = 0; i < list->n && !run->failed; i++) {
        if (i > 0)
            write_string(run, ", ");
        write_repr(run, list->p[i]);
    }
    write_string(run, tuple ? list->n == 1 ? ",)" : ")" : "]");
}

static void write_sequence(struct run *run, const struct list *list)
{
    static const char *const views[] = {
        [KEYS] = "dict_keys(", [VALUES] = "dict_values(", [ITEMS] = "dict_items("};
    if (list->sequence == GENERATOR)
        write_string(run, "<generator object>");
    else if (list->sequence == RANGE) {
        int64_t step = list->n > 1 ? list->p[1].whole - list->p[0].whole : 1,
                first = list->n > 0 ? list->p[0].whole : 0;
        write_string(run, "range(");
        write_whole(run, first);
        write_string(run, ", ");
        write_whole(run, first + step * (int64_t)list->n);
        if (step != 1) {
            write_string(run, ", ");
            write_whole(run, step);
        }
        write_string(run, ")");
    } else if (list->sequence == LIST || list->sequence == TUPLE)
        write_list(run, list);
    else {
        struct list plain = *list;
        plain.sequence = LIST;
        write_string(run, views[list->sequence]);
        write_list(run, &plain);
        write_string(run, ")");
    }
}

static void write_dict(struct run *run, const struct dict *dict)
{
    write_string(run, "{");
    for (size_t i = 0; i < dict->n && !run->failed; i++) {
        if (i > 0)
            write_string(run, ", ");
        write_repr(run, dict->p[i].key);
        write_string(run, ": ");
        write_repr(run, dict->p[i].value);
    }
    write_string(run, "}");
}

void write_repr(struct run *run, struct datum datum)
{
    if (++run->depth > RUN_DEPTH)
        run_fail(run, TOO_LARGE, "values are nested too deep");
    if (!run->failed && run_charge(run, 1)) {
        if (datum.kind == D_TEXT && datum.safe) {
            write_string(run, "Markup(");
            write_text_repr(run, datum);
            write_string(run, ")");
        } else if (datum.kind == D_TEXT)
            write_text_repr(run, datum);
        else if (datum.kind == D_UNDEFINED)
            write_string(run, "Undefined");
        else
            write_str(run, datum);
    }
    run->depth--;
}

void write_str(struct run *run, struct datum datum)
{
    switch (datum.kind) {
    case D_MISSING:
    case D_UNDEFINED:
        break;
    case D_NONE:
        write_string(run, "None");
        break;
    case D_BOOL:
        write_string(run, datum.yes ? "True" : "False");
        break;
    case D_WHOLE:
        write_whole(run, datum.whole);
        break;
    case D_REAL:
        write_real(run, datum.real);
        break;
    case D_TEXT:
        write_text(run, datum);
        break;
    case D_LIST:
        write_sequence(run, datum.list);
        break;
    case D_DICT:
        write_dict(run, datum.dict);
        break;
    case D_NAMESPACE:
        write_string(run, "<Namespace ");
        write_dict(run, datum.dict);
        write_string(run, ">");
        break;
    default:
        write_string(run, "<");
        write_string(run, datum_type(datum));
        write_string(run, ">");
    }
}

struct datum datum_str(struct run *run, struct datum datum)
{
    if (datum.kind == D_TEXT)
        return datum;
    size_t from = run->n_out;
    write_str(run, datum);
    return run_since(run, from);
}

// ---- markup -------------------------------------------------------------------------------------

// & < > " '
static void write_escaped(struct run *run, struct datum text)
{
    size_t done = 0;
    for (size_t at = 0; at < text.text.n && !run->failed; at++) {
        const char *name = text.text.p[at] == '&'    ? "&amp;"
                           : text.text.p[at] == '<'  ? "&lt;"
                           : text.text.p[at] == '>'  ? "&gt;"
                           : text.text.p[at] == '"'  ? "&#34;"
                           : text.text.p[at] == '\'' ? "&#39;"
                                                     : NULL;
        if (!name)
            continue;
        write_text(run, text_part(text, done, at - done));
        write_string(run, name);
        done = at + 1;
    }
    write_text(run, text_part(text, done, text.text.n - done));
}

struct datum datum_escape(struct run *run, struct datum text)
{
    text = datum_str(run, text);
    if (text.safe || text.kind != D_TEXT)
        return text;
    size_t from = run->n_out;
    write_escaped(run, text);
    text = run_since(run, from);
    text.safe = true;
    return text;
}

// ---- JSON ---------------------------------------------------------------------------------------

struct dump {
    struct run *run;
    bool ascii, sorted;
    struct datum indent, between, colon; // indent: NONE, or the text of one level
};

static void dump_string(struct dump *d, struct datum text)
{
    static const char letters[] = "\"\\\n\r\t\f\b", names[] = "\"\\nrtfb";
    char escape[16];
    size_t done = 0;
    write_string(d->run, "\"");
    for (size_t at = 0, n; at < text.text.n && !d->run->failed; at += n) {
        uint8_t c = text.text.p[at];
        uint32_t point = c;
        const char *letter = c ? strchr(letters, c) : NULL;
        n = 1;
        if (d->ascii && c >= 0x80)
            n = unicode_decode(text.text.p + at, text.text.n - at, &point);
        n = n ? n : 1;
        if (!letter && c >= ' ' && !(d->ascii && c >= 0x7f))
            continue;
        write_text(d->run, text_part(text, done, at - done));
        if (letter)
            snprintf(escape, sizeof(escape), "\\%c", names[letter - letters]);
        else if (point < 0x10000)
            snprintf(escape, sizeof(escape), "\\u%04x", point);
        else
            snprintf(escape, sizeof(escape), "\\u%04x\\u%04x", 0xd7c0 + (point >> 10),
                     0xdc00 + (point & 0x3ff));
        write_string(d->run, escape);
        done = at + n;
    }
    write_text(d->run, text_part(text, done, text.text.n - done));
    write_string(d->run, "\"");
}

static void dump_value(struct dump *d, struct datum datum, int level);

static void dump_line(struct dump *d, int level)
{
    if (d->indent.kind != D_TEXT)
        return;
    write_string(d->run, "\n");
    for (int i = 0; i < level && !d->run->failed; i++)
        write_text(d->run, d->indent);
}

static void dump_list(struct dump *d, const struct list *list, int level)
{
    write_string(d->run, "[");
    for (size_t i = 0; i < list->n && !d->run->failed; i++) {
        if (i > 0)
            write_text(d->run, d->between);
        dump_line(d, level + 1);
        dump_value(d, list->p[i], level + 1);
    }
    if (list->n > 0)
        dump_line(d, level);
    write_string(d->run, "]");
}

static void dump_key(struct dump *d, struct datum key)
{
    bool quoted = key.kind == D_NONE || datum_is_number(key);
    if (key.kind == D_TEXT)
        dump_string(d, key);
    else if (quoted) {
        write_string(d->run, "\"");
        dump_value(d, key, 0);
        write_string(d->run, "\"");
    } else
        run_fail(d->run, BAD_INPUT, "tojson: a '%s' cannot be a key", datum_type(key));
}

static int by_key(struct run *run, const struct key_value *a, const struct key_value *b)
{
    return datum_order(run, a->key, b->key, "<");
}

// Insertion into a copy: few objects have many members; each step is counted.
static const struct key_value *sorted_pairs(struct run *run, const struct dict *dict)
{
    struct key_value *p = run_take(run, (dict->n + 1) * sizeof(*p));
    for (size_t i = 0; i < dict->n && !run->failed; i++) {
        size_t at = i;
        for (; at > 0 && by_key(run, &p[at - 1], &dict->p[i]) > 0; at--)
            p[at] = p[at - 1];
        p[at] = dict->p[i];
    }
    return p;
}

static void dump_dict(struct dump *d, const struct dict *dict, int level)
{
    const struct key_value *p = d->sorted ? sorted_pairs(d->run, dict) : dict->p;
    write_string(d->run, "{");
    for (size_t i = 0; i < dict->n && !d->run->failed; i++) {
        if (i > 0)
            write_text(d->run, d->between);
        dump_line(d, level + 1);
        dump_key(d, p[i].key);
        write_text(d->run, d->colon);
        dump_value(d, p[i].value, level + 1);
    }
    if (dict->n > 0)
        dump_line(d, level);
    write_string(d->run, "}");
}

static void dump_value(struct dump *d, struct datum datum, int level)
{
    if (++d->run->depth > RUN_DEPTH)
        run_fail(d->run, TOO_LARGE, "values are nested too deep");
    if (run_charge(d->run, 1)) {
        if (datum.kind == D_TEXT)
            dump_string(d, datum);
        else if (datum.kind == D_NONE)
            write_string(d->run, "null");
        else if (datum.kind == D_BOOL)
            write_string(d->run, datum.yes ? "true" : "false");
        else if (datum.kind == D_REAL && (isnan(datum.real) || isinf(datum.real)))
            write_string(d->run, isnan(datum.real) ? "NaN"
                                 : datum.real > 0  ? "Infinity"
                                                   : "-Infinity");
        else if (datum.kind == D_WHOLE || datum.kind == D_REAL)
            write_str(d->run, datum);
        else if (datum.kind == D_DICT)
            dump_dict(d, datum.dict, level);
        else if (datum.kind == D_LIST && datum.list->sequence <= TUPLE)
            dump_list(d, datum.list, level);
        else
            run_fail(d->run, BAD_INPUT, "tojson: a '%s' is not JSON", datum_type(datum));
    }
    d->run->depth--;
}

// What one level is indented by: a number of spaces, or a text.
static struct datum indent_of(struct run *run, struct datum indent)
{
    int64_t n = 0;
    if (indent.kind == D_MISSING || indent.kind == D_NONE || indent.kind == D_TEXT ||
        !datum_whole_of(run, indent, &n, "tojson's indent"))
        return indent;
    size_t from = run->n_out;
    for (int64_t i = 0; i < n && i < 64; i++)
        write_string(run, " ");
    return run_since(run, from);
}

// ensure_ascii, indent, separators, sort_keys
struct datum write_tojson(const struct calling *call)
{
    struct run *run = call->run;
    struct dump d = {.run = run,
                     .ascii = datum_true(call->arg[0]),
                     .sorted = datum_true(call->arg[3]),
                     .colon = datum_text(": ")};
    d.indent = indent_of(run, call->arg[1]);
    d.between = datum_text(d.indent.kind == D_TEXT ? "," : ", ");
    struct datum separators = call->arg[2];
    if (separators.kind != D_MISSING && separators.kind != D_NONE) {
        if (separators.kind == D_LIST && separators.list->n == 2 &&
            separators.list->p[0].kind == D_TEXT && separators.list->p[1].kind == D_TEXT) {
            d.between = separators.list->p[0];
            d.colon = separators.list->p[1];
        } else
            run_fail(run, BAD_INPUT, "tojson: separators must be two texts");
    }
    size_t from = run->n_out;
    dump_value(&d, call->in, 0);
    return run_since(run, from);
}
