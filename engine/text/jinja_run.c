// jinja_run.c - a rendering: its bounds, its output, its scopes, and the statements.
//
// All that is written goes to one buffer; what captures text (a macro, a block) notes where it
// began and takes the end back. Scopes are Jinja2's: a loop's round, a macro and a block have their
// own, an `if` has none, and a name is looked up when it is used: a macro may be called by one that
// stands above it.
#include "jinja_inside.h"

#include <stdlib.h>

enum flow { GO_ON, LEAVE, NEXT_ROUND };

// ---- bounds and memory --------------------------------------------------------------------------

void run_fail(struct run *run, enum status status, const char *what, ...)
{
    char text[300];
    va_list args;
    if (run->failed)
        return;
    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    (void)err_set(run->err, status, "line %d: %s", run->line, text);
    run->failed = true;
}

bool run_charge(struct run *run, size_t n)
{
    if (run->failed)
        return false;
    if (n < (size_t)run->steps) {
        run->steps -= (int64_t)n;
        return true;
    }
    run_fail(run, TOO_LARGE, "the template takes more steps than it may");
    return false;
}

void *run_take(struct run *run, size_t n)
{
    if (!run_charge(run, n / 64))
        return NULL;
    void *p = arena_take(&run->arena, n ? n : 1);
    if (!p)
        run_fail(run, TOO_LARGE, "the template takes more memory than it may");
    return p;
}

void run_write(struct run *run, const void *p, size_t n, const uint8_t *client)
{
    if (n == 0 || !run_charge(run, n / 32))
        return;
    if (n > run->out_cap - run->n_out) {
        run_fail(run, TOO_LARGE, "the template writes more than it may");
        return;
    }
    if (run->n_out + n > run->out_allocated) {
        size_t more = 2 * run->out_allocated > run->n_out + n ? 2 * run->out_allocated
                                                              : run->n_out + n + 4096;
        run->out = mem_resize(run->out, more);
        run->out_client = mem_resize(run->out_client, more);
        run->out_allocated = more;
    }
    memmove(run->out + run->n_out, p, n);
    if (client && client != all_client)
        memcpy(run->out_client + run->n_out, client, n);
    else
        memset(run->out_client + run->n_out, client != NULL, n);
    run->n_out += n;
}

struct datum run_since(struct run *run, size_t n_out)
{
    size_t n = run->n_out - n_out;
    if (n == 0)
        return datum_text("");
    const uint8_t *client = run->out_client + n_out;
    bool mixed = memchr(client, !client[0], n) != NULL;
    uint8_t *copy = run_take(run, mixed ? 2 * n : n);
    if (!copy)
        return datum_text("");
    memcpy(copy, run->out + n_out, n);
    if (mixed)
        memcpy(copy + n, client, n);
    struct datum text = datum_view((struct bytes){copy, n}, mixed       ? copy + n
                                                            : client[0] ? all_client
                                                                        : NULL);
    run->n_out = n_out;
    return text;
}

// ---- scopes -------------------------------------------------------------------------------------

void scope_set(struct run *run, struct scope *scope, int32_t name, struct datum value)
{
    if (scope->all) {
        scope->all[name] = value;
        return;
    }
    size_t n = 0;
    for (struct binding *at = scope->first; at; at = at->next, n++)
        if (at->name == name) {
            at->value = value;
            return;
        }
    struct binding *binding = run_charge(run, n / 8) ? run_take(run, sizeof(*binding)) : NULL;
    if (!binding)
        return;
    *binding = (struct binding){name, value, scope->first};
    scope->first = binding;
}

struct datum scope_get(struct run *run, const struct scope *scope, int32_t name)
{
    size_t n = 0;
    for (; scope; scope = scope->outer) {
        if (scope->all) {
            (void)run_charge(run, n / 8);
            return scope->all[name];
        }
        for (const struct binding *at = scope->first; at; at = at->next, n++)
            if (at->name == name && at->value.kind != D_MISSING)
                return at->value;
        n++;
    }
    return datum_of(D_MISSING);
}

// A scope lives as long as the run: a macro may keep it.
static struct scope *scope_new(struct run *run, struct scope *outer)
{
    static struct scope nowhere;
    struct scope *scope = run_take(run, sizeof(*scope));
    if (!scope)
        return &nowhere; // failed: nothing is set any more
    scope->outer = outer;
    return scope;
}

// The same for another round, of which nothing is set yet.
static struct scope *scope_again(struct scope *scope)
{
    for (struct binding *at = scope->first; at; at = at->next)
        at->value = datum_of(D_MISSING);
    return scope;
}

// ---- statements ---------------------------------------------------------------------------------

static enum flow run_list(struct run *run, const struct construct *body, struct scope *scope);

static void unpack(struct run *run, const struct construct *targets, struct datum value,
                   struct scope *scope)
{
    struct list items;
    size_t n = 0, i = 0;
    for (const struct construct *node = targets->a; node; node = node->next)
        n++;
    if (!datum_iterate(run, value, &items))
        return;
    if (items.n != n)
        run_fail(run, BAD_INPUT, "%zu values were to be unpacked, there are %zu", n, items.n);
    for (const struct construct *node = targets->a; node && !run->failed; node = node->next)
        run_assign(run, node, items.p[i++], scope);
}

void run_assign(struct run *run, const struct construct *target, struct datum value,
                struct scope *scope)
{
    if (run->failed)
        return;
    if (target->kind == N_TUPLE)
        unpack(run, target, value, scope);
    else if (target->kind == N_MEMBER) {
        struct datum space = scope_get(run, scope, target->name);
        if (space.kind == D_NAMESPACE)
            dict_set(run, space.dict, target->value, value);
        else
            run_fail(run, BAD_INPUT, "members can be set of a namespace alone, not of '%s'",
                     datum_type(space));
    } else
        scope_set(run, scope, target->name, value);
}

// Those items for which the loop's condition holds.
static void select_items(struct run *run, const struct construct *node, struct list *items,
                         struct scope *scope)
{
    struct datum chosen = list_new(run, LIST, 0);
    for (size_t i = 0; i < items->n && !run->failed; i++) {
        struct scope *inner = scope_new(run, scope);
        run_assign(run, node->a, items->p[i], inner);
        if (datum_true(eval(run, node->e, inner)))
            list_add(run, chosen.list, items->p[i]);
    }
    if (!run->failed)
        *items = *chosen.list;
}

static void run_rounds(struct run *run, const struct construct *node, struct datum over,
                       struct scope *scope, size_t depth)
{
    struct list items;
    if (!datum_iterate(run, over, &items))
        return;
    if (node->e)
        select_items(run, node, &items, scope);
    struct loop *loop = run_take(run, sizeof(*loop));
    if (!loop)
        return;
    *loop =
        (struct loop){.items = items.p, .n = items.n, .depth = depth, .node = node, .scope = scope};
    struct datum self = datum_of(D_LOOP);
    self.loop = loop;
    struct scope *inner = NULL;
    for (; loop->at < loop->n && run_charge(run, 1); loop->at++) {
        inner = inner && !node->keeps ? scope_again(inner) : scope_new(run, scope);
        scope_set(run, inner, run->jinja->loop, self);
        run_assign(run, node->a, items.p[loop->at], inner);
        if (run_list(run, node->c, inner) == LEAVE)
            break;
    }
    if (items.n == 0)
        run_body(run, node->d, scope);
}

struct datum run_loop_again(struct run *run, const struct loop *loop, struct datum items)
{
    size_t from = run->n_out;
    if (++run->depth > RUN_DEPTH)
        run_fail(run, TOO_LARGE, "the template calls itself too deep");
    run_rounds(run, loop->node, items, loop->scope, loop->depth + 1);
    run->depth--;
    return run_since(run, from);
}

static struct datum macro_of(struct run *run, const struct construct *node, struct scope *scope)
{
    struct datum datum = datum_of(D_MACRO);
    datum.macro = run_take(run, sizeof(*datum.macro));
    if (!datum.macro)
        return datum_of(D_NONE);
    *datum.macro = (struct macro){node, scope};
    return datum;
}

static void run_call_block(struct run *run, const struct construct *node, struct scope *scope)
{
    const struct construct *call = node->a;
    struct datum caller = macro_of(run, node->b, scope), callee = eval(run, call->a, scope);
    struct args args;
    eval_args(run, call->b, scope, &args);
    if (run->failed)
        return;
    if (callee.kind == D_MACRO)
        write_str(run, call_macro(run, callee.macro, &args, caller));
    else
        run_fail(run, BAD_INPUT, "{%% call %%} wants a macro, not a '%s'", datum_type(callee));
}

// What the body writes, through the filters (NULL: none).
static struct datum filtered(struct run *run, const struct construct *filters,
                             const struct construct *body, struct scope *scope)
{
    size_t from = run->n_out;
    run_body(run, body, scope);
    struct datum text = run_since(run, from), outer = run->block;
    if (!filters)
        return text;
    run->block = text;
    text = eval(run, filters, scope);
    run->block = outer;
    return text;
}

static void run_with(struct run *run, const struct construct *node, struct scope *scope)
{
    struct scope *inner = scope_new(run, scope);
    for (const struct construct *set = node->a; set; set = set->next)
        run_assign(run, set->a, eval(run, set->b, scope), inner);
    run_body(run, node->c, inner);
}

static enum flow run_if(struct run *run, const struct construct *node, struct scope *scope)
{
    for (; node && node->kind == N_IF; node = node->c) {
        run->line = node->line;
        if (datum_true(eval(run, node->a, scope)))
            return run_list(run, node->b, scope);
        if (run->failed)
            return LEAVE;
    }
    return run_list(run, node, scope);
}

static enum flow run_one(struct run *run, const struct construct *node, struct scope *scope)
{
    run->line = node->line;
    switch (node->kind) {
    case N_DATA:
        write_text(run, node->value);
        break;
    case N_OUTPUT:
        write_str(run, eval(run, node->a, scope));
        break;
    case N_IF:
        return run_if(run, node, scope);
    case N_FOR:
        run_rounds(run, node, eval(run, node->b, scope), scope, 0);
        break;
    case N_SET:
        run_assign(run, node->a, eval(run, node->b, scope), scope);
        break;
    case N_SET_BLOCK:
        run_assign(run, node->a, filtered(run, node->b, node->c, scope), scope);
        break;
    case N_MACRO:
        scope_set(run, scope, node->name, macro_of(run, node, scope));
        break;
    case N_CALL_BLOCK:
        run_call_block(run, node, scope);
        break;
    case N_FILTER_BLOCK:
        write_str(run, filtered(run, node->b, node->c, scope));
        break;
    case N_WITH:
        run_with(run, node, scope);
        break;
    case N_SCOPE:
        return run_list(run, node->c, scope_new(run, scope));
    case N_BREAK:
        return LEAVE;
    case N_CONTINUE:
        return NEXT_ROUND;
    default:
        break;
    }
    return GO_ON;
}

static enum flow run_list(struct run *run, const struct construct *body, struct scope *scope)
{
    enum flow flow = GO_ON;
    if (++run->depth > RUN_DEPTH)
        run_fail(run, TOO_LARGE, "the template calls itself too deep");
    for (; body && flow == GO_ON && run_charge(run, 1); body = body->next)
        flow = run_one(run, body, scope);
    run->depth--;
    return run->failed ? LEAVE : flow;
}

void run_body(struct run *run, const struct construct *body, struct scope *scope)
{
    (void)run_list(run, body, scope_new(run, scope));
}

// ---- the whole ----------------------------------------------------------------------------------

static void count(const struct value *value, uint64_t *n_values, uint64_t *n_bytes)
{
    ++*n_values;
    if (value->kind == VALUE_TEXT)
        *n_bytes += value->text.n;
    for (size_t i = 0; value->kind == VALUE_LIST && i < value->list.n; i++)
        count(&value->list.items[i], n_values, n_bytes);
    for (size_t i = 0; value->kind == VALUE_DICT && i < value->dict.n; i++) {
        *n_bytes += value->dict.members[i].name.n;
        count(&value->dict.members[i].value, n_values, n_bytes);
    }
}

// Who made the messages chose the roles from a list of its own.
static void own_roles(struct run *run, struct datum messages)
{
    for (size_t i = 0; messages.kind == D_LIST && i < messages.list->n && !run->failed; i++) {
        struct datum *message = &messages.list->p[i];
        struct datum *role =
            message->kind == D_DICT ? dict_get_text(run, message->dict, bytes_of("role")) : NULL;
        if (role && role->kind == D_TEXT)
            role->text.client = NULL;
    }
}

static void set_variables(struct run *run, const struct jinja_variable *variables, size_t n)
{
    for (size_t i = 0; i < n && !run->failed; i++) {
        int32_t name = jinja_symbol_find(run->jinja, bytes_of(variables[i].name));
        if (name < 0)
            continue;
        run->top.all[name] =
            datum_from_value(run, variables[i].value, variables[i].ours ? NULL : all_client, 0);
        if (variables[i].roles)
            own_roles(run, run->top.all[name]);
    }
}

static enum status finish(struct run *run, struct jinja_text *out)
{
    arena_free(&run->arena);
    if (run->failed) {
        free(run->out);
        free(run->out_client);
        return run->err->status;
    }
    *out = (struct jinja_text){run->out, run->out_client, run->n_out};
    return OK;
}

enum status jinja_render(struct jinja_text *out, const struct jinja *jinja,
                         const struct jinja_variable *variables, size_t n_variables, int64_t now_s,
                         struct err *err)
{
    struct err own;
    uint64_t n_values = 0, n_bytes = 0;
    for (size_t i = 0; i < n_variables; i++)
        count(variables[i].value, &n_values, &n_bytes);
    struct run run = {.jinja = jinja, .err = err ? err : &own, .now_s = now_s};
    // a client's bytes count up to a bound, whatever the template does with them
    const uint64_t n_counted = n_bytes < RUN_BYTES_COUNTED ? n_bytes : RUN_BYTES_COUNTED;
    run.steps = (int64_t)(RUN_STEPS + RUN_STEPS_A_VALUE * n_values + RUN_STEPS_A_BYTE * n_counted);
    run.out_cap = RUN_BYTES + RUN_BYTES_A_BYTE * n_counted;
    arena_init(&run.arena, run.out_cap + 4 * sizeof(struct key_value) * n_values);
    run.top.all = run_take(&run, (size_t)jinja->n_symbols * sizeof(*run.top.all));
    set_variables(&run, variables, n_variables);
    if (!run.failed) // the outermost scope is the top itself
        (void)run_list(&run, jinja->body, &run.top);
    return finish(&run, out);
}

void jinja_text_free(struct jinja_text *text)
{
    free(text->p);
    free(text->client);
    *text = (struct jinja_text){NULL, NULL, 0};
}
