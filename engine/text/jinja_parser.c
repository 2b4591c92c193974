// jinja_parser.c - what both halves of the parser use: tokens one by one, nodes, names, and the
// sentence of the first thing that is wrong.
//
// A parser that failed goes on without effect: nodes are still handed out, but nobody reads them.
#include "jinja_inside.h"

void jinja_refuse(struct parser *p, enum status status, const char *what, ...)
{
    char text[200];
    va_list args;
    if (p->failed)
        return;
    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    (void)err_set(p->err, status, "line %d: %s", p->token->line, text);
    p->failed = true;
}

void jinja_unexpected(struct parser *p, const char *wanted)
{
    char name[NAME_TEXT];
    jinja_refuse(p, BAD_INPUT, "%s was expected, not '%s'", wanted,
                 name_text(name, p->token->text));
}

void jinja_next(struct parser *p)
{
    if (p->token->kind != T_END)
        p->token++;
}

struct construct *jinja_node(struct parser *p, enum node_kind kind)
{
    static struct construct nowhere;
    struct construct *node = arena_take(&p->jinja->arena, sizeof(*node));
    if (!node) {
        jinja_refuse(p, TOO_LARGE, "the template has too many parts");
        nowhere = (struct construct){.kind = N_CONST};
        return &nowhere;
    }
    node->kind = kind;
    node->line = p->token->line;
    return node;
}

bool jinja_is(const struct parser *p, const char *name)
{
    return !p->failed && p->token->kind == T_NAME && bytes_equal_text(p->token->text, name);
}

bool jinja_is_operator(const struct parser *p, const char *text)
{
    return !p->failed && p->token->kind == T_OPERATOR && bytes_equal_text(p->token->text, text);
}

bool jinja_skip(struct parser *p, const char *name)
{
    bool is = jinja_is(p, name);
    if (is)
        jinja_next(p);
    return is;
}

bool jinja_skip_operator(struct parser *p, const char *text)
{
    bool is = jinja_is_operator(p, text);
    if (is)
        jinja_next(p);
    return is;
}

void jinja_expect(struct parser *p, enum token_kind kind, const char *text)
{
    char wanted[80];
    if (!p->failed && p->token->kind == kind && (!text || bytes_equal_text(p->token->text, text))) {
        jinja_next(p);
        return;
    }
    snprintf(wanted, sizeof(wanted), "'%s'", text ? text : kind == T_NAME ? "a name" : "%}");
    jinja_unexpected(p, text ? wanted : kind == T_NAME ? "a name" : "the end of the tag");
}

bool jinja_enter(struct parser *p)
{
    if (++p->depth > JINJA_NESTED)
        jinja_refuse(p, TOO_LARGE, "more than %d things within each other", JINJA_NESTED);
    return !p->failed;
}

static int32_t bucket_of(struct bytes name)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ name.p[i]) * 16777619u;
    return (int32_t)(hash % SYMBOL_BUCKETS);
}

int32_t jinja_symbol_find(const struct jinja *jinja, struct bytes name)
{
    for (int32_t i = jinja->bucket[bucket_of(name)]; i > 0; i = jinja->symbols[i - 1].next)
        if (bytes_equal(jinja->symbols[i - 1].name, name))
            return i - 1;
    return -1;
}

int32_t jinja_symbol(struct parser *p, struct bytes name)
{
    struct jinja *jinja = p->jinja;
    int32_t found = jinja_symbol_find(jinja, name), bucket = bucket_of(name);
    if (found >= 0)
        return found;
    if (jinja->n_symbols == jinja->symbols_allocated) {
        int32_t n = jinja->symbols_allocated ? 2 * jinja->symbols_allocated : 64;
        struct symbol *symbols =
            n > 4096 ? NULL : arena_take(&jinja->arena, (size_t)n * sizeof(*symbols));
        if (!symbols) {
            jinja_refuse(p, TOO_LARGE, "more than %d names", jinja->n_symbols);
            return 0;
        }
        if (jinja->symbols)
            memcpy(symbols, jinja->symbols, (size_t)jinja->n_symbols * sizeof(*symbols));
        jinja->symbols = symbols;
        jinja->symbols_allocated = n;
    }
    struct symbol *symbol = &jinja->symbols[jinja->n_symbols];
    symbol->name = name;
    for (const struct function *f = jinja_functions; f->name; f++)
        if (bytes_equal_text(name, f->name))
            symbol->function = f;
    symbol->next = jinja->bucket[bucket];
    jinja->bucket[bucket] = ++jinja->n_symbols;
    return jinja->n_symbols - 1;
}
