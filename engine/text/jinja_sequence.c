// jinja_sequence.c - filters over lists and dicts.
//
// Those that Jinja2 makes lazily (map, select ...) are made at once here, but keep a generator's
// ways: always true, without a length, empty when they have been walked through.
#include "jinja_inside.h"

// ---- attributes ---------------------------------------------------------------------------------

// "a.b.0" of an item, or an item by number; MISSING: the item itself.
static struct datum attribute_of(struct run *run, struct datum item, struct datum path,
                                 struct datum otherwise)
{
    if (!datum_given(path))
        return item;
    if (path.kind != D_TEXT)
        return eval_item(run, item, path);
    struct bytes rest = text_bytes_of(path);
    for (;;) {
        const uint8_t *dot = rest.n > 0 ? memchr(rest.p, '.', rest.n) : NULL;
        size_t n = dot ? (size_t)(dot - rest.p) : rest.n;
        int64_t number = 0;
        bool digits = n > 0 && n < 10;
        for (size_t i = 0; i < n; i++) {
            digits = digits && rest.p[i] - '0' < 10u;
            number = digits ? number * 10 + rest.p[i] - '0' : 0;
        }
        item = eval_item(
            run, item, digits ? datum_whole(number) : datum_view((struct bytes){rest.p, n}, NULL));
        if (item.kind == D_UNDEFINED && datum_given(otherwise))
            item = otherwise;
        if (!dot || run->failed)
            return item;
        rest = (struct bytes){dot + 1, rest.n - n - 1};
    }
}

static const struct datum *named(const struct calling *call, const char *name)
{
    for (size_t i = 0; i < call->args->n_named; i++)
        if (datum_is(call->args->named[i].key, name))
            return &call->args->named[i].value;
    return NULL;
}

// ---- map, select and their kin ------------------------------------------------------------------

static struct datum map_attribute(const struct calling *call, const struct list *items,
                                  struct datum path)
{
    struct datum out = list_new(call->run, GENERATOR, 0);
    const struct datum *otherwise = named(call, "default");
    for (size_t i = 0; i < items->n && !call->run->failed; i++)
        list_add(call->run, out.list,
                 attribute_of(call->run, items->p[i], path,
                              otherwise ? *otherwise : datum_of(D_MISSING)));
    return out;
}

static struct datum filter_map(const struct calling *call)
{
    struct run *run = call->run;
    struct list items;
    char text[NAME_TEXT];
    if (!datum_iterate(run, call->in, &items))
        return call->in;
    const struct datum *path = named(call, "attribute");
    if (call->args->n == 0 && path)
        return map_attribute(call, &items, *path);
    struct datum name = call->args->n > 0 ? call->args->p[0] : datum_of(D_MISSING);
    const struct filter *filter = name.kind == D_TEXT ? filter_find(text_bytes_of(name)) : NULL;
    if (!filter) {
        run_fail(run, UNSUPPORTED, "map: there is no filter '%s'",
                 name_text(text, name.kind == D_TEXT ? text_bytes_of(name) : bytes_of("?")));
        return call->in;
    }
    struct args rest = {call->args->p + 1, call->args->n - 1, call->args->named,
                        call->args->n_named};
    struct datum out = list_new(run, GENERATOR, 0);
    for (size_t i = 0; i < items.n && !run->failed; i++)
        list_add(run, out.list, filter_apply(run, filter, items.p[i], &rest));
    return out;
}

// The items that pass (wanted: true) a test: args are an attribute where `by_attribute`, then the
// test and what it takes.
static struct datum chosen(const struct calling *call, bool wanted, bool by_attribute)
{
    struct run *run = call->run;
    struct args rest = *call->args;
    struct datum path = datum_of(D_MISSING), out = list_new(run, GENERATOR, 0);
    struct list items;
    char text[NAME_TEXT];
    if (by_attribute && rest.n == 0)
        run_fail(run, BAD_INPUT, "selectattr and rejectattr want an attribute");
    if (run->failed || !datum_iterate(run, call->in, &items))
        return out;
    if (by_attribute) {
        path = rest.p[0];
        rest.p++;
        rest.n--;
    }
    const struct tester *tester = NULL;
    if (rest.n > 0) {
        struct bytes name = text_wanted(run, rest.p[0], "select");
        tester = test_find(name);
        if (!tester)
            run_fail(run, UNSUPPORTED, "there is no test '%s'", name_text(text, name));
        rest.p++;
        rest.n--;
    }
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        struct datum value = attribute_of(run, items.p[i], path, datum_of(D_MISSING));
        bool passes = tester ? test_apply(run, tester, value, &rest) : datum_true(value);
        if (passes == wanted)
            list_add(run, out.list, items.p[i]);
    }
    return out;
}

static struct datum filter_select(const struct calling *call)
{
    return chosen(call, true, false);
}

static struct datum filter_reject(const struct calling *call)
{
    return chosen(call, false, false);
}

static struct datum filter_selectattr(const struct calling *call)
{
    return chosen(call, true, true);
}

static struct datum filter_rejectattr(const struct calling *call)
{
    return chosen(call, false, true);
}

// ---- sorting ------------------------------------------------------------------------------------

struct keyed {
    struct datum key, item;
};

static struct datum sort_key(struct run *run, struct datum item, struct datum path, bool exact)
{
    struct datum key = attribute_of(run, item, path, datum_of(D_MISSING));
    return key.kind == D_TEXT && !exact ? text_case(run, key, 'l') : key;
}

// Merge sort: stable, and its steps are counted. `reverse` keeps the order of equals too.
static void merge_sort(struct run *run, struct keyed *items, struct keyed *room, size_t n,
                       bool reverse)
{
    if (n < 2 || run->failed)
        return;
    size_t half = n / 2, a = 0, b = half, k = 0;
    merge_sort(run, items, room, half, reverse);
    merge_sort(run, items + half, room, n - half, reverse);
    while (a < half && b < n && run_charge(run, 1)) {
        int order = datum_order(run, items[a].key, items[b].key, "<");
        bool second = reverse ? order < 0 : order > 0;
        room[k++] = second ? items[b++] : items[a++];
    }
    while (a < half)
        room[k++] = items[a++];
    while (b < n)
        room[k++] = items[b++];
    memcpy(items, room, n * sizeof(*items));
}

static struct keyed *sorted(struct run *run, const struct list *items, struct datum path,
                            bool exact, bool reverse)
{
    struct keyed *keyed = run_take(run, items->n * sizeof(*keyed)),
                 *room = run_take(run, items->n * sizeof(*room));
    for (size_t i = 0; i < items->n && !run->failed; i++)
        keyed[i] = (struct keyed){sort_key(run, items->p[i], path, exact), items->p[i]};
    if (!run->failed)
        merge_sort(run, keyed, room, items->n, reverse);
    return keyed;
}

static struct datum items_of(struct run *run, const struct keyed *keyed, size_t n)
{
    struct datum list = list_new(run, LIST, n);
    for (size_t i = 0; i < n && !run->failed; i++)
        list.list->p[i] = keyed[i].item;
    return list;
}

// reverse, case_sensitive, attribute
static struct datum filter_sort(const struct calling *call)
{
    struct list items;
    if (!datum_iterate(call->run, call->in, &items))
        return call->in;
    if (call->arg[2].kind == D_TEXT && memchr(call->arg[2].text.p, ',', call->arg[2].text.n))
        run_fail(call->run, UNSUPPORTED, "sort by several attributes");
    const struct keyed *keyed =
        sorted(call->run, &items, call->arg[2], datum_true(call->arg[1]), datum_true(call->arg[0]));
    return items_of(call->run, keyed, items.n);
}

static struct datum dict_items_of(const struct calling *call, enum sequence sequence)
{
    const struct dict *dict = call->in.dict;
    struct datum list = list_new(call->run, sequence, dict->n);
    for (size_t i = 0; i < dict->n && !call->run->failed; i++) {
        struct datum pair = list_new(call->run, TUPLE, 2);
        if (call->run->failed)
            break;
        pair.list->p[0] = dict->p[i].key;
        pair.list->p[1] = dict->p[i].value;
        list.list->p[i] = pair;
    }
    return list;
}

// case_sensitive, by, reverse
static struct datum filter_dictsort(const struct calling *call)
{
    bool by_value = call->arg[1].kind != D_MISSING && datum_is(call->arg[1], "value");
    if (call->in.kind != D_DICT)
        run_fail(call->run, BAD_INPUT, "dictsort of a '%s'", datum_type(call->in));
    if (call->run->failed)
        return call->in;
    struct datum pairs = dict_items_of(call, LIST);
    if (call->run->failed)
        return pairs;
    const struct keyed *keyed = sorted(call->run, pairs.list, datum_whole(by_value),
                                       datum_true(call->arg[0]), datum_true(call->arg[2]));
    return items_of(call->run, keyed, pairs.list->n);
}

static struct datum filter_items(const struct calling *call)
{
    if (call->in.kind == D_UNDEFINED)
        return list_new(call->run, GENERATOR, 0);
    if (call->in.kind == D_DICT)
        return dict_items_of(call, GENERATOR);
    run_fail(call->run, BAD_INPUT, "items of a '%s'", datum_type(call->in));
    return call->in;
}

// attribute, default, case_sensitive
static struct datum filter_groupby(const struct calling *call)
{
    struct run *run = call->run;
    struct list items;
    struct datum out = list_new(run, LIST, 0);
    if (run->failed || !datum_iterate(run, call->in, &items))
        return out;
    struct keyed *keyed = run_take(run, items.n * sizeof(*keyed)),
                 *room = run_take(run, items.n * sizeof(*room));
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        struct datum key = attribute_of(run, items.p[i], call->arg[0], call->arg[1]);
        bool fold = key.kind == D_TEXT && !datum_true(call->arg[2]);
        keyed[i] = (struct keyed){fold ? text_case(run, key, 'l') : key, items.p[i]};
    }
    if (!run->failed)
        merge_sort(run, keyed, room, items.n, false);
    struct datum group = datum_of(D_MISSING);
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        if (i == 0 || !datum_equal(run, keyed[i].key, keyed[i - 1].key)) {
            struct datum pair = list_new(run, TUPLE, 2);
            group = list_new(run, LIST, 0);
            if (run->failed)
                break;
            pair.list->p[0] = attribute_of(run, keyed[i].item, call->arg[0], call->arg[1]);
            pair.list->p[1] = group;
            list_add(run, out.list, pair);
        }
        list_add(run, group.list, keyed[i].item);
    }
    return out;
}

// case_sensitive, attribute
static struct datum filter_unique(const struct calling *call)
{
    struct run *run = call->run;
    struct list items;
    struct datum out = list_new(run, GENERATOR, 0), seen = list_new(run, LIST, 0);
    if (run->failed || !datum_iterate(run, call->in, &items))
        return out;
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        struct datum key = sort_key(run, items.p[i], call->arg[1], datum_true(call->arg[0]));
        if (datum_contains(run, seen, key) || run->failed)
            continue;
        list_add(run, seen.list, key);
        list_add(run, out.list, items.p[i]);
    }
    return out;
}

static struct datum extreme(const struct calling *call, bool largest)
{
    struct run *run = call->run;
    struct list items;
    if (!datum_iterate(run, call->in, &items) || items.n == 0)
        return datum_undefined(bytes_of("an item of an empty list"), NULL);
    size_t best = 0;
    bool exact = datum_true(call->arg[0]);
    struct datum best_key = sort_key(run, items.p[0], call->arg[1], exact);
    for (size_t i = 1; i < items.n && !run->failed; i++) {
        struct datum key = sort_key(run, items.p[i], call->arg[1], exact);
        int order = datum_order(run, key, best_key, "<");
        if (largest ? order > 0 : order < 0) {
            best = i;
            best_key = key;
        }
    }
    return items.p[best];
}

static struct datum filter_min(const struct calling *call)
{
    return extreme(call, false);
}

static struct datum filter_max(const struct calling *call)
{
    return extreme(call, true);
}

// ---- the others ---------------------------------------------------------------------------------

// d, attribute
static struct datum filter_join(const struct calling *call)
{
    struct list items;
    struct datum sep =
        call->arg[0].kind == D_MISSING ? datum_text("") : datum_str(call->run, call->arg[0]);
    if (!datum_iterate(call->run, call->in, &items))
        return call->in;
    size_t from = call->run->n_out;
    for (size_t i = 0; i < items.n && run_charge(call->run, 1); i++) {
        if (i > 0)
            write_text(call->run, sep);
        write_str(call->run,
                  attribute_of(call->run, items.p[i], call->arg[1], datum_of(D_MISSING)));
    }
    return run_since(call->run, from);
}

static struct datum filter_first(const struct calling *call)
{
    struct list items;
    if (call->in.kind == D_TEXT && call->in.text.n > 0)
        return eval_item(call->run, call->in, datum_whole(0));
    if (!datum_iterate(call->run, call->in, &items) || items.n == 0)
        return datum_undefined(bytes_of("the first item of an empty list"), NULL);
    return items.p[0];
}

static struct datum filter_last(const struct calling *call)
{
    struct list items;
    if (call->in.kind == D_TEXT && call->in.text.n > 0)
        return eval_item(call->run, call->in, datum_whole(-1));
    if (call->in.kind == D_LIST && call->in.list->sequence == GENERATOR)
        run_fail(call->run, BAD_INPUT, "last of a generator");
    if (call->run->failed || !datum_iterate(call->run, call->in, &items) || items.n == 0)
        return datum_undefined(bytes_of("the last item of an empty list"), NULL);
    return items.p[items.n - 1];
}

static struct datum copied(const struct calling *call, enum sequence sequence)
{
    struct list items;
    if (!datum_iterate(call->run, call->in, &items))
        return call->in;
    struct datum list = list_new(call->run, sequence, items.n);
    if (!call->run->failed && items.n > 0)
        memcpy(list.list->p, items.p, items.n * sizeof(*items.p));
    return list;
}

static struct datum filter_list(const struct calling *call)
{
    return copied(call, LIST);
}

static struct datum filter_reverse(const struct calling *call)
{
    const struct datum bounds[3] = {datum_of(D_NONE), datum_of(D_NONE), datum_whole(-1)};
    if (call->in.kind == D_TEXT)
        return eval_slice(call->run, call->in, bounds);
    struct datum list = copied(call, GENERATOR);
    if (call->run->failed)
        return list;
    struct datum *p = list.list->p;
    for (size_t i = 0, n = list.list->n; i < n / 2; i++) {
        struct datum other = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = other;
    }
    return list;
}

// attribute, start
static struct datum filter_sum(const struct calling *call)
{
    struct list items;
    struct datum sum = call->arg[1].kind == D_MISSING ? datum_whole(0) : call->arg[1];
    if (!datum_iterate(call->run, call->in, &items))
        return sum;
    for (size_t i = 0; i < items.n && !call->run->failed; i++)
        sum = eval_binary(call->run, ADD, sum,
                          attribute_of(call->run, items.p[i], call->arg[0], datum_of(D_MISSING)));
    return sum;
}

// linecount, fill_with
static struct datum filter_batch(const struct calling *call)
{
    struct run *run = call->run;
    int64_t n = 0;
    struct list items;
    struct datum out = list_new(run, GENERATOR, 0), row = datum_of(D_NONE);
    if (run->failed || !datum_whole_of(run, call->arg[0], &n, "batch's count") ||
        !datum_iterate(run, call->in, &items))
        return out;
    if (n < 1)
        run_fail(run, BAD_INPUT, "batch's count must be 1 at least");
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        if (i % (size_t)n == 0) {
            row = list_new(run, LIST, 0);
            if (!run->failed)
                list_add(run, out.list, row);
        }
        if (!run->failed)
            list_add(run, row.list, items.p[i]);
    }
    while (!run->failed && datum_given(call->arg[1]) && items.n > 0 && row.list->n < (size_t)n)
        list_add(run, row.list, call->arg[1]);
    return out;
}

// slices, fill_with: so many columns, the first ones one longer.
static struct datum filter_slice(const struct calling *call)
{
    struct run *run = call->run;
    int64_t n = 0;
    struct list items;
    struct datum out = list_new(run, GENERATOR, 0);
    if (run->failed || !datum_whole_of(run, call->arg[0], &n, "slice's count") ||
        !datum_iterate(run, call->in, &items))
        return out;
    if (n < 1)
        run_fail(run, BAD_INPUT, "slice's count must be 1 at least");
    size_t at = 0;
    for (int64_t k = 0; k < n && !run->failed; k++) {
        struct datum column = list_new(run, LIST, 0);
        size_t most = items.n / (size_t)n + ((size_t)k < items.n % (size_t)n);
        for (size_t i = 0; i < most && !run->failed; i++)
            list_add(run, column.list, items.p[at++]);
        bool is_short = items.n % (size_t)n > 0 && (size_t)k >= items.n % (size_t)n;
        if (is_short && datum_given(call->arg[1]) && !run->failed)
            list_add(run, column.list, call->arg[1]);
        if (!run->failed)
            list_add(run, out.list, column);
    }
    return out;
}

const struct filter jinja_filters_lists[] = {
    {"batch", filter_batch, "linecount fill_with", 1},
    {"dictsort", filter_dictsort, "case_sensitive by reverse", 0},
    {"first", filter_first, "", 0},
    {"groupby", filter_groupby, "attribute default case_sensitive", 1},
    {"items", filter_items, "", 0},
    {"join", filter_join, "d attribute", 0},
    {"last", filter_last, "", 0},
    {"list", filter_list, "", 0},
    {"map", filter_map, NULL, 0},
    {"max", filter_max, "case_sensitive attribute", 0},
    {"min", filter_min, "case_sensitive attribute", 0},
    {"reject", filter_reject, NULL, 0},
    {"rejectattr", filter_rejectattr, NULL, 0},
    {"reverse", filter_reverse, "", 0},
    {"select", filter_select, NULL, 0},
    {"selectattr", filter_selectattr, NULL, 0},
    {"slice", filter_slice, "slices fill_with", 1},
    {"sort", filter_sort, "reverse case_sensitive attribute", 0},
    {"sum", filter_sum, "attribute start", 0},
    {"unique", filter_unique, "case_sensitive attribute", 0},
    {NULL, NULL, NULL, 0},
};
