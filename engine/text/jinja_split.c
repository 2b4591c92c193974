// jinja_split.c - the methods of texts that look for something in them: split, find, count and
// their kin.
//
// From the end is not the same as from the start, turned round: a limit leaves the rest at the
// other side.
#include "jinja_inside.h"

// ---- split --------------------------------------------------------------------------------------

static void split_spaces(struct run *run, struct datum text, int64_t most, struct list *out)
{
    struct bytes all = text_bytes_of(text);
    size_t at = 0;
    for (;;) {
        size_t n;
        while (at < all.n && (n = jinja_space(all, at)) > 0)
            at += n;
        if (at >= all.n || !run_charge(run, 1))
            return;
        size_t end = at;
        while (end < all.n && (most == 0 || jinja_space(all, end) == 0))
            end++; // with the last piece to the very end
        list_add(run, out, text_part(text, at, end - at));
        (void)run_charge(run, (end - at) / 16);
        if (most-- == 0)
            return;
        at = end;
    }
}

// From the end: the pieces come out in reverse.
static void split_spaces_back(struct run *run, struct datum text, int64_t most, struct list *out)
{
    struct bytes rest = text_bytes_of(text);
    while (rest = jinja_strip_end(rest), rest.n > 0 && run_charge(run, 1)) {
        size_t at = rest.n;
        while (at > 0 && most != 0) {
            size_t before = at - 1;
            while (before > 0 && (rest.p[before] & 0xc0) == 0x80)
                before--;
            if (jinja_space(rest, before))
                break;
            at = before;
        }
        if (most == 0)
            at = 0;
        list_add(run, out, text_part(text, at, rest.n - at));
        (void)run_charge(run, (rest.n - at) / 16);
        rest.n = at;
        if (most-- == 0)
            return;
    }
}

static void split_by(struct run *run, struct datum text, struct bytes by, int64_t most,
                     struct list *out)
{
    struct bytes all = text_bytes_of(text);
    size_t done = 0, at;
    while (most != 0 && (at = text_find(run, all, by, done)) != SIZE_MAX) {
        list_add(run, out, text_part(text, done, at - done));
        done = at + by.n;
        most--;
    }
    list_add(run, out, text_part(text, done, all.n - done));
}

static size_t find_back(struct run *run, struct bytes in, struct bytes what)
{
    if (in.n < what.n)
        return SIZE_MAX;
    for (size_t at = in.n - what.n + 1; at-- > 0;)
        if (memcmp(in.p + at, what.p, what.n) == 0)
            return run_charge(run, (in.n - at) / 8) ? at : SIZE_MAX;
    (void)run_charge(run, in.n / 8);
    return SIZE_MAX;
}

static void split_by_back(struct run *run, struct datum text, struct bytes by, int64_t most,
                          struct list *out)
{
    struct bytes rest = text_bytes_of(text);
    size_t at;
    while (most != 0 && !run->failed && (at = find_back(run, rest, by)) != SIZE_MAX) {
        list_add(run, out, text_part(text, at + by.n, rest.n - at - by.n));
        rest.n = at;
        most--;
    }
    list_add(run, out, text_part(text, 0, rest.n));
}

static void reverse(struct list *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        struct datum other = list->p[i];
        list->p[i] = list->p[list->n - 1 - i];
        list->p[list->n - 1 - i] = other;
    }
}

static struct datum split(const struct calling *call, bool back)
{
    struct run *run = call->run;
    int64_t most = -1;
    struct datum out = list_new(run, LIST, 0);
    if (datum_given(call->arg[1]))
        (void)datum_whole_of(run, call->arg[1], &most, "split()'s limit");
    most = most < 0 ? INT64_MAX : most;
    if (run->failed)
        return out;
    if (datum_given(call->arg[0])) {
        struct bytes by = text_wanted(run, call->arg[0], "split");
        if (by.n == 0)
            run_fail(run, BAD_INPUT, "split() by an empty text");
        else
            (back ? split_by_back : split_by)(run, call->in, by, most, out.list);
    } else
        (back ? split_spaces_back : split_spaces)(run, call->in, most, out.list);
    if (back)
        reverse(out.list);
    return out;
}

struct datum method_split(const struct calling *call)
{
    return split(call, false);
}

struct datum method_rsplit(const struct calling *call)
{
    return split(call, true);
}

struct datum method_splitlines(const struct calling *call)
{
    struct datum out = list_new(call->run, LIST, 0);
    struct bytes all = text_bytes_of(call->in);
    bool keep = datum_true(call->arg[0]);
    for (size_t at = 0; at < all.n && run_charge(call->run, 1);) {
        size_t end = at, next;
        while (end < all.n && !(all.p[end] >= '\n' && all.p[end] <= '\r') &&
               !(all.p[end] >= 0x1c && all.p[end] <= 0x1e))
            end++;
        (void)run_charge(call->run, (end - at) / 16);
        next = end < all.n ? end + 1 : end;
        if (next < all.n && all.p[end] == '\r' && all.p[next] == '\n')
            next++;
        list_add(call->run, out.list, text_part(call->in, at, (keep ? next : end) - at));
        at = next;
    }
    return out;
}

static struct datum partition(const struct calling *call, bool back)
{
    struct bytes by = text_wanted(call->run, call->arg[0], "partition"),
                 all = text_bytes_of(call->in);
    struct datum out = list_new(call->run, TUPLE, 3);
    if (call->run->failed)
        return out;
    size_t at = back ? find_back(call->run, all, by) : text_find(call->run, all, by, 0);
    for (int i = 0; i < 3; i++)
        out.list->p[i] = datum_text("");
    if (at == SIZE_MAX) {
        out.list->p[back ? 2 : 0] = call->in;
        return out;
    }
    out.list->p[0] = text_part(call->in, 0, at);
    out.list->p[1] = text_part(call->in, at, by.n);
    out.list->p[2] = text_part(call->in, at + by.n, all.n - at - by.n);
    return out;
}

struct datum method_partition(const struct calling *call)
{
    return partition(call, false);
}

struct datum method_rpartition(const struct calling *call)
{
    return partition(call, true);
}

// ---- find ---------------------------------------------------------------------------------------

// The part between two bounds, and how many characters stand before it.
static struct datum between(const struct calling *call, int first, size_t *n_before)
{
    struct datum bounds[3] = {call->arg[first], call->arg[first + 1], datum_of(D_NONE)};
    *n_before = 0;
    if (!datum_given(bounds[0]) && !datum_given(bounds[1]))
        return call->in;
    struct datum part = eval_slice(call->run, call->in, bounds);
    if (call->run->failed || part.kind != D_TEXT)
        return datum_text("");
    *n_before =
        utf8_length((struct bytes){call->in.text.p, (size_t)(part.text.p - call->in.text.p)});
    return part;
}

static int64_t found_at(const struct calling *call, bool back)
{
    size_t n_before;
    struct datum part = between(call, 1, &n_before);
    struct bytes what = text_wanted(call->run, call->arg[0], "find"), in = text_bytes_of(part);
    if (call->run->failed)
        return -1;
    size_t at = back ? find_back(call->run, in, what) : text_find(call->run, in, what, 0);
    if (at == SIZE_MAX)
        return -1;
    return (int64_t)(n_before + utf8_length((struct bytes){in.p, at}));
}

struct datum method_find_text(const struct calling *call)
{
    return datum_whole(found_at(call, false));
}

struct datum method_rfind(const struct calling *call)
{
    return datum_whole(found_at(call, true));
}

static struct datum index_or_fail(const struct calling *call, bool back)
{
    int64_t at = found_at(call, back);
    if (at < 0)
        run_fail(call->run, BAD_INPUT, "index(): the text is not found");
    return datum_whole(at);
}

struct datum method_index(const struct calling *call)
{
    return index_or_fail(call, false);
}

struct datum method_rindex(const struct calling *call)
{
    return index_or_fail(call, true);
}

struct datum method_count(const struct calling *call)
{
    size_t n_before, at = 0;
    struct bytes in = text_bytes_of(between(call, 1, &n_before)),
                 what = text_wanted(call->run, call->arg[0], "count");
    if (what.n == 0)
        return datum_whole((int64_t)utf8_length(in) + 1);
    int64_t n = 0;
    for (; (at = text_find(call->run, in, what, at)) != SIZE_MAX; at += what.n)
        n++;
    return datum_whole(n);
}

static bool touches(struct bytes in, struct bytes what, bool end)
{
    return in.n >= what.n &&
           (what.n == 0 || memcmp(end ? in.p + in.n - what.n : in.p, what.p, what.n) == 0);
}

static struct datum touches_any(const struct calling *call, bool end)
{
    size_t n_before;
    struct bytes in = text_bytes_of(between(call, 1, &n_before));
    const char *name = end ? "endswith" : "startswith";
    struct datum what = call->arg[0];
    if (what.kind != D_LIST || what.list->sequence != TUPLE)
        return datum_bool(touches(in, text_wanted(call->run, what, name), end) &&
                          !call->run->failed);
    for (size_t i = 0; i < what.list->n && run_charge(call->run, 1); i++)
        if (touches(in, text_wanted(call->run, what.list->p[i], name), end))
            return datum_bool(!call->run->failed);
    return datum_bool(false);
}

struct datum method_startswith(const struct calling *call)
{
    return touches_any(call, false);
}

struct datum method_endswith(const struct calling *call)
{
    return touches_any(call, true);
}

struct datum method_removeprefix(const struct calling *call)
{
    struct bytes what = text_wanted(call->run, call->arg[0], "removeprefix");
    bool there = touches(text_bytes_of(call->in), what, false);
    return there ? text_part(call->in, what.n, call->in.text.n - what.n) : call->in;
}

struct datum method_removesuffix(const struct calling *call)
{
    struct bytes what = text_wanted(call->run, call->arg[0], "removesuffix");
    bool there = touches(text_bytes_of(call->in), what, true);
    return there ? text_part(call->in, 0, call->in.text.n - what.n) : call->in;
}
