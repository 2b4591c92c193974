// jinja_eval.c - expressions: names, members, slices, operators, calls.
//
// Whole numbers are of 64 bits; what would be larger in Python is refused by name.
#include "jinja_inside.h"

#include <math.h>

// ---- names and members --------------------------------------------------------------------------

static struct datum eval_name(struct run *run, int32_t name, const struct scope *scope)
{
    struct datum value = scope_get(run, scope, name);
    if (value.kind != D_MISSING)
        return value;
    const struct symbol *symbol = &run->jinja->symbols[name];
    if (!symbol->function)
        return datum_undefined(symbol->name, NULL);
    value = datum_of(D_FUNCTION);
    value.function = symbol->function;
    return value;
}

static struct datum loop_member(struct run *run, const struct loop *loop, struct bytes name)
{
    const struct {
        const char *name;
        int64_t whole;
    } wholes[] = {{"index", (int64_t)loop->at + 1},
                  {"index0", (int64_t)loop->at},
                  {"revindex", (int64_t)(loop->n - loop->at)},
                  {"revindex0", (int64_t)(loop->n - loop->at) - 1},
                  {"length", (int64_t)loop->n},
                  {"depth", (int64_t)loop->depth + 1},
                  {"depth0", (int64_t)loop->depth}};
    for (size_t i = 0; i < COUNT_OF(wholes); i++)
        if (bytes_equal_text(name, wholes[i].name))
            return datum_whole(wholes[i].whole);
    if (bytes_equal_text(name, "first"))
        return datum_bool(loop->at == 0);
    if (bytes_equal_text(name, "last"))
        return datum_bool(loop->at + 1 >= loop->n);
    if (bytes_equal_text(name, "previtem") && loop->at > 0)
        return loop->items[loop->at - 1];
    if (bytes_equal_text(name, "nextitem") && loop->at + 1 < loop->n)
        return loop->items[loop->at + 1];
    (void)run;
    return datum_undefined(name, "loop");
}

// Methods come before keys with a dot, after them in brackets.
static struct datum method_of(struct run *run, struct datum object, struct bytes name)
{
    const struct function *function = method_find(object, name);
    struct datum datum = datum_of(D_METHOD);
    if (!function)
        return datum_of(D_MISSING);
    datum.method = run_take(run, sizeof(*datum.method));
    if (!datum.method)
        return datum_of(D_NONE);
    *datum.method = (struct method){object, function};
    return datum;
}

static struct datum member_of(struct run *run, struct datum object, struct bytes name)
{
    if (object.kind == D_LOOP)
        return loop_member(run, object.loop, name);
    if (object.kind == D_CYCLER && bytes_equal_text(name, "current") && object.cycler->items.n > 0)
        return object.cycler->items.p[object.cycler->at];
    // groupby's pairs
    bool pair = object.kind == D_LIST && object.list->sequence == TUPLE && object.list->n == 2;
    if (pair && bytes_equal_text(name, "grouper"))
        return object.list->p[0];
    if (pair && bytes_equal_text(name, "list"))
        return object.list->p[1];
    if (object.kind == D_MACRO && bytes_equal_text(name, "name"))
        return object.macro->node->value;
    if (object.kind != D_DICT && object.kind != D_NAMESPACE)
        return datum_undefined(name, datum_type(object));
    struct datum *value = dict_get_text(run, object.dict, name);
    return value ? *value : datum_undefined(name, datum_type(object));
}

struct datum eval_attribute(struct run *run, struct datum object, struct bytes name)
{
    if (object.kind == D_UNDEFINED) {
        undefined_fail(run, object);
        return object;
    }
    struct datum method = method_of(run, object, name);
    if (method.kind != D_MISSING)
        return method;
    return member_of(run, object, name);
}

static bool index_of(int64_t at, size_t n, size_t *out)
{
    if (at < 0)
        at += (int64_t)n;
    *out = (size_t)at;
    return at >= 0 && (size_t)at < n;
}

static struct datum item_at(struct run *run, struct datum object, int64_t at)
{
    size_t i, n;
    if (object.kind == D_LIST && object.list->sequence != GENERATOR &&
        (object.list->sequence <= TUPLE || object.list->sequence == RANGE) &&
        index_of(at, object.list->n, &i))
        return object.list->p[i];
    if (object.kind == D_TEXT && datum_length(run, object, &n) && index_of(at, n, &i)) {
        struct bytes text = text_bytes_of(object);
        size_t from = text_offset(text, i);
        struct bytes rest = {text.p + from, text.n - from};
        return text_part(object, from, text_offset(rest, 1));
    }
    return datum_undefined(bytes_of("an index"), datum_type(object));
}

struct datum eval_item(struct run *run, struct datum object, struct datum key)
{
    if (object.kind == D_UNDEFINED) {
        undefined_fail(run, object);
        return object;
    }
    if (object.kind == D_DICT) {
        struct datum *value = dict_get(run, object.dict, key);
        if (value)
            return *value;
    }
    if (key.kind == D_WHOLE || key.kind == D_BOOL)
        return item_at(run, object, key.kind == D_BOOL ? key.yes : key.whole);
    if (key.kind != D_TEXT)
        return datum_undefined(bytes_of(datum_type(key)), datum_type(object));
    struct datum method = method_of(run, object, text_bytes_of(key));
    return method.kind != D_MISSING ? method : member_of(run, object, text_bytes_of(key));
}

// ---- slices -------------------------------------------------------------------------------------

// Python's rules: bounds beyond the ends mean the ends; with a negative step from the end.
static void slice_bounds(int64_t n, int64_t step, int64_t bound[2], const bool given[2])
{
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    for (int i = 0; i < 2; i++)
        if (!given[i])
            bound[i] = (step < 0) == (i == 0) ? high : low;
        else if (bound[i] < 0)
            bound[i] = bound[i] + n < low ? low : bound[i] + n;
        else
            bound[i] = bound[i] > high ? high : bound[i];
}

static struct datum slice_text(struct run *run, struct datum text, int64_t from, int64_t to,
                               int64_t step)
{
    struct list points;
    if (step == 1) {
        struct bytes view = text_bytes_of(text);
        size_t begin = text_offset(view, (size_t)from);
        struct bytes rest = {view.p + begin, view.n - begin};
        return text_part(text, begin, to > from ? text_offset(rest, (size_t)(to - from)) : 0);
    }
    if (!datum_iterate(run, text, &points))
        return text;
    size_t begin = run->n_out;
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
        write_text(run, points.p[i]);
    struct datum out = run_since(run, begin);
    out.safe = text.safe;
    return out;
}

struct datum eval_slice(struct run *run, struct datum object, const struct datum given[3])
{
    int64_t bound[2] = {0, 0}, step = 1;
    bool is_given[2];
    size_t n;
    if (object.kind == D_UNDEFINED)
        undefined_fail(run, object);
    bool list = object.kind == D_LIST && object.list->sequence != GENERATOR;
    if (run->failed || (!list && object.kind != D_TEXT) || !datum_length(run, object, &n))
        return datum_undefined(bytes_of("slice"), datum_type(object));
    for (int i = 0; i < 2; i++) {
        is_given[i] = given[i].kind != D_NONE && given[i].kind != D_MISSING;
        if (is_given[i] && !datum_whole_of(run, given[i], &bound[i], "a bound"))
            return object;
    }
    if (given[2].kind != D_NONE && given[2].kind != D_MISSING &&
        !datum_whole_of(run, given[2], &step, "a step"))
        return object;
    if (step == 0 || step < -INT32_MAX || step > INT32_MAX) {
        run_fail(run, BAD_INPUT, "a slice's step is %lld", (long long)step);
        return object;
    }
    slice_bounds((int64_t)n, step, bound, is_given);
    if (object.kind == D_TEXT)
        return slice_text(run, object, bound[0], bound[1], step);
    struct datum out = list_new(run, object.list->sequence == TUPLE ? TUPLE : LIST, 0);
    for (int64_t i = bound[0]; (step > 0 ? i < bound[1] : i > bound[1]) && !run->failed; i += step)
        list_add(run, out.list, object.list->p[i]);
    return out;
}

static struct datum eval_subscript(struct run *run, const struct construct *node,
                                   struct scope *scope)
{
    struct datum object = eval(run, node->a, scope);
    if (node->b->kind != N_SLICE)
        return eval_item(run, object, eval(run, node->b, scope));
    const struct construct *bounds[3] = {node->b->a, node->b->b, node->b->c};
    struct datum given[3];
    for (int i = 0; i < 3; i++)
        given[i] = bounds[i] ? eval(run, bounds[i], scope) : datum_of(D_NONE);
    return eval_slice(run, object, given);
}

// ---- operators ----------------------------------------------------------------------------------

static struct datum too_big(struct run *run)
{
    run_fail(run, UNSUPPORTED, "a whole number of more than 63 bits");
    return datum_whole(0);
}

static struct datum whole_power(struct run *run, int64_t a, int64_t b)
{
    int64_t power = 1;
    if (b < 0)
        return datum_real(pow((double)a, (double)b));
    for (; b > 0; b--)
        if (!run_charge(run, 1) || __builtin_mul_overflow(power, a, &power))
            return too_big(run);
    return datum_whole(power);
}

static struct datum whole_math(struct run *run, enum operator op, int64_t a, int64_t b)
{
    int64_t out = 0;
    if ((op == FLOOR_DIV || op == MOD || op == DIV) && b == 0) {
        run_fail(run, BAD_INPUT, "division by zero");
        return datum_whole(0);
    }
    switch (op) {
    case ADD:
        return __builtin_add_overflow(a, b, &out) ? too_big(run) : datum_whole(out);
    case SUB:
        return __builtin_sub_overflow(a, b, &out) ? too_big(run) : datum_whole(out);
    case MUL:
        return __builtin_mul_overflow(a, b, &out) ? too_big(run) : datum_whole(out);
    case FLOOR_DIV:
        if (b == -1)
            return __builtin_sub_overflow(0, a, &out) ? too_big(run) : datum_whole(out);
        return datum_whole(a / b - (a % b != 0 && (a < 0) != (b < 0)));
    case MOD:
        return datum_whole(b == -1 ? 0 : (a % b + b) % b);
    case DIV:
        return datum_real((double)a / (double)b);
    default:
        return whole_power(run, a, b);
    }
}

static struct datum real_math(struct run *run, enum operator op, double a, double b)
{
    if ((op == FLOOR_DIV || op == MOD || op == DIV) && b == 0)
        run_fail(run, BAD_INPUT, "division by zero");
    double rest = op == MOD && b != 0 ? fmod(a, b) : 0;
    switch (op) {
    case ADD:
        return datum_real(a + b);
    case SUB:
        return datum_real(a - b);
    case MUL:
        return datum_real(a * b);
    case DIV:
        return datum_real(b != 0 ? a / b : 0);
    case FLOOR_DIV:
        return datum_real(b != 0 ? floor(a / b) : 0);
    case MOD:
        return datum_real(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    default:
        return datum_real(pow(a, b));
    }
}

static struct datum repeated(struct run *run, struct datum what, int64_t n)
{
    if (what.kind == D_LIST) {
        struct datum list = list_new(run, what.list->sequence, 0);
        for (int64_t i = 0; i < n && what.list->n > 0 && !run->failed; i++)
            for (size_t k = 0; k < what.list->n && !run->failed; k++)
                list_add(run, list.list, what.list->p[k]);
        return list;
    }
    size_t from = run->n_out;
    for (int64_t i = 0; i < n && what.text.n > 0 && run_charge(run, 1); i++)
        write_text(run, what);
    struct datum text = run_since(run, from);
    text.safe = what.safe;
    return text;
}

static struct datum added(struct run *run, struct datum a, struct datum b)
{
    if (a.kind == D_LIST) {
        struct datum list = list_new(run, a.list->sequence, 0);
        for (size_t i = 0; i < a.list->n && !run->failed; i++)
            list_add(run, list.list, a.list->p[i]);
        for (size_t i = 0; i < b.list->n && !run->failed; i++)
            list_add(run, list.list, b.list->p[i]);
        return list;
    }
    bool safe = a.safe || b.safe;
    size_t from = run->n_out;
    write_text(run, safe ? datum_escape(run, a) : a);
    write_text(run, safe ? datum_escape(run, b) : b);
    struct datum text = run_since(run, from);
    text.safe = safe;
    return text;
}

static bool is_sequence(struct datum datum)
{
    return datum.kind == D_TEXT || (datum.kind == D_LIST && datum.list->sequence <= TUPLE);
}

struct datum eval_binary(struct run *run, enum operator op, struct datum a, struct datum b)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (run->failed)
        return a;
    bool same_list = a.kind == D_LIST && b.kind == D_LIST && a.list->sequence == b.list->sequence;
    if (a.kind == D_UNDEFINED || b.kind == D_UNDEFINED)
        undefined_fail(run, a.kind == D_UNDEFINED ? a : b);
    else if (datum_is_number(a) && datum_is_number(b)) {
        if (a.kind == D_REAL || b.kind == D_REAL)
            return real_math(run, op, datum_number(a), datum_number(b));
        return whole_math(run, op, a.kind == D_BOOL ? a.yes : a.whole,
                          b.kind == D_BOOL ? b.yes : b.whole);
    } else if (op == ADD && is_sequence(a) && (same_list || (a.kind == b.kind && a.kind == D_TEXT)))
        return added(run, a, b);
    else if (op == MUL && is_sequence(a) && (b.kind == D_WHOLE || b.kind == D_BOOL))
        return repeated(run, a, b.kind == D_BOOL ? b.yes : b.whole);
    else if (op == MUL && is_sequence(b) && (a.kind == D_WHOLE || a.kind == D_BOOL))
        return repeated(run, b, a.kind == D_BOOL ? a.yes : a.whole);
    else if (op == MOD && a.kind == D_TEXT) {
        struct args args = {.p = &b, .n = 1};
        if (b.kind == D_LIST && b.list->sequence == TUPLE)
            args = (struct args){.p = b.list->p, .n = b.list->n};
        return text_percent(run, a, &args);
    } else
        run_fail(run, BAD_INPUT, "'%s' cannot stand between '%s' and '%s'", signs[op],
                 datum_type(a), datum_type(b));
    return a;
}

static bool compare(struct run *run, enum operator op, struct datum a, struct datum b)
{
    switch (op) {
    case EQ:
        return datum_equal(run, a, b);
    case NE:
        return !datum_equal(run, a, b);
    case LT:
        return datum_order(run, a, b, "<") < 0;
    case LE:
        return datum_order(run, a, b, "<=") <= 0;
    case GT:
        return datum_order(run, a, b, ">") > 0;
    case GE:
        return datum_order(run, a, b, ">=") >= 0;
    case IN:
        return datum_contains(run, b, a);
    default:
        return !datum_contains(run, b, a);
    }
}

static struct datum eval_compare(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum left = eval(run, node->a, scope);
    for (const struct construct *operand = node->b; operand && !run->failed;
         operand = operand->next) {
        struct datum right = eval(run, operand->a, scope);
        if (run->failed || !compare(run, operand->op, left, right))
            return datum_bool(false);
        left = right;
    }
    return datum_bool(true);
}

static struct datum eval_sign(struct run *run, bool minus, struct datum value)
{
    if (value.kind == D_UNDEFINED)
        undefined_fail(run, value);
    else if (!datum_is_number(value))
        run_fail(run, BAD_INPUT, "a '%s' has no sign", datum_type(value));
    if (run->failed || value.kind == D_REAL) {
        value.real = minus && !run->failed ? -value.real : value.real;
        return value;
    }
    return whole_math(run, minus ? SUB : ADD, 0, value.kind == D_BOOL ? value.yes : value.whole);
}

static struct datum eval_concat(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum parts = list_new(run, LIST, 0);
    for (const struct construct *part = node->a; part && !run->failed; part = part->next)
        list_add(run, parts.list, eval(run, part, scope));
    size_t from = run->n_out;
    for (size_t i = 0; !run->failed && i < parts.list->n; i++)
        write_str(run, parts.list->p[i]);
    return run_since(run, from);
}

// ---- calls --------------------------------------------------------------------------------------

static void add_named(struct run *run, struct args *out, struct datum name, struct datum value)
{
    if (!run_charge(run, out->n_named / 8))
        return;
    for (size_t i = 0; i < out->n_named; i++)
        if (datum_equal(run, out->named[i].key, name))
            run_fail(run, BAD_INPUT, "an argument is given twice");
    out->named[out->n_named++] = (struct key_value){name, value};
}

static size_t n_of_spread(struct datum datum)
{
    return datum.kind == D_LIST ? datum.list->n : datum.kind == D_DICT ? datum.dict->n : 0;
}

static void spread(struct run *run, bool named, struct datum value, struct args *out)
{
    struct list items;
    if (named && value.kind != D_DICT)
        run_fail(run, BAD_INPUT, "** wants a dict, not '%s'", datum_type(value));
    for (size_t i = 0; named && !run->failed && i < value.dict->n; i++)
        add_named(run, out, value.dict->p[i].key, value.dict->p[i].value);
    if (!named && value.kind != D_LIST)
        run_fail(run, BAD_INPUT, "* wants a list, not '%s'", datum_type(value));
    if (named || !datum_iterate(run, value, &items))
        return;
    for (size_t i = 0; i < items.n; i++)
        out->p[out->n++] = items.p[i];
}

void eval_args(struct run *run, const struct construct *first, struct scope *scope,
               struct args *out)
{
    size_t n = 0, n_most = 0, i = 0;
    *out = (struct args){NULL, 0, NULL, 0};
    for (const struct construct *node = first; node; node = node->next)
        n++;
    if (n == 0)
        return;
    struct datum *values = run_take(run, n * sizeof(*values));
    for (const struct construct *node = first; node && !run->failed; node = node->next, i++) {
        bool wrapped = node->kind >= N_NAMED && node->kind <= N_STAR_STAR;
        values[i] = eval(run, wrapped ? node->a : node, scope);
        n_most += node->kind == N_STAR || node->kind == N_STAR_STAR ? n_of_spread(values[i]) : 1;
    }
    out->p = run_take(run, n_most * sizeof(*out->p));
    out->named = run_take(run, n_most * sizeof(*out->named));
    i = 0;
    for (const struct construct *node = first; node && !run->failed; node = node->next, i++)
        if (node->kind == N_NAMED)
            add_named(run, out, node->value, values[i]);
        else if (node->kind == N_STAR || node->kind == N_STAR_STAR)
            spread(run, node->kind == N_STAR_STAR, values[i], out);
        else
            out->p[out->n++] = values[i];
}

static struct datum eval_call(struct run *run, const struct construct *node, struct scope *scope)
{
    struct args args;
    struct datum callee = eval(run, node->a, scope);
    eval_args(run, node->b, scope, &args);
    if (run->failed)
        return datum_of(D_NONE);
    run->line = node->line;
    return call_any(run, callee, &args);
}

static struct datum eval_filter(struct run *run, const struct construct *node, struct scope *scope)
{
    struct args args;
    struct datum in = node->a ? eval(run, node->a, scope) : run->block;
    eval_args(run, node->b, scope, &args);
    return run->failed ? in : filter_apply(run, node->filter, in, &args);
}

static struct datum eval_test(struct run *run, const struct construct *node, struct scope *scope)
{
    struct args args;
    struct datum in = eval(run, node->a, scope);
    eval_args(run, node->b, scope, &args);
    return datum_bool(!run->failed && test_apply(run, node->tester, in, &args));
}

// ---- one expression -----------------------------------------------------------------------------

static struct datum eval_items(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum list = list_new(run, node->kind == N_TUPLE ? TUPLE : LIST, 0);
    for (const struct construct *item = node->a; item && !run->failed; item = item->next)
        list_add(run, list.list, eval(run, item, scope));
    return list;
}

static struct datum eval_dict(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum dict = dict_new(run, D_DICT);
    for (const struct construct *key = node->a; key && !run->failed; key = key->next->next) {
        struct datum name = eval(run, key, scope), value = eval(run, key->next, scope);
        if (!run->failed)
            dict_set(run, dict.dict, name, value);
    }
    return dict;
}

static struct datum eval_ternary(struct run *run, const struct construct *node, struct scope *scope)
{
    if (datum_true(eval(run, node->b, scope)))
        return eval(run, node->a, scope);
    return node->c ? eval(run, node->c, scope)
                   : datum_undefined(bytes_of("the other side of an if"), NULL);
}

static struct datum eval_one(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum left;
    switch (node->kind) {
    case N_CONST:
        return node->value;
    case N_NAME:
        return eval_name(run, node->name, scope);
    case N_LIST:
    case N_TUPLE:
        return eval_items(run, node, scope);
    case N_DICT:
        return eval_dict(run, node, scope);
    case N_AND:
    case N_OR:
        left = eval(run, node->a, scope);
        return datum_true(left) == (node->kind == N_AND) ? eval(run, node->b, scope) : left;
    case N_NOT:
        return datum_bool(!datum_true(eval(run, node->a, scope)));
    case N_COMPARE:
        return eval_compare(run, node, scope);
    case N_BINARY:
        left = eval(run, node->a, scope);
        return eval_binary(run, node->op, left, eval(run, node->b, scope));
    case N_CONCAT:
        return eval_concat(run, node, scope);
    case N_NEGATE:
    case N_PLUS:
        return eval_sign(run, node->kind == N_NEGATE, eval(run, node->a, scope));
    case N_TERNARY:
        return eval_ternary(run, node, scope);
    case N_ATTRIBUTE:
        return eval_attribute(run, eval(run, node->a, scope), text_bytes_of(node->value));
    case N_ITEM:
        return eval_subscript(run, node, scope);
    case N_CALL:
        return eval_call(run, node, scope);
    case N_FILTER:
        return eval_filter(run, node, scope);
    default:
        return eval_test(run, node, scope);
    }
}

struct datum eval(struct run *run, const struct construct *node, struct scope *scope)
{
    if (++run->depth > RUN_DEPTH)
        run_fail(run, TOO_LARGE, "the template calls itself too deep");
    struct datum value = run_charge(run, 1) ? eval_one(run, node, scope) : datum_of(D_NONE);
    run->depth--;
    return value;
}
