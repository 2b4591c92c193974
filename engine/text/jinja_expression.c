// jinja_expression.c - expressions into a tree, with Jinja2's precedences: from weak to strong
// `if else`, or, and, not, comparisons (chained, in, not in), + -, ~, * / // %, **, signs, and then
// what follows a value: . [] () | is.
#include "jinja_inside.h"

static struct construct *add_to(struct construct ***end, struct construct *node)
{
    **end = node;
    *end = &node->next;
    return node;
}

// ---- values -------------------------------------------------------------------------------------

static struct construct *constant(struct parser *p, struct datum value)
{
    struct construct *node = jinja_node(p, N_CONST);
    node->value = value;
    return node;
}

static struct construct *parse_name(struct parser *p)
{
    static const struct {
        const char *name;
        enum datum_kind kind;
        bool yes;
    } known[] = {{"true", D_BOOL, true},   {"True", D_BOOL, true},  {"false", D_BOOL, false},
                 {"False", D_BOOL, false}, {"none", D_NONE, false}, {"None", D_NONE, false}};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (jinja_skip(p, known[i].name)) {
            struct datum value = datum_of(known[i].kind);
            value.yes = known[i].yes;
            return constant(p, value);
        }
    struct construct *node = jinja_node(p, N_NAME);
    node->name = jinja_symbol(p, p->token->text);
    p->uses_varargs = p->uses_varargs || jinja_is(p, "varargs");
    p->uses_kwargs = p->uses_kwargs || jinja_is(p, "kwargs");
    jinja_next(p);
    return node;
}

// Neighbours are one.
static struct construct *parse_string(struct parser *p)
{
    size_t n = 0, n_tokens = 0;
    while (p->token[n_tokens].kind == T_TEXT)
        n += p->token[n_tokens++].text.n;
    struct bytes text = p->token->text;
    if (n_tokens > 1) {
        uint8_t *joined = arena_take(&p->jinja->arena, n + 1);
        if (!joined) {
            jinja_refuse(p, TOO_LARGE, "the strings are too long");
            return jinja_node(p, N_CONST);
        }
        text = (struct bytes){joined, 0};
        for (size_t i = 0; i < n_tokens; i++) {
            memcpy(joined + text.n, p->token[i].text.p, p->token[i].text.n);
            text.n += p->token[i].text.n;
        }
    }
    struct construct *node = constant(p, datum_view(text, NULL));
    p->token += n_tokens;
    return node;
}

static struct construct *parse_list(struct parser *p)
{
    struct construct *node = jinja_node(p, N_LIST), **end = &node->a;
    jinja_next(p);
    while (!p->failed && !jinja_is_operator(p, "]")) {
        if (node->a)
            jinja_expect(p, T_OPERATOR, ",");
        if (jinja_is_operator(p, "]"))
            break;
        add_to(&end, jinja_expression(p));
    }
    jinja_expect(p, T_OPERATOR, "]");
    return node;
}

static struct construct *parse_dict(struct parser *p)
{
    struct construct *node = jinja_node(p, N_DICT), **end = &node->a;
    jinja_next(p);
    while (!p->failed && !jinja_is_operator(p, "}")) {
        if (node->a)
            jinja_expect(p, T_OPERATOR, ",");
        if (jinja_is_operator(p, "}"))
            break;
        add_to(&end, jinja_expression(p));
        jinja_expect(p, T_OPERATOR, ":");
        add_to(&end, jinja_expression(p));
    }
    jinja_expect(p, T_OPERATOR, "}");
    return node;
}

// What is between brackets: one expression, or a tuple.
static struct construct *parse_brackets(struct parser *p)
{
    struct construct *node;
    jinja_next(p);
    if (jinja_is_operator(p, ")"))
        node = jinja_node(p, N_TUPLE);
    else
        node = jinja_tuple(p, true);
    jinja_expect(p, T_OPERATOR, ")");
    return node;
}

static struct construct *parse_primary(struct parser *p)
{
    struct construct *node;
    switch (p->token->kind) {
    case T_NAME:
        return parse_name(p);
    case T_TEXT:
        return parse_string(p);
    case T_WHOLE:
        node = constant(p, datum_whole(p->token->whole));
        jinja_next(p);
        return node;
    case T_REAL:
        node = constant(p, datum_real(p->token->real));
        jinja_next(p);
        return node;
    default:
        break;
    }
    if (jinja_is_operator(p, "("))
        return parse_brackets(p);
    if (jinja_is_operator(p, "["))
        return parse_list(p);
    if (jinja_is_operator(p, "{"))
        return parse_dict(p);
    jinja_unexpected(p, "an expression");
    return jinja_node(p, N_CONST);
}

// ---- what follows a value -----------------------------------------------------------------------

static struct construct *parse_arguments(struct parser *p)
{
    struct construct *first = NULL, **end = &first;
    jinja_expect(p, T_OPERATOR, "(");
    while (!p->failed && !jinja_is_operator(p, ")")) {
        if (first)
            jinja_expect(p, T_OPERATOR, ",");
        if (jinja_is_operator(p, ")"))
            break;
        struct construct *node = NULL;
        if (jinja_skip_operator(p, "**"))
            node = jinja_node(p, N_STAR_STAR);
        else if (jinja_skip_operator(p, "*"))
            node = jinja_node(p, N_STAR);
        else if (p->token->kind == T_NAME && p->token[1].kind == T_OPERATOR &&
                 bytes_equal_text(p->token[1].text, "=")) {
            node = jinja_node(p, N_NAMED);
            node->value = datum_view(p->token->text, NULL);
            p->token += 2;
        }
        if (node)
            node->a = jinja_expression(p);
        add_to(&end, node ? node : jinja_expression(p));
    }
    jinja_expect(p, T_OPERATOR, ")");
    return first;
}

static struct construct *parse_call(struct parser *p, struct construct *callee)
{
    struct construct *node = jinja_node(p, N_CALL);
    node->a = callee;
    node->b = parse_arguments(p);
    return node;
}

static bool bound_missing(const struct parser *p)
{
    return jinja_is_operator(p, ":") || jinja_is_operator(p, "]") || jinja_is_operator(p, ",");
}

static struct construct *parse_subscribed(struct parser *p)
{
    struct construct *bound[3] = {NULL, NULL, NULL};
    if (!jinja_is_operator(p, ":")) {
        bound[0] = jinja_expression(p);
        if (!jinja_is_operator(p, ":"))
            return bound[0];
    }
    struct construct *node = jinja_node(p, N_SLICE);
    jinja_expect(p, T_OPERATOR, ":");
    if (!bound_missing(p))
        bound[1] = jinja_expression(p);
    if (jinja_skip_operator(p, ":") && !bound_missing(p))
        bound[2] = jinja_expression(p);
    node->a = bound[0];
    node->b = bound[1];
    node->c = bound[2];
    return node;
}

static struct construct *parse_subscript(struct parser *p, struct construct *object)
{
    struct construct *node;
    if (jinja_skip_operator(p, ".")) {
        node = jinja_node(p, p->token->kind == T_WHOLE ? N_ITEM : N_ATTRIBUTE);
        node->a = object;
        node->value = datum_view(p->token->text, NULL);
        if (p->token->kind == T_WHOLE)
            node->b = constant(p, datum_whole(p->token->whole));
        else if (p->token->kind != T_NAME)
            jinja_unexpected(p, "a name");
        jinja_next(p);
        return node;
    }
    node = jinja_node(p, N_ITEM);
    node->a = object;
    jinja_expect(p, T_OPERATOR, "[");
    node->b = parse_subscribed(p);
    if (jinja_is_operator(p, ","))
        jinja_refuse(p, UNSUPPORTED, "several keys in one pair of brackets");
    jinja_expect(p, T_OPERATOR, "]");
    return node;
}

static struct construct *parse_postfix(struct parser *p, struct construct *node)
{
    while (!p->failed)
        if (jinja_is_operator(p, ".") || jinja_is_operator(p, "["))
            node = parse_subscript(p, node);
        else if (jinja_is_operator(p, "("))
            node = parse_call(p, node);
        else
            break;
    return node;
}

struct construct *jinja_filters(struct parser *p, struct construct *in, bool begun)
{
    char name[NAME_TEXT];
    while (!p->failed && (begun || jinja_skip_operator(p, "|"))) {
        struct construct *node = jinja_node(p, N_FILTER);
        begun = false;
        node->a = in;
        node->filter = filter_find(p->token->text);
        if (p->token->kind != T_NAME)
            jinja_unexpected(p, "a filter's name");
        else if (!node->filter)
            jinja_refuse(p, UNSUPPORTED, "there is no filter '%s'",
                         name_text(name, p->token->text));
        jinja_next(p);
        if (jinja_is_operator(p, "("))
            node->b = parse_arguments(p);
        in = node;
    }
    return in;
}

// The one argument that a test may have without brackets.
static bool test_argument(const struct parser *p)
{
    enum token_kind kind = p->token->kind;
    if (kind == T_NAME)
        return !jinja_is(p, "else") && !jinja_is(p, "or") && !jinja_is(p, "and");
    return kind == T_TEXT || kind == T_WHOLE || kind == T_REAL || jinja_is_operator(p, "[") ||
           jinja_is_operator(p, "{");
}

static struct construct *parse_test(struct parser *p, struct construct *in)
{
    char name[NAME_TEXT];
    bool negated = jinja_skip(p, "not");
    struct construct *node = jinja_node(p, N_TEST);
    node->a = in;
    node->tester = test_find(p->token->text);
    if (p->token->kind != T_NAME)
        jinja_unexpected(p, "a test's name");
    else if (!node->tester)
        jinja_refuse(p, UNSUPPORTED, "there is no test '%s'", name_text(name, p->token->text));
    jinja_next(p);
    if (jinja_is_operator(p, "("))
        node->b = parse_arguments(p);
    else if (jinja_is(p, "is"))
        jinja_refuse(p, BAD_INPUT, "tests cannot be chained with 'is'");
    else if (test_argument(p))
        node->b = parse_postfix(p, parse_primary(p));
    if (!negated)
        return node;
    struct construct *not = jinja_node(p, N_NOT);
    not->a = node;
    return not;
}

static struct construct *parse_unary(struct parser *p, bool filters)
{
    struct construct *node;
    if (!jinja_enter(p)) {
        p->depth--;
        return jinja_node(p, N_CONST);
    }
    if (jinja_is_operator(p, "-") || jinja_is_operator(p, "+")) {
        node = jinja_node(p, jinja_is_operator(p, "-") ? N_NEGATE : N_PLUS);
        jinja_next(p);
        node->a = parse_unary(p, false);
    } else
        node = parse_primary(p);
    node = parse_postfix(p, node);
    while (filters && !p->failed)
        if (jinja_is_operator(p, "|"))
            node = jinja_filters(p, node, false);
        else if (jinja_skip(p, "is"))
            node = parse_test(p, node);
        else if (jinja_is_operator(p, "("))
            node = parse_call(p, node);
        else
            break;
    p->depth--;
    return node;
}

// ---- operators ----------------------------------------------------------------------------------

struct sign {
    const char *text;
    enum operator op;
};
static const struct sign products[] = {{"*", MUL}, {"//", FLOOR_DIV}, {"/", DIV}, {"%", MOD}};
static const struct sign sums[] = {{"+", ADD}, {"-", SUB}};
static const struct sign powers[] = {{"**", POW}};
static const struct sign orders[] = {{"==", EQ}, {"!=", NE}, {"<", LT},
                                     {"<=", LE}, {">", GT},  {">=", GE}};

static bool skip_sign(struct parser *p, const struct sign *signs, size_t n, enum operator* op)
{
    for (size_t i = 0; i < n; i++)
        if (jinja_skip_operator(p, signs[i].text)) {
            *op = signs[i].op;
            return true;
        }
    return false;
}

static struct construct *binary(struct parser *p, enum operator op, struct construct *a,
                                struct construct *b)
{
    struct construct *node = jinja_node(p, N_BINARY);
    node->op = op;
    node->a = a;
    node->b = b;
    return node;
}

static struct construct *parse_power(struct parser *p)
{
    struct construct *node = parse_unary(p, true);
    enum operator op;
    while (skip_sign(p, powers, COUNT_OF(powers), &op))
        node = binary(p, op, node, parse_unary(p, true));
    return node;
}

static struct construct *parse_product(struct parser *p)
{
    struct construct *node = parse_power(p);
    enum operator op;
    while (skip_sign(p, products, COUNT_OF(products), &op))
        node = binary(p, op, node, parse_power(p));
    return node;
}

static struct construct *parse_concat(struct parser *p)
{
    struct construct *first = parse_product(p);
    if (!jinja_is_operator(p, "~"))
        return first;
    struct construct *node = jinja_node(p, N_CONCAT), **end = &node->a;
    add_to(&end, first);
    while (jinja_skip_operator(p, "~"))
        add_to(&end, parse_product(p));
    return node;
}

static struct construct *parse_sum(struct parser *p)
{
    struct construct *node = parse_concat(p);
    enum operator op;
    while (skip_sign(p, sums, COUNT_OF(sums), &op))
        node = binary(p, op, node, parse_concat(p));
    return node;
}

static bool skip_comparison(struct parser *p, enum operator* op)
{
    if (jinja_skip(p, "in")) {
        *op = IN;
        return true;
    }
    if (jinja_is(p, "not") && p->token[1].kind == T_NAME &&
        bytes_equal_text(p->token[1].text, "in")) {
        p->token += 2;
        *op = NOT_IN;
        return true;
    }
    return skip_sign(p, orders, COUNT_OF(orders), op);
}

static struct construct *parse_comparison(struct parser *p)
{
    struct construct *first = parse_sum(p), *node = NULL, **end = NULL;
    enum operator op;
    while (skip_comparison(p, &op)) {
        if (!node) {
            node = jinja_node(p, N_COMPARE);
            node->a = first;
            end = &node->b;
        }
        struct construct *operand = add_to(&end, jinja_node(p, N_OPERAND));
        operand->op = op;
        operand->a = parse_sum(p);
    }
    return node ? node : first;
}

static struct construct *parse_not(struct parser *p)
{
    if (!jinja_is(p, "not"))
        return parse_comparison(p);
    struct construct *node = jinja_node(p, N_NOT);
    jinja_next(p);
    if (jinja_enter(p))
        node->a = parse_not(p);
    p->depth--;
    return node;
}

static struct construct *parse_and(struct parser *p)
{
    struct construct *node = parse_not(p);
    while (jinja_skip(p, "and")) {
        struct construct *both = jinja_node(p, N_AND);
        both->a = node;
        both->b = parse_not(p);
        node = both;
    }
    return node;
}

// An expression without `x if y`.
static struct construct *parse_condition(struct parser *p)
{
    struct construct *node = parse_and(p);
    while (jinja_skip(p, "or")) {
        struct construct *either = jinja_node(p, N_OR);
        either->a = node;
        either->b = parse_and(p);
        node = either;
    }
    return node;
}

struct construct *jinja_expression(struct parser *p)
{
    if (!jinja_enter(p)) {
        p->depth--;
        return jinja_node(p, N_CONST);
    }
    struct construct *node = parse_condition(p);
    while (jinja_skip(p, "if")) {
        struct construct *choice = jinja_node(p, N_TERNARY);
        choice->a = node;
        choice->b = parse_condition(p);
        if (jinja_skip(p, "else"))
            choice->c = jinja_expression(p);
        node = choice;
    }
    p->depth--;
    return node;
}

// ---- tuples, targets ----------------------------------------------------------------------------

static bool tuple_ends(const struct parser *p)
{
    return p->failed || p->token->kind == T_CLOSE_VARIABLE || p->token->kind == T_CLOSE_BLOCK ||
           jinja_is_operator(p, ")") || jinja_is(p, "in") || jinja_is(p, "recursive");
}

struct construct *jinja_tuple(struct parser *p, bool ternary)
{
    struct construct *first = ternary ? jinja_expression(p) : parse_condition(p);
    if (!jinja_is_operator(p, ","))
        return first;
    struct construct *node = jinja_node(p, N_TUPLE), **end = &node->a;
    add_to(&end, first);
    while (jinja_skip_operator(p, ",") && !tuple_ends(p))
        add_to(&end, ternary ? jinja_expression(p) : parse_condition(p));
    return node;
}

static struct construct *parse_one_target(struct parser *p, bool members)
{
    struct construct *node = jinja_node(p, N_NAME);
    if (jinja_skip_operator(p, "(")) {
        if (jinja_enter(p))
            node = jinja_target(p, members);
        p->depth--;
        jinja_expect(p, T_OPERATOR, ")");
        return node;
    }
    node->name = jinja_symbol(p, p->token->text);
    jinja_expect(p, T_NAME, NULL);
    if (members && jinja_skip_operator(p, ".")) {
        node->kind = N_MEMBER;
        node->value = datum_view(p->token->text, NULL);
        jinja_expect(p, T_NAME, NULL);
    }
    return node;
}

struct construct *jinja_target(struct parser *p, bool members)
{
    struct construct *first = parse_one_target(p, members);
    if (!jinja_is_operator(p, ","))
        return first;
    struct construct *node = jinja_node(p, N_TUPLE), **end = &node->a;
    add_to(&end, first);
    while (jinja_skip_operator(p, ",") && !tuple_ends(p))
        add_to(&end, parse_one_target(p, members));
    return node;
}
