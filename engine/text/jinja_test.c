// jinja_test.c - tests: what may stand behind `is`, and be named in select and reject.
//
// An undefined value may be asked anything here; only even, odd and divisibleby fail with it.
#include "jinja_inside.h"
#include "inside.h"

static bool test_defined(const struct calling *call)
{
    return call->in.kind != D_UNDEFINED;
}

static bool test_undefined(const struct calling *call)
{
    return call->in.kind == D_UNDEFINED;
}

static bool test_none(const struct calling *call)
{
    return call->in.kind == D_NONE;
}

static bool test_boolean(const struct calling *call)
{
    return call->in.kind == D_BOOL;
}

static bool test_true(const struct calling *call)
{
    return call->in.kind == D_BOOL && call->in.yes;
}

static bool test_false(const struct calling *call)
{
    return call->in.kind == D_BOOL && !call->in.yes;
}

static bool test_integer(const struct calling *call)
{
    return call->in.kind == D_WHOLE;
}

static bool test_float(const struct calling *call)
{
    return call->in.kind == D_REAL;
}

static bool test_number(const struct calling *call)
{
    return datum_is_number(call->in);
}

static bool test_string(const struct calling *call)
{
    return call->in.kind == D_TEXT;
}

static bool test_mapping(const struct calling *call)
{
    return call->in.kind == D_DICT;
}

static bool test_iterable(const struct calling *call)
{
    enum datum_kind kind = call->in.kind;
    return kind == D_TEXT || kind == D_LIST || kind == D_DICT || kind == D_UNDEFINED ||
           kind == D_LOOP;
}

// What has a length and can be indexed: dicts too, as Jinja2 sees them.
static bool test_sequence(const struct calling *call)
{
    bool list = call->in.kind == D_LIST &&
                (call->in.list->sequence <= TUPLE || call->in.list->sequence == RANGE);
    return list || call->in.kind == D_TEXT || call->in.kind == D_DICT ||
           call->in.kind == D_UNDEFINED;
}

static bool test_callable(const struct calling *call)
{
    enum datum_kind kind = call->in.kind;
    return kind == D_MACRO || kind == D_FUNCTION || kind == D_METHOD || kind == D_LOOP ||
           kind == D_JOINER || kind == D_UNDEFINED;
}

static bool test_escaped(const struct calling *call)
{
    return call->in.kind == D_TEXT && call->in.safe;
}

static bool cased(const struct calling *call, char how)
{
    struct datum text = datum_str(call->run, call->in);
    struct args none = {NULL, 0, NULL, 0};
    const struct function *is = method_find(text, bytes_of(how == 'u' ? "isupper" : "islower"));
    return is && datum_true(call_bound(call->run, is->name, "", 0, is->work, text, &none));
}

static bool test_lower(const struct calling *call)
{
    return cased(call, 'l');
}

static bool test_upper(const struct calling *call)
{
    return cased(call, 'u');
}

// The rest of the division by the argument (or by `by`).
static bool divides(const struct calling *call, struct datum by, int64_t wanted)
{
    struct datum rest = eval_binary(call->run, MOD, call->in, by);
    return !call->run->failed && datum_is_number(rest) && datum_number(rest) == (double)wanted;
}

static bool test_divisibleby(const struct calling *call)
{
    return divides(call, call->arg[0], 0);
}

static bool test_even(const struct calling *call)
{
    return divides(call, datum_whole(2), 0);
}

static bool test_odd(const struct calling *call)
{
    return divides(call, datum_whole(2), 1);
}

static bool test_eq(const struct calling *call)
{
    return datum_equal(call->run, call->in, call->arg[0]);
}

static bool test_ne(const struct calling *call)
{
    return !datum_equal(call->run, call->in, call->arg[0]);
}

static bool test_lt(const struct calling *call)
{
    return datum_order(call->run, call->in, call->arg[0], "<") < 0;
}

static bool test_le(const struct calling *call)
{
    return datum_order(call->run, call->in, call->arg[0], "<=") <= 0;
}

static bool test_gt(const struct calling *call)
{
    return datum_order(call->run, call->in, call->arg[0], ">") > 0;
}

static bool test_ge(const struct calling *call)
{
    return datum_order(call->run, call->in, call->arg[0], ">=") >= 0;
}

static bool test_in(const struct calling *call)
{
    return datum_contains(call->run, call->arg[0], call->in);
}

// The same thing: none, true, false, a list itself; equal numbers and texts count as the same.
static bool test_sameas(const struct calling *call)
{
    struct datum a = call->in, b = call->arg[0];
    if (a.kind != b.kind)
        return false;
    return a.kind == D_LIST || a.kind == D_DICT ? a.dict == b.dict : datum_equal(call->run, a, b);
}

static bool test_filter(const struct calling *call)
{
    return call->in.kind == D_TEXT && filter_find(text_bytes_of(call->in));
}

static bool test_test(const struct calling *call)
{
    return call->in.kind == D_TEXT && test_find(text_bytes_of(call->in));
}

static const struct tester tests[] = {
    {"defined", test_defined, 0},
    {"undefined", test_undefined, 0},
    {"none", test_none, 0},
    {"boolean", test_boolean, 0},
    {"true", test_true, 0},
    {"false", test_false, 0},
    {"integer", test_integer, 0},
    {"float", test_float, 0},
    {"number", test_number, 0},
    {"string", test_string, 0},
    {"mapping", test_mapping, 0},
    {"iterable", test_iterable, 0},
    {"sequence", test_sequence, 0},
    {"callable", test_callable, 0},
    {"escaped", test_escaped, 0},
    {"lower", test_lower, 0},
    {"upper", test_upper, 0},
    {"even", test_even, 0},
    {"odd", test_odd, 0},
    {"filter", test_filter, 0},
    {"test", test_test, 0},
    {"divisibleby", test_divisibleby, 1},
    {"sameas", test_sameas, 1},
    {"in", test_in, 1},
    {"eq", test_eq, 1},
    {"==", test_eq, 1},
    {"equalto", test_eq, 1},
    {"ne", test_ne, 1},
    {"!=", test_ne, 1},
    {"lt", test_lt, 1},
    {"<", test_lt, 1},
    {"lessthan", test_lt, 1},
    {"le", test_le, 1},
    {"<=", test_le, 1},
    {"gt", test_gt, 1},
    {">", test_gt, 1},
    {"greaterthan", test_gt, 1},
    {"ge", test_ge, 1},
    {">=", test_ge, 1},
};

const struct tester *test_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(tests); i++)
        if (bytes_equal_text(name, tests[i].name))
            return &tests[i];
    return NULL;
}

bool test_apply(struct run *run, const struct tester *tester, struct datum in,
                const struct args *args)
{
    struct calling call = {run, in, args->p, args};
    if (args->n != (size_t)tester->n_args || args->n_named > 0)
        run_fail(run, BAD_INPUT, "the test '%s' takes %d arguments, %zu are given", tester->name,
                 tester->n_args, args->n + args->n_named);
    return run_charge(run, 1) && tester->work(&call);
}
