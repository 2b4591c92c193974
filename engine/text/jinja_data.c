// jinja_data.c - the values of templates, and what Python says of them: truth, equality, order,
// length, items.
//
// Texts are views: parts of them share their bytes, and the record of who wrote each byte.
#include "jinja_inside.h"

#include <math.h>

const uint8_t all_client[1] = {1};

struct datum datum_of(enum datum_kind kind)
{
    return (struct datum){.kind = kind};
}

struct datum datum_bool(bool yes)
{
    struct datum datum = datum_of(D_BOOL);
    datum.yes = yes;
    return datum;
}

struct datum datum_whole(int64_t whole)
{
    struct datum datum = datum_of(D_WHOLE);
    datum.whole = whole;
    return datum;
}

struct datum datum_real(double real)
{
    struct datum datum = datum_of(D_REAL);
    datum.real = real;
    return datum;
}

struct datum datum_view(struct bytes text, const uint8_t *client)
{
    struct datum datum = datum_of(D_TEXT);
    datum.text.p = text.p;
    datum.text.n = text.n;
    datum.text.client = client;
    return datum;
}

struct datum datum_text(const char *text)
{
    return datum_view(bytes_of(text), NULL);
}

struct datum datum_undefined(struct bytes name, const char *owner)
{
    struct datum datum = datum_of(D_UNDEFINED);
    datum.name = name.p;
    datum.n_name = name.n;
    datum.owner = owner;
    return datum;
}

struct datum text_part(struct datum text, size_t from, size_t n)
{
    text.text.p += from;
    text.text.n = n;
    if (text.text.client && text.text.client != all_client)
        text.text.client += from;
    return text;
}

struct bytes text_bytes_of(struct datum text)
{
    return (struct bytes){text.text.p, text.text.n};
}

bool datum_is(struct datum text, const char *what)
{
    return text.kind == D_TEXT && bytes_equal_text(text_bytes_of(text), what);
}

const char *datum_type(struct datum datum)
{
    static const char *const sequences[] = {"list",        "tuple",      "generator", "dict_keys",
                                            "dict_values", "dict_items", "range"};
    static const char *const names[] = {"Undefined", "Undefined",   "NoneType", "bool",
                                        "int",       "float",       "str",      "list",
                                        "dict",      "Namespace",   "Macro",    "function",
                                        "method",    "LoopContext", "Cycler",   "Joiner"};
    return datum.kind == D_LIST ? sequences[datum.list->sequence] : names[datum.kind];
}

bool datum_true(struct datum datum)
{
    switch (datum.kind) {
    case D_MISSING:
    case D_UNDEFINED:
    case D_NONE:
        return false;
    case D_BOOL:
        return datum.yes;
    case D_WHOLE:
        return datum.whole != 0;
    case D_REAL:
        return datum.real != 0;
    case D_TEXT:
        return datum.text.n > 0;
    case D_LIST:
        return datum.list->sequence == GENERATOR || datum.list->n > 0;
    case D_DICT:
        return datum.dict->n > 0;
    default:
        return true;
    }
}

bool datum_is_number(struct datum datum)
{
    return datum.kind == D_BOOL || datum.kind == D_WHOLE || datum.kind == D_REAL;
}

double datum_number(struct datum datum)
{
    return datum.kind == D_REAL   ? datum.real
           : datum.kind == D_BOOL ? (double)datum.yes
                                  : (double)datum.whole;
}

bool datum_whole_of(struct run *run, struct datum datum, int64_t *out, const char *what)
{
    if (datum.kind == D_BOOL)
        *out = datum.yes;
    else if (datum.kind == D_WHOLE)
        *out = datum.whole;
    else
        run_fail(run, BAD_INPUT, "%s must be a whole number, not '%s'", what, datum_type(datum));
    return !run->failed;
}

void undefined_fail(struct run *run, struct datum undefined)
{
    char name[NAME_TEXT];
    name_text(name, (struct bytes){undefined.name, undefined.n_name});
    if (undefined.owner)
        run_fail(run, BAD_INPUT, "'%s' has no member '%s'", undefined.owner, name);
    else
        run_fail(run, BAD_INPUT, "'%s' is undefined", name);
}

// ---- order --------------------------------------------------------------------------------------

static bool lists_equal(struct run *run, const struct list *a, const struct list *b)
{
    if (a->n != b->n || (a->sequence != b->sequence))
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!datum_equal(run, a->p[i], b->p[i]))
            return false;
    return true;
}

static bool dicts_equal(struct run *run, const struct dict *a, const struct dict *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct datum *other = dict_get(run, b, a->p[i].key);
        if (!other || !datum_equal(run, a->p[i].value, *other))
            return false;
    }
    return true;
}

static bool same_kind_equal(struct run *run, struct datum a, struct datum b)
{
    switch (a.kind) {
    case D_UNDEFINED:
    case D_NONE:
        return true;
    case D_TEXT:
        return run_charge(run, a.text.n / 64) && bytes_equal(text_bytes_of(a), text_bytes_of(b));
    case D_LIST:
        return a.list == b.list ||
               (a.list->sequence != GENERATOR && lists_equal(run, a.list, b.list));
    case D_DICT:
        return a.dict == b.dict || dicts_equal(run, a.dict, b.dict);
    default:
        return a.dict == b.dict; // the same thing
    }
}

bool datum_equal(struct run *run, struct datum a, struct datum b)
{
    if (!run_charge(run, 1))
        return false;
    if (datum_is_number(a) && datum_is_number(b))
        return a.kind == D_REAL || b.kind == D_REAL
                   ? datum_number(a) == datum_number(b)
                   : (a.kind == D_BOOL ? a.yes : a.whole) == (b.kind == D_BOOL ? b.yes : b.whole);
    if (a.kind != b.kind)
        return false;
    if (++run->depth > RUN_DEPTH)
        run_fail(run, TOO_LARGE, "values are nested too deep");
    bool equal = !run->failed && same_kind_equal(run, a, b);
    run->depth--;
    return equal;
}

static int bytes_order(struct bytes a, struct bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

int datum_order(struct run *run, struct datum a, struct datum b, const char *sign)
{
    if (!run_charge(run, 1))
        return 0;
    if (datum_is_number(a) && datum_is_number(b)) {
        double x = datum_number(a), y = datum_number(b);
        return (x > y) - (x < y);
    }
    if (a.kind == D_TEXT && b.kind == D_TEXT)
        return run_charge(run, a.text.n / 64) ? bytes_order(text_bytes_of(a), text_bytes_of(b)) : 0;
    if (a.kind == D_LIST && b.kind == D_LIST && a.list->sequence == b.list->sequence &&
        a.list->sequence <= TUPLE) {
        size_t n = a.list->n < b.list->n ? a.list->n : b.list->n;
        if (++run->depth > RUN_DEPTH)
            run_fail(run, TOO_LARGE, "values are nested too deep");
        int order = 0;
        for (size_t i = 0; i < n && order == 0 && !run->failed; i++)
            if (!datum_equal(run, a.list->p[i], b.list->p[i]))
                order = datum_order(run, a.list->p[i], b.list->p[i], sign);
        run->depth--;
        return order ? order : (a.list->n > b.list->n) - (a.list->n < b.list->n);
    }
    if (a.kind == D_UNDEFINED || b.kind == D_UNDEFINED)
        undefined_fail(run, a.kind == D_UNDEFINED ? a : b);
    else
        run_fail(run, BAD_INPUT, "'%s' cannot stand between '%s' and '%s'", sign, datum_type(a),
                 datum_type(b));
    return 0;
}

bool datum_contains(struct run *run, struct datum in, struct datum what)
{
    struct list items;
    if (in.kind == D_TEXT) {
        if (what.kind != D_TEXT) {
            run_fail(run, BAD_INPUT, "'in' a text must have a text on its left, not '%s'",
                     datum_type(what));
            return false;
        }
        return text_find(run, text_bytes_of(in), text_bytes_of(what), 0) != SIZE_MAX;
    }
    if (in.kind == D_DICT)
        return dict_get(run, in.dict, what) != NULL;
    if (!datum_iterate(run, in, &items))
        return false;
    for (size_t i = 0; i < items.n && !run->failed; i++)
        if (datum_equal(run, items.p[i], what))
            return true;
    return false;
}

// ---- lists and dicts ----------------------------------------------------------------------------

struct datum list_new(struct run *run, enum sequence sequence, size_t n)
{
    struct datum datum = datum_of(D_LIST);
    struct list *list = run_take(run, sizeof(*list));
    static struct list nowhere;
    datum.list = list ? list : &nowhere;
    if (!list)
        return datum_of(D_NONE);
    list->sequence = sequence;
    if (n > SIZE_MAX / sizeof(*list->p) / 2)
        run_fail(run, TOO_LARGE, "a list of %zu items", n);
    else
        list->p = run_take(run, n * sizeof(*list->p));
    if (!list->p)
        return datum_of(D_NONE);
    list->n = list->allocated = n;
    return datum;
}

void list_add(struct run *run, struct list *list, struct datum item)
{
    if (list->n == list->allocated) {
        size_t n = list->allocated ? 2 * list->allocated : 8;
        struct datum *p = run_take(run, n * sizeof(*p));
        if (!p)
            return;
        if (list->n > 0)
            memcpy(p, list->p, list->n * sizeof(*p));
        list->p = p;
        list->allocated = n;
    }
    if (run_charge(run, 1))
        list->p[list->n++] = item;
}

struct datum dict_new(struct run *run, enum datum_kind kind)
{
    struct datum datum = datum_of(kind);
    datum.dict = run_take(run, sizeof(*datum.dict));
    return datum.dict ? datum : datum_of(D_NONE);
}

struct datum *dict_get_text(struct run *run, const struct dict *dict, struct bytes key)
{
    size_t i = dict->n;
    while (i > 0) {
        const struct datum *at = &dict->p[i - 1].key;
        if (at->kind == D_TEXT && at->text.n == key.n &&
            (key.n == 0 || memcmp(at->text.p, key.p, key.n) == 0))
            break;
        i--;
    }
    (void)run_charge(run, (dict->n - i) / 8);
    return i > 0 ? &dict->p[i - 1].value : NULL;
}

struct datum *dict_get(struct run *run, const struct dict *dict, struct datum key)
{
    if (key.kind == D_TEXT)
        return dict_get_text(run, dict, text_bytes_of(key));
    bool loose = key.kind == D_DICT || (key.kind == D_LIST && key.list->sequence == LIST);
    if (loose)
        run_fail(run, BAD_INPUT, "a '%s' cannot be a key", datum_type(key));
    for (size_t i = dict->n; i > 0 && !run->failed; i--)
        if (datum_equal(run, dict->p[i - 1].key, key))
            return &dict->p[i - 1].value;
    return NULL;
}

void dict_set(struct run *run, struct dict *dict, struct datum key, struct datum value)
{
    struct datum *there = dict_get(run, dict, key);
    if (there)
        *there = value;
    if (there || run->failed)
        return;
    if (dict->n == dict->allocated) {
        size_t n = dict->allocated ? 2 * dict->allocated : 8;
        struct key_value *p = run_take(run, n * sizeof(*p));
        if (!p)
            return;
        if (dict->n > 0)
            memcpy(p, dict->p, dict->n * sizeof(*p));
        dict->p = p;
        dict->allocated = n;
    }
    dict->p[dict->n++] = (struct key_value){key, value};
}

// ---- items --------------------------------------------------------------------------------------

size_t text_offset(struct bytes text, size_t n_points)
{
    size_t at = 0;
    for (; at < text.n; at++)
        if ((text.p[at] & 0xc0) != 0x80 && n_points-- == 0)
            break;
    return at;
}

static bool text_iterate(struct run *run, struct datum text, struct list *out)
{
    struct datum list = list_new(run, LIST, utf8_length(text_bytes_of(text)));
    if (run->failed || !run_charge(run, text.text.n))
        return false;
    size_t at = 0, i = 0;
    while (at < text.text.n) {
        size_t end = at + 1;
        while (end < text.text.n && (text.text.p[end] & 0xc0) == 0x80)
            end++;
        list.list->p[i++] = text_part(text, at, end - at);
        at = end;
    }
    *out = *list.list;
    return true;
}

bool datum_iterate(struct run *run, struct datum datum, struct list *out)
{
    *out = (struct list){.sequence = LIST};
    switch (datum.kind) {
    case D_UNDEFINED:
        break;
    case D_TEXT:
        return text_iterate(run, datum, out);
    case D_LIST:
        *out = *datum.list;
        out->allocated = out->n; // what is added to the original is not seen
        if (datum.list->sequence == GENERATOR)
            datum.list->n = 0;
        break;
    case D_DICT: {
        struct datum keys = list_new(run, LIST, datum.dict->n);
        for (size_t i = 0; i < datum.dict->n && !run->failed; i++)
            keys.list->p[i] = datum.dict->p[i].key;
        if (!run->failed)
            *out = *keys.list;
        break;
    }
    default:
        run_fail(run, BAD_INPUT, "a '%s' has no items", datum_type(datum));
    }
    return !run->failed;
}

bool datum_length(struct run *run, struct datum datum, size_t *n)
{
    *n = 0;
    if (datum.kind == D_TEXT)
        *n = run_charge(run, datum.text.n / 16) ? utf8_length(text_bytes_of(datum)) : 0;
    else if (datum.kind == D_LIST && datum.list->sequence != GENERATOR)
        *n = datum.list->n;
    else if (datum.kind == D_DICT)
        *n = datum.dict->n;
    else if (datum.kind == D_LOOP)
        *n = datum.loop->n;
    else if (datum.kind != D_UNDEFINED)
        run_fail(run, BAD_INPUT, "a '%s' has no length", datum_type(datum));
    return !run->failed;
}

// ---- what comes from outside --------------------------------------------------------------------

static struct datum from_list(struct run *run, const struct value *value, const uint8_t *client,
                              int depth)
{
    struct datum list = list_new(run, LIST, value->list.n);
    for (size_t i = 0; i < value->list.n && !run->failed; i++)
        list.list->p[i] = datum_from_value(run, &value->list.items[i], client, depth + 1);
    return list;
}

static struct datum from_dict(struct run *run, const struct value *value, const uint8_t *client,
                              int depth)
{
    struct datum dict = dict_new(run, D_DICT);
    struct key_value *p = run_take(run, value->dict.n * sizeof(*p));
    for (size_t i = 0; i < value->dict.n && !run->failed; i++) {
        const struct member *member = &value->dict.members[i];
        p[i].key = datum_view(member->name, client);
        p[i].value = datum_from_value(run, &member->value, client, depth + 1);
    }
    if (!run->failed)
        *dict.dict = (struct dict){p, value->dict.n, value->dict.n};
    return dict;
}

struct datum datum_from_value(struct run *run, const struct value *value, const uint8_t *client,
                              int depth)
{
    if (depth > VALUE_DEPTH)
        run_fail(run, TOO_LARGE, "values are nested deeper than %d", VALUE_DEPTH);
    if (run->failed)
        return datum_of(D_NONE);
    switch (value->kind) {
    case VALUE_NULL:
        return datum_of(D_NONE);
    case VALUE_BOOL:
        return datum_bool(value->yes);
    case VALUE_WHOLE:
        return datum_whole(value->whole);
    case VALUE_REAL:
        return datum_real(value->real);
    case VALUE_TEXT:
        return datum_view(value->text, client);
    case VALUE_LIST:
        return from_list(run, value, client, depth);
    case VALUE_DICT:
        return from_dict(run, value, client, depth);
    }
    return datum_of(D_NONE);
}
