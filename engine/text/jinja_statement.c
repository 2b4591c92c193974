// jinja_statement.c - a template into its tree: statements, and the opening and closing of the
// whole.
//
// What is not known is refused here, when a model is loaded, with its line; a filter or a test that
// is only named in a text (map, select) is found when it runs.
#include "jinja_inside.h"

#include <stdlib.h>

enum { PARSED_BYTES_MOST = 12 << 20 };

static struct construct *parse_body(struct parser *p, const char *ends);

static bool ends_with(const struct parser *p, const char *ends)
{
    size_t n = p->token[1].text.n;
    if (p->token->kind != T_OPEN_BLOCK || p->token[1].kind != T_NAME)
        return false;
    for (const char *word = ends; word && *word;) { // words between blanks
        size_t length = strcspn(word, " ");
        if (length == n && memcmp(word, p->token[1].text.p, n) == 0)
            return true;
        word += length + (word[length] == ' ');
    }
    return false;
}

static void close_tag(struct parser *p)
{
    jinja_expect(p, T_CLOSE_BLOCK, NULL);
}

// The body up to the tag `end`, that tag included.
static struct construct *parse_whole_body(struct parser *p, const char *end)
{
    close_tag(p);
    struct construct *body = parse_body(p, end);
    jinja_expect(p, T_OPEN_BLOCK, NULL);
    jinja_expect(p, T_NAME, end);
    return body;
}

// ---- statements: each begins behind its word ----------------------------------------------------

static struct construct *parse_if(struct parser *p)
{
    struct construct *node = jinja_node(p, N_IF), *last = node;
    node->a = jinja_tuple(p, false);
    close_tag(p);
    node->b = parse_body(p, "elif else endif");
    jinja_expect(p, T_OPEN_BLOCK, NULL);
    while (jinja_skip(p, "elif")) {
        last->c = jinja_node(p, N_IF);
        last = last->c;
        last->a = jinja_tuple(p, false);
        close_tag(p);
        last->b = parse_body(p, "elif else endif");
        jinja_expect(p, T_OPEN_BLOCK, NULL);
    }
    if (jinja_skip(p, "else")) {
        close_tag(p);
        last->c = parse_body(p, "endif");
        jinja_expect(p, T_OPEN_BLOCK, NULL);
    }
    jinja_expect(p, T_NAME, "endif");
    return node;
}

static struct construct *parse_for(struct parser *p)
{
    struct construct *node = jinja_node(p, N_FOR);
    node->a = jinja_target(p, false);
    jinja_expect(p, T_NAME, "in");
    node->b = jinja_tuple(p, false);
    if (jinja_skip(p, "if"))
        node->e = jinja_expression(p);
    node->flag = jinja_skip(p, "recursive");
    close_tag(p);
    const int n_macros = p->n_macros;
    p->loops++;
    node->c = parse_body(p, "else endfor");
    p->loops--;
    node->keeps = p->n_macros > n_macros;
    jinja_expect(p, T_OPEN_BLOCK, NULL);
    if (jinja_skip(p, "else")) {
        close_tag(p);
        node->d = parse_body(p, "endfor");
        jinja_expect(p, T_OPEN_BLOCK, NULL);
    }
    jinja_expect(p, T_NAME, "endfor");
    return node;
}

static struct construct *parse_set(struct parser *p)
{
    struct construct *node = jinja_node(p, N_SET);
    node->a = jinja_target(p, true);
    if (jinja_skip_operator(p, "=")) {
        node->b = jinja_tuple(p, true);
        return node;
    }
    node->kind = N_SET_BLOCK;
    node->b = jinja_filters(p, NULL, false);
    node->c = parse_whole_body(p, "endset");
    return node;
}

static struct construct *parse_parameters(struct parser *p)
{
    struct construct *first = NULL, **end = &first;
    jinja_expect(p, T_OPERATOR, "(");
    while (!p->failed && !jinja_is_operator(p, ")")) {
        if (first)
            jinja_expect(p, T_OPERATOR, ",");
        if (jinja_is_operator(p, ")"))
            break;
        struct construct *node = jinja_node(p, N_NAMED);
        node->name = jinja_symbol(p, p->token->text);
        node->value = datum_view(p->token->text, NULL);
        jinja_expect(p, T_NAME, NULL);
        if (jinja_skip_operator(p, "="))
            node->a = jinja_expression(p);
        *end = node;
        end = &node->next;
    }
    jinja_expect(p, T_OPERATOR, ")");
    return first;
}

// Parameters and body of a macro or of a call block up to the tag `end`.
static void parse_macro_body(struct parser *p, struct construct *node, const char *end)
{
    struct parser outer = *p;
    p->n_macros++;
    p->uses_varargs = p->uses_kwargs = false;
    p->loops = 0;
    node->c = parse_whole_body(p, end);
    node->flag = p->uses_varargs;
    node->kwargs = p->uses_kwargs;
    p->uses_varargs = outer.uses_varargs;
    p->uses_kwargs = outer.uses_kwargs;
    p->loops = outer.loops;
}

static struct construct *parse_macro(struct parser *p)
{
    struct construct *node = jinja_node(p, N_MACRO);
    node->name = jinja_symbol(p, p->token->text);
    node->value = datum_view(p->token->text, NULL);
    jinja_expect(p, T_NAME, NULL);
    node->a = parse_parameters(p);
    parse_macro_body(p, node, "endmacro");
    return node;
}

static struct construct *parse_call_block(struct parser *p)
{
    struct construct *node = jinja_node(p, N_CALL_BLOCK);
    node->b = jinja_node(p, N_MACRO);
    node->b->value = datum_text("caller");
    if (jinja_is_operator(p, "("))
        node->b->a = parse_parameters(p);
    node->a = jinja_expression(p);
    if (node->a->kind != N_CALL)
        jinja_unexpected(p, "a call");
    parse_macro_body(p, node->b, "endcall");
    return node;
}

static struct construct *parse_filter_block(struct parser *p)
{
    struct construct *node = jinja_node(p, N_FILTER_BLOCK);
    node->b = jinja_filters(p, NULL, true);
    node->c = parse_whole_body(p, "endfilter");
    return node;
}

static struct construct *parse_with(struct parser *p)
{
    struct construct *node = jinja_node(p, N_WITH), **end = &node->a;
    while (!p->failed && p->token->kind != T_CLOSE_BLOCK) {
        if (node->a)
            jinja_expect(p, T_OPERATOR, ",");
        struct construct *set = jinja_node(p, N_SET);
        set->a = jinja_target(p, false);
        jinja_expect(p, T_OPERATOR, "=");
        set->b = jinja_expression(p);
        *end = set;
        end = &set->next;
    }
    node->c = parse_whole_body(p, "endwith");
    return node;
}

static struct construct *parse_generation(struct parser *p)
{
    struct construct *node = jinja_node(p, N_SCOPE);
    node->c = parse_whole_body(p, "endgeneration");
    return node;
}

// A block that nothing extends is its body.
static struct construct *parse_block(struct parser *p)
{
    struct construct *node = jinja_node(p, N_SCOPE);
    jinja_expect(p, T_NAME, NULL);
    node->c = parse_whole_body(p, "endblock");
    if (p->token->kind == T_NAME)
        jinja_next(p);
    return node;
}

static struct construct *parse_leave(struct parser *p, enum node_kind kind)
{
    if (p->loops == 0)
        jinja_refuse(p, BAD_INPUT, "break and continue stand in a loop");
    return jinja_node(p, kind);
}

static struct construct *parse_break(struct parser *p)
{
    return parse_leave(p, N_BREAK);
}

static struct construct *parse_continue(struct parser *p)
{
    return parse_leave(p, N_CONTINUE);
}

static const struct statement {
    const char *word;
    struct construct *(*parse)(struct parser *p);
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"block", parse_block},
    {"break", parse_break},
    {"continue", parse_continue},
};

static struct construct *parse_statement(struct parser *p)
{
    char name[NAME_TEXT];
    jinja_next(p);
    for (size_t i = 0; i < COUNT_OF(statements); i++)
        if (jinja_skip(p, statements[i].word)) {
            struct construct *node = statements[i].parse(p);
            close_tag(p);
            return node;
        }
    name_text(name, p->token->text);
    if (strncmp(name, "end", 3) == 0 || strncmp(name, "el", 2) == 0)
        jinja_refuse(p, BAD_INPUT, "{%% %s %%} closes nothing", name);
    else
        jinja_refuse(p, UNSUPPORTED, "the tag {%% %s %%} is not known", name);
    return jinja_node(p, N_CONST);
}

// Up to a tag whose word is one of `ends`, which stays; NULL: to the end of the template.
static struct construct *parse_body(struct parser *p, const char *ends)
{
    struct construct *first = NULL, **end = &first;
    if (!jinja_enter(p)) {
        p->depth--;
        return NULL;
    }
    while (!p->failed && p->token->kind != T_END && !ends_with(p, ends)) {
        struct construct *node;
        if (p->token->kind == T_DATA) {
            node = jinja_node(p, N_DATA);
            node->value = datum_view(p->token->text, NULL);
            jinja_next(p);
        } else if (p->token->kind == T_OPEN_VARIABLE) {
            jinja_next(p);
            node = jinja_node(p, N_OUTPUT);
            node->a = jinja_tuple(p, true);
            if (p->token->kind != T_CLOSE_VARIABLE)
                jinja_unexpected(p, "the end of the expression, '}}',");
            jinja_next(p);
        } else
            node = parse_statement(p);
        *end = node;
        end = &node->next;
    }
    if (ends && !p->failed && p->token->kind == T_END)
        jinja_refuse(p, BAD_INPUT, "the template ends where one of '%s' was expected", ends);
    p->depth--;
    return first;
}

// ---- the whole ----------------------------------------------------------------------------------

static enum status parse(struct jinja *jinja, struct bytes source, struct err *err)
{
    struct lexeme *tokens;
    size_t n;
    struct err own;
    struct parser p = {.jinja = jinja, .err = err ? err : &own};
    enum status status = jinja_lex(&tokens, &n, &jinja->arena, source, p.err);
    if (status != OK)
        return status;
    p.token = tokens;
    jinja->loop = jinja_symbol(&p, bytes_of("loop"));
    jinja->caller = jinja_symbol(&p, bytes_of("caller"));
    jinja->varargs = jinja_symbol(&p, bytes_of("varargs"));
    jinja->kwargs = jinja_symbol(&p, bytes_of("kwargs"));
    jinja->body = parse_body(&p, NULL);
    return p.failed ? p.err->status : OK;
}

enum status jinja_open(struct jinja **out, struct bytes source, struct err *err)
{
    if (source.n > JINJA_SOURCE_MOST)
        return err_set(err, TOO_LARGE, "the template has %zu bytes; at most %d are read", source.n,
                       JINJA_SOURCE_MOST);
    if (!utf8_valid(source))
        return err_set(err, BAD_INPUT, "the template is not valid UTF-8");
    struct jinja *jinja = mem_alloc(sizeof(*jinja));
    arena_init(&jinja->arena, PARSED_BYTES_MOST);
    enum status status = parse(jinja, source, err);
    if (status != OK)
        jinja_close(jinja);
    else
        *out = jinja;
    return status;
}

void jinja_close(struct jinja *jinja)
{
    if (!jinja)
        return;
    arena_free(&jinja->arena);
    free(jinja);
}
