// grammar.c - the small grammars: any JSON object, a regular expression, choices; and which of all
// kinds a request's constraint becomes. One rule is the whole, and whatever fails takes its grammar
// along.
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

enum status grammar_compile_json(struct grammar **out, struct err *err)
{
    struct grammar *g;
    automaton_open(&g);
    uint32_t root = automaton_rule(g), first = automaton_state(g);
    automaton_call(g, g->rules[root].start, plain_space(g), first);
    automaton_call(g, first, plain_object(g), g->rules[root].end);
    return end(out, g, root, err);
}

enum status grammar_compile_regex(struct grammar **out, struct bytes expression, struct err *err)
{
    struct letters l;
    struct grammar *g;
    enum status status = regex_read(&l, expression, true, err);
    if (status != OK)
        return status;
    automaton_open(&g);
    uint32_t root = automaton_rule(g);
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
    automaton_open(&g);
    uint32_t root = automaton_rule(g);
    automaton_any_of(g, g->rules[root].start, sorted, n, g->rules[root].end);
    free(sorted);
    return end(out, g, root, err);
}

// All of the calls, around the rule `one` of any of them.
static void join_calls(struct grammar *g, uint32_t root, uint32_t one,
                       const struct grammar_calls *calls)
{
    uint32_t at = automaton_state(g), done = automaton_state(g);
    automaton_text(g, g->rules[root].start, calls->begin, at);
    for (int32_t i = 0; i < calls->n_most || calls->n_most == 0; i++) {
        uint32_t next = automaton_state(g), again = calls->n_most ? automaton_state(g) : at;
        automaton_call(g, at, one, next);
        automaton_skip(g, next, done);
        if (i + 1 != calls->n_most)
            automaton_text(g, next, calls->between, again);
        if (calls->n_most == 0 || g->full)
            break;
        at = again;
    }
    automaton_text(g, done, calls->end, g->rules[root].end);
}

// A call that nobody could make is refused though another could be made: it was asked for.
static enum status finish_calls(struct grammar *g, uint32_t root, const struct schema_maker *maker,
                                const struct grammar_calls *calls, const uint32_t *rules,
                                struct err *err)
{
    uint32_t loops;
    enum status status = automaton_finish(g, root, &loops, err);
    for (size_t i = 0; i < calls->n && !g->full; i++)
        if (g->rules[rules[i]].fails)
            return schema_blame(maker, calls->calls[i].path, err);
    return status == OK ? OK : err_prefix(err, "tools");
}

enum status grammar_compile_calls(struct grammar **out, const struct grammar_calls *calls,
                                  struct notes *notes, struct err *err)
{
    struct grammar *g;
    struct schema_maker *maker;
    enum status status = OK;
    automaton_open(&g);
    schema_maker_open(&maker, g, true, notes);
    const uint32_t root = automaton_rule(g), one = automaton_rule(g);
    uint32_t *rules = mem_array(calls->n + 1, sizeof(*rules)); // of the calls' arguments
    for (size_t i = 0; i < calls->n && status == OK; i++) {
        const struct grammar_call *call = &calls->calls[i];
        uint32_t before = automaton_state(g), after = automaton_state(g), rule = plain_object(g);
        if (call->schema)
            status = schema_rule(maker, call->schema, call->path, &rule, err);
        automaton_text(g, g->rules[one].start, call->before, before);
        automaton_call(g, before, rule, after);
        automaton_text(g, after, call->after, g->rules[one].end);
        rules[i] = rule;
    }
    if (status == OK) {
        join_calls(g, root, one, calls);
        status = finish_calls(g, root, maker, calls, rules, err);
    }
    schema_maker_close(maker);
    free(rules);
    if (status == OK) {
        *out = g;
        return OK;
    }
    grammar_close(g);
    err->status = BAD_INPUT; // whatever it is, the client must change it
    return BAD_INPUT;
}

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
