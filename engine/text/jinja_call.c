// jinja_call.c - calls: how arguments meet parameters, the global functions, macros, and the
// methods of lists, dicts and cyclers.
//
// A text that a template raises is its own sentence and goes to the client as it is.
#include "jinja_inside.h"

#include <time.h>

// ---- arguments ----------------------------------------------------------------------------------

// The place of a name among words separated by blanks; -1: none.
static int place_of(const char *parameters, struct datum name)
{
    int place = 0;
    for (const char *word = parameters; *word; place++) {
        size_t n = strcspn(word, " ");
        if (n == name.text.n && memcmp(word, name.text.p, n) == 0)
            return place;
        word += n + (word[n] == ' ');
    }
    return -1;
}

static int n_words(const char *parameters)
{
    int n = *parameters != 0;
    for (const char *at = parameters; *at; at++)
        n += *at == ' ';
    return n;
}

struct datum call_bound(struct run *run, const char *name, const char *parameters, int n_least,
                        struct datum (*work)(const struct calling *), struct datum in,
                        const struct args *args)
{
    struct datum arg[PARAMETERS_MOST + 1] = {{.kind = D_MISSING}};
    struct calling call = {run, in, arg, args};
    if (!run_charge(run, 1))
        return datum_of(D_NONE);
    if (!parameters)
        return work(&call);
    int n = n_words(parameters);
    if (args->n > (size_t)n)
        run_fail(run, BAD_INPUT, "%s takes %d arguments at most, %zu are given", name, n, args->n);
    for (size_t i = 0; i < args->n && !run->failed; i++)
        arg[i] = args->p[i];
    for (size_t i = 0; i < args->n_named && !run->failed; i++) {
        char text[NAME_TEXT];
        int place = place_of(parameters, args->named[i].key);
        if (place < 0)
            run_fail(run, BAD_INPUT, "%s takes no argument '%s'", name,
                     name_text(text, text_bytes_of(args->named[i].key)));
        else
            arg[place] = args->named[i].value;
    }
    for (int i = 0; i < n_least; i++)
        if (arg[i].kind == D_MISSING)
            run_fail(run, BAD_INPUT, "%s takes %d arguments at least", name, n_least);
    return run->failed ? datum_of(D_NONE) : work(&call);
}

struct datum filter_apply(struct run *run, const struct filter *filter, struct datum in,
                          const struct args *args)
{
    return call_bound(run, filter->name, filter->parameters, filter->n_least, filter->work, in,
                      args);
}

const struct filter *filter_find(struct bytes name)
{
    const struct filter *const tables[] = {jinja_filters_texts, jinja_filters_lists};
    for (size_t t = 0; t < COUNT_OF(tables); t++)
        for (const struct filter *filter = tables[t]; filter->name; filter++)
            if (bytes_equal_text(name, filter->name))
                return filter;
    return NULL;
}

// ---- macros -------------------------------------------------------------------------------------

static const struct datum *named_argument(struct run *run, const struct args *args, bool *used,
                                          struct datum name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (datum_equal(run, args->named[i].key, name)) {
            used[i] = true;
            return &args->named[i].value;
        }
    return NULL;
}

static void bind_rest(struct run *run, const struct construct *node, const struct args *args,
                      const bool *used, size_t n_bound, struct scope *scope)
{
    char text[NAME_TEXT], name[NAME_TEXT];
    struct datum rest = list_new(run, TUPLE, 0), named = dict_new(run, D_DICT);
    name_text(name, text_bytes_of(node->value));
    for (size_t i = n_bound; i < args->n && !run->failed; i++)
        list_add(run, rest.list, args->p[i]);
    for (size_t i = 0; i < args->n_named && !run->failed; i++) {
        if (used[i])
            continue;
        if (!node->kwargs)
            run_fail(run, BAD_INPUT, "macro '%s' takes no argument '%s'", name,
                     name_text(text, text_bytes_of(args->named[i].key)));
        else
            dict_set(run, named.dict, args->named[i].key, args->named[i].value);
    }
    if (!node->flag && args->n > n_bound)
        run_fail(run, BAD_INPUT, "macro '%s' takes %zu arguments at most, %zu are given", name,
                 n_bound, args->n);
    if (node->flag)
        scope_set(run, scope, run->jinja->varargs, rest);
    if (node->kwargs)
        scope_set(run, scope, run->jinja->kwargs, named);
}

static void bind(struct run *run, const struct construct *node, const struct args *args,
                 struct scope *scope)
{
    size_t i = 0;
    bool *used = run_take(run, args->n_named);
    for (const struct construct *at = node->a; at && !run->failed; at = at->next, i++) {
        const struct datum *named = named_argument(run, args, used, at->value);
        if (named && i < args->n)
            run_fail(run, BAD_INPUT, "an argument is given twice");
        if (i < args->n)
            scope_set(run, scope, at->name, args->p[i]);
        else if (named)
            scope_set(run, scope, at->name, *named);
        else
            scope_set(run, scope, at->name,
                      at->a ? eval(run, at->a, scope)
                            : datum_undefined(text_bytes_of(at->value), NULL));
    }
    if (!run->failed)
        bind_rest(run, node, args, used, i, scope);
}

struct datum call_macro(struct run *run, const struct macro *macro, const struct args *args,
                        struct datum caller)
{
    struct scope *scope = run_take(run, sizeof(*scope));
    if (!scope)
        return datum_of(D_NONE);
    scope->outer = macro->scope;
    if (caller.kind != D_MISSING)
        scope_set(run, scope, run->jinja->caller, caller);
    bind(run, macro->node, args, scope);
    size_t from = run->n_out;
    run_body(run, macro->node->c, scope);
    return run_since(run, from);
}

// ---- any ----------------------------------------------------------------------------------------

// A joiner gives nothing the first time, then its text.
static struct datum call_joiner(struct cycler *joiner)
{
    bool first = joiner->at == 0;
    joiner->at = 1;
    return first ? datum_text("") : joiner->items.p[0];
}

struct datum call_any(struct run *run, struct datum callee, const struct args *args)
{
    switch (callee.kind) {
    case D_MACRO:
        return call_macro(run, callee.macro, args, datum_of(D_MISSING));
    case D_FUNCTION:
        return call_bound(run, callee.function->name, callee.function->parameters,
                          callee.function->n_least, callee.function->work, datum_of(D_NONE), args);
    case D_METHOD:
        return call_bound(run, callee.method->function->name, callee.method->function->parameters,
                          callee.method->function->n_least, callee.method->function->work,
                          callee.method->self, args);
    case D_LOOP:
        if (callee.loop->node->flag && args->n == 1 && args->n_named == 0)
            return run_loop_again(run, callee.loop, args->p[0]);
        run_fail(run, BAD_INPUT, "loop() wants a loop that is recursive, and one argument");
        break;
    case D_JOINER:
        return call_joiner(callee.cycler);
    case D_UNDEFINED:
        undefined_fail(run, callee);
        break;
    default:
        run_fail(run, BAD_INPUT, "a '%s' cannot be called", datum_type(callee));
    }
    return datum_of(D_NONE);
}

// ---- the global functions -----------------------------------------------------------------------

static struct datum function_range(const struct calling *call)
{
    enum { RANGE_MOST = 100000 }; // the sandbox's
    struct run *run = call->run;
    int64_t from = 0, to = 0, step = 1;
    bool good = datum_whole_of(run, call->arg[0], &to, "range()'s argument");
    if (good && call->arg[1].kind != D_MISSING) {
        from = to;
        good = datum_whole_of(run, call->arg[1], &to, "range()'s argument");
    }
    if (good && call->arg[2].kind != D_MISSING)
        good = datum_whole_of(run, call->arg[2], &step, "range()'s argument");
    if (good && step == 0)
        run_fail(run, BAD_INPUT, "range() with a step of 0");
    double n = step ? ((double)to - (double)from) / (double)step : 0;
    if (n > RANGE_MOST)
        run_fail(run, TOO_LARGE, "a range of more than %d numbers", RANGE_MOST);
    struct datum list = list_new(run, RANGE, 0);
    for (int64_t i = from; !run->failed && (step > 0 ? i < to : i > to); i += step)
        list_add(run, list.list, datum_whole(i));
    return list;
}

static void take_named(struct run *run, struct dict *dict, const struct args *args)
{
    for (size_t i = 0; i < args->n_named && !run->failed; i++)
        dict_set(run, dict, args->named[i].key, args->named[i].value);
}

static void take_dict(struct run *run, struct dict *dict, struct datum from)
{
    struct list items;
    if (from.kind == D_DICT) {
        for (size_t i = 0; i < from.dict->n && !run->failed; i++)
            dict_set(run, dict, from.dict->p[i].key, from.dict->p[i].value);
        return;
    }
    if (!datum_iterate(run, from, &items))
        return;
    for (size_t i = 0; i < items.n && !run->failed; i++) {
        struct datum pair = items.p[i];
        if (pair.kind == D_LIST && pair.list->n == 2)
            dict_set(run, dict, pair.list->p[0], pair.list->p[1]);
        else
            run_fail(run, BAD_INPUT, "a dict is made of pairs");
    }
}

static struct datum make_dict(const struct calling *call, enum datum_kind kind)
{
    struct datum dict = dict_new(call->run, kind);
    if (call->args->n > 1)
        run_fail(call->run, BAD_INPUT, "a dict is made of one argument, and named ones");
    if (!call->run->failed && call->args->n == 1)
        take_dict(call->run, dict.dict, call->args->p[0]);
    if (!call->run->failed)
        take_named(call->run, dict.dict, call->args);
    return dict;
}

static struct datum function_dict(const struct calling *call)
{
    return make_dict(call, D_DICT);
}

static struct datum function_namespace(const struct calling *call)
{
    return make_dict(call, D_NAMESPACE);
}

static struct datum make_cycler(const struct calling *call, enum datum_kind kind,
                                const struct datum *items, size_t n)
{
    struct datum datum = datum_of(kind), list = list_new(call->run, LIST, n);
    datum.cycler = run_take(call->run, sizeof(*datum.cycler));
    if (call->run->failed)
        return datum_of(D_NONE);
    for (size_t i = 0; i < n; i++)
        list.list->p[i] = items[i];
    datum.cycler->items = *list.list;
    return datum;
}

static struct datum function_cycler(const struct calling *call)
{
    if (call->args->n == 0 || call->args->n_named > 0)
        run_fail(call->run, BAD_INPUT, "cycler() wants at least one item");
    return make_cycler(call, D_CYCLER, call->args->p, call->args->n);
}

static struct datum function_joiner(const struct calling *call)
{
    struct datum sep = call->arg[0].kind == D_MISSING ? datum_text(", ") : call->arg[0];
    return make_cycler(call, D_JOINER, &sep, 1);
}

// What the template itself says is wrong: without the line, which is no affair of the client's.
static struct datum function_raise(const struct calling *call)
{
    struct run *run = call->run;
    struct datum text = datum_str(run, call->arg[0]);
    if (!run->failed) {
        struct bytes said = text_bytes_of(text);
        said.n = said.n < 280 ? said.n : utf8_whole((struct bytes){said.p, 280});
        (void)err_set(run->err, BAD_INPUT, "%.*s", (int)said.n, (const char *)said.p);
        run->failed = true;
    }
    return datum_of(D_NONE);
}

static struct datum function_strftime(const struct calling *call)
{
    char format[200], text[400];
    struct tm tm;
    time_t now = (time_t)call->run->now_s;
    if (call->arg[0].kind != D_TEXT || call->arg[0].text.n >= sizeof(format)) {
        run_fail(call->run, BAD_INPUT, "strftime_now() wants a short text");
        return datum_of(D_NONE);
    }
    memcpy(format, call->arg[0].text.p, call->arg[0].text.n);
    format[call->arg[0].text.n] = 0;
    size_t n = localtime_r(&now, &tm) && format[0] ? strftime(text, sizeof(text), format, &tm) : 0;
    size_t from = call->run->n_out;
    run_write(call->run, text, n, NULL);
    return run_since(call->run, from);
}

const struct function jinja_functions[] = {
    {"range", function_range, "start stop step", 1},
    {"dict", function_dict, NULL, 0},
    {"namespace", function_namespace, NULL, 0},
    {"cycler", function_cycler, NULL, 0},
    {"joiner", function_joiner, "sep", 0},
    {"raise_exception", function_raise, "message", 1},
    {"strftime_now", function_strftime, "format", 1},
    {NULL, NULL, NULL, 0},
};

// ---- methods of lists ---------------------------------------------------------------------------

static struct datum list_index(const struct calling *call)
{
    for (size_t i = 0; i < call->in.list->n; i++)
        if (datum_equal(call->run, call->in.list->p[i], call->arg[0]))
            return datum_whole((int64_t)i);
    run_fail(call->run, BAD_INPUT, "index(): it is not in the list");
    return datum_of(D_NONE);
}

static struct datum list_count(const struct calling *call)
{
    int64_t n = 0;
    for (size_t i = 0; i < call->in.list->n && !call->run->failed; i++)
        n += datum_equal(call->run, call->in.list->p[i], call->arg[0]);
    return datum_whole(n);
}

static struct datum list_copy(const struct calling *call)
{
    struct datum copy = list_new(call->run, LIST, 0);
    for (size_t i = 0; i < call->in.list->n && !call->run->failed; i++)
        list_add(call->run, copy.list, call->in.list->p[i]);
    return copy;
}

static struct datum list_append(const struct calling *call)
{
    list_add(call->run, call->in.list, call->arg[0]);
    return datum_of(D_NONE);
}

static struct datum list_extend(const struct calling *call)
{
    struct list items;
    if (datum_iterate(call->run, call->arg[0], &items))
        for (size_t i = 0; i < items.n && !call->run->failed; i++)
            list_add(call->run, call->in.list, items.p[i]);
    return datum_of(D_NONE);
}

static struct datum list_insert(const struct calling *call)
{
    struct list *list = call->in.list;
    int64_t at = 0;
    if (!datum_whole_of(call->run, call->arg[0], &at, "insert()'s place"))
        return datum_of(D_NONE);
    at = at < 0 ? at + (int64_t)list->n : at;
    at = at<0 ? 0 : at>(int64_t) list->n ? (int64_t)list->n : at;
    list_add(call->run, list, call->arg[1]);
    if (run_charge(call->run, list->n / 8)) {
        memmove(list->p + at + 1, list->p + at, (list->n - 1 - (size_t)at) * sizeof(*list->p));
        list->p[at] = call->arg[1];
    }
    return datum_of(D_NONE);
}

static struct datum list_pop(const struct calling *call)
{
    struct list *list = call->in.list;
    int64_t at = -1;
    if (call->arg[0].kind != D_MISSING &&
        !datum_whole_of(call->run, call->arg[0], &at, "pop()'s place"))
        return datum_of(D_NONE);
    at = at < 0 ? at + (int64_t)list->n : at;
    if (at < 0 || at >= (int64_t)list->n || !run_charge(call->run, list->n / 8)) {
        run_fail(call->run, BAD_INPUT, "pop(): there is no such item");
        return datum_of(D_NONE);
    }
    struct datum item = list->p[at];
    memmove(list->p + at, list->p + at + 1, (list->n - 1 - (size_t)at) * sizeof(*list->p));
    list->n--;
    return item;
}

static const struct function list_methods[] = {
    {"index", list_index, "value", 1},   {"count", list_count, "value", 1},
    {"copy", list_copy, "", 0},          {"append", list_append, "item", 1},
    {"extend", list_extend, "items", 1}, {"insert", list_insert, "at item", 2},
    {"pop", list_pop, "at", 0},          {NULL, NULL, NULL, 0},
};
enum { N_TUPLE_METHODS = 2 }; // the first ones

// ---- methods of dicts ---------------------------------------------------------------------------

static struct datum dict_view(const struct calling *call, enum sequence sequence)
{
    const struct dict *dict = call->in.dict;
    struct datum list = list_new(call->run, sequence, dict->n);
    for (size_t i = 0; i < dict->n && run_charge(call->run, 1); i++) {
        struct datum *out = &list.list->p[i];
        if (sequence != ITEMS) {
            *out = sequence == KEYS ? dict->p[i].key : dict->p[i].value;
            continue;
        }
        *out = list_new(call->run, TUPLE, 2);
        if (call->run->failed)
            break;
        out->list->p[0] = dict->p[i].key;
        out->list->p[1] = dict->p[i].value;
    }
    return list;
}

static struct datum dict_keys(const struct calling *call)
{
    return dict_view(call, KEYS);
}

static struct datum dict_values(const struct calling *call)
{
    return dict_view(call, VALUES);
}

static struct datum dict_items(const struct calling *call)
{
    return dict_view(call, ITEMS);
}

static struct datum dict_get_method(const struct calling *call)
{
    const struct datum *value = dict_get(call->run, call->in.dict, call->arg[0]);
    if (value)
        return *value;
    return call->arg[1].kind == D_MISSING ? datum_of(D_NONE) : call->arg[1];
}

static struct datum dict_copy(const struct calling *call)
{
    struct datum copy = dict_new(call->run, D_DICT);
    if (!call->run->failed)
        take_dict(call->run, copy.dict, call->in);
    return copy;
}

static struct datum dict_update(const struct calling *call)
{
    if (call->args->n == 1)
        take_dict(call->run, call->in.dict, call->args->p[0]);
    take_named(call->run, call->in.dict, call->args);
    return datum_of(D_NONE);
}

static struct datum dict_setdefault(const struct calling *call)
{
    const struct datum *value = dict_get(call->run, call->in.dict, call->arg[0]);
    if (value)
        return *value;
    struct datum fresh = call->arg[1].kind == D_MISSING ? datum_of(D_NONE) : call->arg[1];
    dict_set(call->run, call->in.dict, call->arg[0], fresh);
    return fresh;
}

static struct datum dict_pop(const struct calling *call)
{
    struct dict *dict = call->in.dict;
    const struct datum *value = dict_get(call->run, dict, call->arg[0]);
    if (!value && call->arg[1].kind == D_MISSING)
        run_fail(call->run, BAD_INPUT, "pop(): there is no such key");
    if (!value || !run_charge(call->run, dict->n / 8))
        return call->arg[1];
    struct datum popped = *value;
    for (size_t i = 0; i < dict->n; i++)
        if (&dict->p[i].value == value) {
            memmove(dict->p + i, dict->p + i + 1, (dict->n - 1 - i) * sizeof(*dict->p));
            dict->n--;
            break;
        }
    return popped;
}

static const struct function dict_methods[] = {
    {"get", dict_get_method, "key default", 1},
    {"items", dict_items, "", 0},
    {"keys", dict_keys, "", 0},
    {"values", dict_values, "", 0},
    {"copy", dict_copy, "", 0},
    {"update", dict_update, NULL, 0},
    {"setdefault", dict_setdefault, "key default", 1},
    {"pop", dict_pop, "key default", 1},
    {NULL, NULL, NULL, 0},
};

// ---- methods of loops and cyclers ---------------------------------------------------------------

static struct datum loop_cycle(const struct calling *call)
{
    if (call->args->n == 0) {
        run_fail(call->run, BAD_INPUT, "loop.cycle() wants at least one item");
        return datum_of(D_NONE);
    }
    return call->args->p[call->in.loop->at % call->args->n];
}

static struct datum loop_changed(const struct calling *call)
{
    struct loop *loop = call->in.loop;
    struct datum now = list_new(call->run, TUPLE, 0);
    for (size_t i = 0; i < call->args->n && !call->run->failed; i++)
        list_add(call->run, now.list, call->args->p[i]);
    if (call->run->failed)
        return now;
    bool same = loop->changed.kind == D_LIST && datum_equal(call->run, loop->changed, now);
    loop->changed = now;
    return datum_bool(!same);
}

static struct datum cycler_next(const struct calling *call)
{
    struct cycler *cycler = call->in.cycler;
    struct datum item = cycler->items.p[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->items.n;
    return item;
}

static struct datum cycler_reset(const struct calling *call)
{
    call->in.cycler->at = 0;
    return datum_of(D_NONE);
}

static const struct function loop_methods[] = {
    {"cycle", loop_cycle, NULL, 0}, {"changed", loop_changed, NULL, 0}, {NULL, NULL, NULL, 0}};
static const struct function cycler_methods[] = {
    {"next", cycler_next, "", 0}, {"reset", cycler_reset, "", 0}, {NULL, NULL, NULL, 0}};

const struct function *method_find(struct datum object, struct bytes name)
{
    bool tuple = object.kind == D_LIST && object.list->sequence != LIST;
    const struct function *methods = object.kind == D_TEXT     ? jinja_methods_text
                                     : object.kind == D_LIST   ? list_methods
                                     : object.kind == D_DICT   ? dict_methods
                                     : object.kind == D_LOOP   ? loop_methods
                                     : object.kind == D_CYCLER ? cycler_methods
                                                               : NULL;
    for (size_t i = 0; methods && methods[i].name && !(tuple && i >= N_TUPLE_METHODS); i++)
        if (bytes_equal_text(name, methods[i].name))
            return &methods[i];
    return NULL;
}
