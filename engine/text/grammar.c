// grammar.c - the small grammars: any JSON object, a regular expression, choices; and which of all
// kinds a request's constraint becomes. One rule is the whole, and whatever fails takes its grammar
// along.
#include "automaton.h"
#include "inside.h"

#include <stdlib.h>

static enum status end(struct grammar **out, struct grammar *g, uint32_t root, struct err *err)
{
    uint32_t loops;
    enum status status = grammar_finish(g, root, &loops, err);
    if (status == OK)
        *out = g;
    else
        grammar_close(g);
    return status;
}

enum status grammar_compile_json(struct grammar **out, struct err *err)
{
    struct grammar *g;
    grammar_open(&g);
    uint32_t root = grammar_rule(g), first = grammar_state(g);
    grammar_call(g, g->rules[root].start, plain_space(g), first);
    grammar_call(g, first, plain_object(g), g->rules[root].end);
    return end(out, g, root, err);
}

enum status grammar_compile_regex(struct grammar **out, struct bytes expression, struct err *err)
{
    struct letters l;
    struct grammar *g;
    enum status status = regex_read(&l, expression, true, err);
    if (status != OK)
        return status;
    grammar_open(&g);
    uint32_t root = grammar_rule(g);
    letters_write(&l, g, g->rules[root].start, g->rules[root].end, false);
    letters_free(&l);
    return end(out, g, root, err);
}

enum status grammar_compile_choices(struct grammar **out, const struct bytes *choices, size_t n,
                                    struct err *err)
{
    struct grammar *g;
    if (n == 0)
        return err_set(err, BAD_INPUT, "there is nothing to choose from");
    struct bytes *sorted = mem_array(n, sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = choices[i];
    grammar_open(&g);
    uint32_t root = grammar_rule(g);
    grammar_any_of(g, g->rules[root].start, sorted, n, g->rules[root].end);
    free(sorted);
    return end(out, g, root, err);
}

enum status grammar_compile(struct grammar **out, const struct constraint *constraint,
                            struct notes *notes, struct err *err)
{
    enum status status = OK;
    (void)notes;
    switch (constraint->kind) {
    case CONSTRAINT_NONE:
        *out = NULL;
        return OK;
    case CONSTRAINT_JSON:
        status = grammar_compile_json(out, err);
        break;
    case CONSTRAINT_SCHEMA:
        status = err_set(err, UNSUPPORTED, "schemas are not followed yet");
        break;
    case CONSTRAINT_GBNF:
        status = grammar_compile_gbnf(out, constraint->text, err);
        break;
    case CONSTRAINT_REGEX:
        status = grammar_compile_regex(out, constraint->text, err);
        break;
    case CONSTRAINT_CHOICES:
        status = grammar_compile_choices(out, constraint->choices, constraint->n_choices, err);
        break;
    }
    if (status == OK)
        return OK;
    err->status = BAD_INPUT; // whatever it is, the client must change it
    return err_prefix(err, "%s", constraint->path);
}
