// grammar.c - the small grammars: any JSON object, a regular expression, choices; and which of all
// kinds a request's constraint becomes, alone or as a rule of a larger grammar. One rule is the
// whole, and whatever fails takes its grammar along.
#include "schema.h"
#include "inside.h"

#include <stdlib.h>

void grammar_close(struct grammar *grammar)
{
    if (!grammar)
        return;
    free(grammar->rules);
    free(grammar->edges);
    free(grammar->first);
    free(grammar->flags);
    free(grammar);
}

static enum status end(struct grammar **out, struct grammar *g, uint32_t root, struct err *err)
{
    uint32_t loops;
    enum status status = automaton_finish(g, root, &loops, err);
    if (status == OK)
        *out = g;
    else
        grammar_close(g);
    return status;
}

// ---- a constraint as a rule of a larger grammar -------------------------------------------------

static enum status regex_rule(struct grammar *g, struct bytes expression, uint32_t *rule,
                              struct err *err)
{
    struct letters l;
    enum status status = regex_read(&l, expression, true, err);
    if (status != OK)
        return status;
    *rule = automaton_rule(g);
    letters_write(&l, g, g->rules[*rule].start, g->rules[*rule].end, false);
    letters_free(&l);
    return OK;
}

static enum status choices_rule(struct grammar *g, const struct bytes *choices, size_t n,
                                uint32_t *rule, struct err *err)
{
    if (n == 0)
        return err_set(err, BAD_INPUT, "there is nothing to choose from");
    struct bytes *sorted = mem_array(n, sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = choices[i];
    *rule = automaton_rule(g);
    automaton_any_of(g, g->rules[*rule].start, sorted, n, g->rules[*rule].end);
    free(sorted);
    return OK;
}

enum status constraint_rule(struct schema_maker *maker, const struct constraint *constraint,
                            uint32_t *rule, struct err *err)
{
    struct grammar *g = maker->g;
    enum status status = OK;
    if (constraint->kind == CONSTRAINT_JSON) {
        *rule = automaton_spaced(g, plain_object(g));
    } else if (constraint->kind == CONSTRAINT_SCHEMA) {
        status = schema_rule(maker, constraint->schema, constraint->path, rule, err);
        if (status == OK)
            *rule = automaton_spaced(g, *rule);
        return status; // the path is there already
    } else if (constraint->kind == CONSTRAINT_GBNF) {
        status = gbnf_rule(g, constraint->text, rule, err);
    } else if (constraint->kind == CONSTRAINT_REGEX) {
        status = regex_rule(g, constraint->text, rule, err);
    } else {
        status = choices_rule(g, constraint->choices, constraint->n_choices, rule, err);
    }
    return status == OK ? OK : err_prefix(err, "%s", constraint->path);
}

enum status grammar_compile_json(struct grammar **out, struct err *err)
{
    struct grammar *g;
    automaton_open(&g);
    return end(out, g, automaton_spaced(g, plain_object(g)), err);
}

enum status grammar_compile_regex(struct grammar **out, struct bytes expression, struct err *err)
{
    struct grammar *g;
    uint32_t root;
    automaton_open(&g);
    if (regex_rule(g, expression, &root, err) == OK)
        return end(out, g, root, err);
    grammar_close(g);
    return err->status;
}

enum status grammar_compile_choices(struct grammar **out, const struct bytes *choices, size_t n,
                                    struct err *err)
{
    struct grammar *g;
    uint32_t root;
    automaton_open(&g);
    if (choices_rule(g, choices, n, &root, err) == OK)
        return end(out, g, root, err);
    grammar_close(g);
    return err->status;
}

// ---- which of all kinds -------------------------------------------------------------------------

enum status grammar_compile(struct grammar **out, const struct constraint *constraint,
                            struct notes *notes, struct err *err)
{
    enum status status = OK;
    switch (constraint->kind) {
    case CONSTRAINT_NONE:
        *out = NULL;
        return OK;
    case CONSTRAINT_JSON:
        status = grammar_compile_json(out, err);
        break;
    case CONSTRAINT_SCHEMA:
        status =
            grammar_compile_schema(out, constraint->schema,
                                   &(struct grammar_options){.path = constraint->path}, notes, err);
        if (status != OK)
            err->status = BAD_INPUT; // whatever it is, the client must change it
        return status;               // the path is there already
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
    err->status = BAD_INPUT;
    return err_prefix(err, "%s", constraint->path);
}
