// jinja_text.c - the methods of texts, as Python's str has them.
//
// Places and lengths count characters, not bytes. What a method takes out of a text stays a view of
// it. Upper case is the simple one, a character for a character: the German sharp s stays.
#include "jinja_inside.h"
#include "inside.h"

// ---- tools --------------------------------------------------------------------------------------

size_t text_find(struct run *run, struct bytes in, struct bytes what, size_t from)
{
    if (from > in.n || in.n - from < what.n)
        return SIZE_MAX;
    if (what.n == 0)
        return from;
    const uint8_t *found = memmem(in.p + from, in.n - from, what.p, what.n);
    size_t end = found ? (size_t)(found - in.p) : in.n;
    return run_charge(run, (end - from) / 64) && found ? end : SIZE_MAX;
}

struct bytes text_wanted(struct run *run, struct datum datum, const char *method)
{
    if (datum.kind == D_TEXT)
        return text_bytes_of(datum);
    if (datum.kind == D_UNDEFINED)
        undefined_fail(run, datum);
    run_fail(run, BAD_INPUT, "%s() wants a text, not '%s'", method, datum_type(datum));
    return bytes_of("");
}

bool datum_given(struct datum datum)
{
    return datum.kind != D_MISSING && datum.kind != D_NONE;
}

static bool point_in(struct bytes set, const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < set.n;) {
        size_t length = unicode_length(set.p[at]);
        length = length > set.n - at ? set.n - at : length;
        if (length == n && memcmp(set.p + at, p, n) == 0)
            return true;
        at += length;
    }
    return false;
}

struct datum text_strip(struct run *run, struct datum text, struct datum chars, bool start,
                        bool end)
{
    struct bytes set = datum_given(chars) ? text_wanted(run, chars, "strip") : bytes_of("");
    size_t from = 0, to = text.text.n;
    struct bytes all = text_bytes_of(text);
    while (start && from < to) {
        size_t n = unicode_length(all.p[from]);
        n = n > to - from ? to - from : n;
        if (datum_given(chars) ? !point_in(set, all.p + from, n) : jinja_space(all, from) == 0)
            break;
        from += n;
    }
    while (end && to > from) {
        size_t at = to - 1;
        while (at > from && (all.p[at] & 0xc0) == 0x80)
            at--;
        if (datum_given(chars) ? !point_in(set, all.p + at, to - at)
                               : jinja_space((struct bytes){all.p, to}, at) == 0)
            break;
        to = at;
    }
    (void)run_charge(run, (text.text.n - (to - from)) * (1 + set.n) / 16);
    return text_part(text, from, to - from);
}

// ---- letters ------------------------------------------------------------------------------------

// The capital of a letter: one of the usual distances away whose small letter it is.
static uint32_t upper_of(uint32_t point)
{
    static const int32_t distances[] = {-32, -1, -80, -48, -8, -38, -37, -63, -64, 121};
    if (point < 0x80)
        return point - 'a' < 26u ? point - 32 : point;
    for (size_t i = 0; i < COUNT_OF(distances); i++) {
        uint32_t upper = point + (uint32_t)distances[i];
        if (upper < 0x110000 && upper != point && unicode_lower(upper) == point)
            return upper;
    }
    return point;
}

static bool is_upper(uint32_t point)
{
    return unicode_lower(point) != point;
}

static bool is_cased(uint32_t point)
{
    return is_upper(point) || upper_of(point) != point;
}

static bool is_letter(uint32_t point)
{
    return unicode_category(point) == OTHER && !(point - '0' < 10u) && point >= 'A';
}

static uint32_t changed(uint32_t point, char how, bool begins)
{
    if (how == 's')
        return is_upper(point) ? unicode_lower(point) : upper_of(point);
    return how == 'u' || begins ? upper_of(point) : unicode_lower(point);
}

struct datum text_case(struct run *run, struct datum text, char how)
{
    size_t from = run->n_out;
    bool begins = how == 't' || how == 'c';
    for (size_t at = 0; at < text.text.n && run_charge(run, 1);) {
        uint8_t out[4];
        uint32_t point;
        struct datum one = text_part(text, at, 1);
        size_t n = unicode_decode(text.text.p + at, text.text.n - at, &point);
        if (n == 0) { // cannot be: texts are valid
            at++;
            continue;
        }
        run_write(run, out, unicode_encode(out, changed(point, how, begins)),
                  one.text.client && one.text.client[0] ? all_client : NULL);
        begins = how == 't' && !is_cased(point);
        at += n;
    }
    struct datum out = run_since(run, from);
    out.safe = text.safe;
    return out;
}

struct datum text_replace(struct run *run, struct datum text, struct datum from, struct datum to,
                          int64_t most)
{
    struct bytes all = text_bytes_of(text), what = text_wanted(run, from, "replace");
    (void)text_wanted(run, to, "replace");
    size_t begin = run->n_out, done = 0, at = 0;
    while (!run->failed && most != 0 && (at = text_find(run, all, what, at)) != SIZE_MAX) {
        write_text(run, text_part(text, done, at - done));
        write_text(run, to);
        done = at + what.n;
        at = done;
        most--;
        if (what.n == 0 && (at == all.n || !run_charge(run, 1)))
            break;
        if (what.n == 0)
            at += unicode_length(all.p[at]);
    }
    if (done == 0 && run->n_out == begin)
        return text;
    write_text(run, text_part(text, done, all.n - done));
    struct datum out = run_since(run, begin);
    out.safe = text.safe;
    return out;
}

// ---- the others ---------------------------------------------------------------------------------

static struct datum method_strip(const struct calling *call)
{
    return text_strip(call->run, call->in, call->arg[0], true, true);
}

static struct datum method_lstrip(const struct calling *call)
{
    return text_strip(call->run, call->in, call->arg[0], true, false);
}

static struct datum method_rstrip(const struct calling *call)
{
    return text_strip(call->run, call->in, call->arg[0], false, true);
}

static struct datum method_upper(const struct calling *call)
{
    return text_case(call->run, call->in, 'u');
}

static struct datum method_lower(const struct calling *call)
{
    return text_case(call->run, call->in, 'l');
}

static struct datum method_title(const struct calling *call)
{
    return text_case(call->run, call->in, 't');
}

static struct datum method_capitalize(const struct calling *call)
{
    return text_case(call->run, call->in, 'c');
}

static struct datum method_swapcase(const struct calling *call)
{
    return text_case(call->run, call->in, 's');
}

static struct datum method_replace(const struct calling *call)
{
    int64_t most = -1;
    if (call->arg[2].kind != D_MISSING)
        (void)datum_whole_of(call->run, call->arg[2], &most, "replace()'s count");
    return text_replace(call->run, call->in, call->arg[0], call->arg[1], most);
}

static struct datum method_join(const struct calling *call)
{
    struct list items;
    if (!datum_iterate(call->run, call->arg[0], &items))
        return call->in;
    size_t from = call->run->n_out;
    for (size_t i = 0; i < items.n && run_charge(call->run, 1); i++) {
        if (items.p[i].kind != D_TEXT)
            run_fail(call->run, BAD_INPUT, "join(): item %zu is a '%s', not a text", i,
                     datum_type(items.p[i]));
        if (i > 0)
            write_text(call->run, call->in);
        write_str(call->run, items.p[i]);
    }
    return run_since(call->run, from);
}

// Whether all characters are of a kind, and there is one.
static struct datum all_are(const struct calling *call, bool (*is)(uint32_t point))
{
    size_t at = 0;
    while (at < call->in.text.n && run_charge(call->run, 1)) {
        uint32_t point;
        size_t n = unicode_decode(call->in.text.p + at, call->in.text.n - at, &point);
        if (n == 0 || !is(point))
            return datum_bool(false);
        at += n;
    }
    return datum_bool(at > 0);
}

static bool point_is_digit(uint32_t point)
{
    return point - '0' < 10u || point - 0x660 < 10u || point - 0xff10 < 10u;
}

static bool point_is_letter_or_digit(uint32_t point)
{
    return point_is_digit(point) || is_letter(point);
}

static bool point_is_space(uint32_t point)
{
    uint8_t text[4];
    size_t n = unicode_encode(text, point);
    return jinja_space((struct bytes){text, n}, 0) > 0;
}

static struct datum method_isdigit(const struct calling *call)
{
    return all_are(call, point_is_digit);
}

static struct datum method_isalpha(const struct calling *call)
{
    return all_are(call, is_letter);
}

static struct datum method_isalnum(const struct calling *call)
{
    return all_are(call, point_is_letter_or_digit);
}

static struct datum method_isspace(const struct calling *call)
{
    return all_are(call, point_is_space);
}

static struct datum all_cased(const struct calling *call, bool upper)
{
    bool any = false;
    for (size_t at = 0, n; at < call->in.text.n && run_charge(call->run, 1); at += n ? n : 1) {
        uint32_t point = 0;
        n = unicode_decode(call->in.text.p + at, call->in.text.n - at, &point);
        if (is_cased(point) && is_upper(point) != upper)
            return datum_bool(false);
        any = any || is_cased(point);
    }
    return datum_bool(any);
}

static struct datum method_isupper(const struct calling *call)
{
    return all_cased(call, true);
}

static struct datum method_islower(const struct calling *call)
{
    return all_cased(call, false);
}

// Filled up to a width, with so much of the rest in front as `front` of 2 halves.
static struct datum filled(const struct calling *call, int front)
{
    int64_t width = 0, n = (int64_t)utf8_length(text_bytes_of(call->in));
    struct datum fill = datum_given(call->arg[1]) ? call->arg[1] : datum_text(" ");
    (void)text_wanted(call->run, fill, "ljust");
    if (!datum_whole_of(call->run, call->arg[0], &width, "a width") || width <= n)
        return call->in;
    int64_t rest = width - n, before = front == 2   ? rest
                                       : front == 0 ? 0
                                                    : rest / 2 + (rest & width & 1);
    size_t from = call->run->n_out;
    for (int64_t i = 0; i < rest && run_charge(call->run, 1); i++) {
        if (i == before)
            write_text(call->run, call->in);
        write_text(call->run, fill);
    }
    if (before == rest)
        write_text(call->run, call->in);
    return run_since(call->run, from);
}

static struct datum method_ljust(const struct calling *call)
{
    return filled(call, 0);
}

static struct datum method_center(const struct calling *call)
{
    return filled(call, 1);
}

static struct datum method_rjust(const struct calling *call)
{
    return filled(call, 2);
}

const struct function jinja_methods_text[] = {
    {"strip", method_strip, "chars", 0},
    {"lstrip", method_lstrip, "chars", 0},
    {"rstrip", method_rstrip, "chars", 0},
    {"split", method_split, "sep maxsplit", 0},
    {"rsplit", method_rsplit, "sep maxsplit", 0},
    {"splitlines", method_splitlines, "keepends", 0},
    {"partition", method_partition, "sep", 1},
    {"rpartition", method_rpartition, "sep", 1},
    {"startswith", method_startswith, "prefix start end", 1},
    {"endswith", method_endswith, "suffix start end", 1},
    {"removeprefix", method_removeprefix, "prefix", 1},
    {"removesuffix", method_removesuffix, "suffix", 1},
    {"find", method_find_text, "sub start end", 1},
    {"rfind", method_rfind, "sub start end", 1},
    {"index", method_index, "sub start end", 1},
    {"rindex", method_rindex, "sub start end", 1},
    {"count", method_count, "sub start end", 1},
    {"replace", method_replace, "old new count", 2},
    {"upper", method_upper, "", 0},
    {"lower", method_lower, "", 0},
    {"casefold", method_lower, "", 0},
    {"title", method_title, "", 0},
    {"capitalize", method_capitalize, "", 0},
    {"swapcase", method_swapcase, "", 0},
    {"join", method_join, "items", 1},
    {"format", text_format, NULL, 0},
    {"isdigit", method_isdigit, "", 0},
    {"isdecimal", method_isdigit, "", 0},
    {"isnumeric", method_isdigit, "", 0},
    {"isalpha", method_isalpha, "", 0},
    {"isalnum", method_isalnum, "", 0},
    {"isspace", method_isspace, "", 0},
    {"isupper", method_isupper, "", 0},
    {"islower", method_islower, "", 0},
    {"ljust", method_ljust, "width fillchar", 1},
    {"rjust", method_rjust, "width fillchar", 1},
    {"center", method_center, "width fillchar", 1},
    {NULL, NULL, NULL, 0},
};
