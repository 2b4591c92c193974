// answer_grammar.c - the call that a model must make, as a grammar: what is left of it when its
// beginning has been forced (answer_call_begin) obeys the tool's schema.
//
// Forms whose arguments are no JSON (between marks, as keywords) have no such grammar: the
// beginning is forced there, and the arguments are the model's. The same holds where a model may
// choose between tools and its form has a mark behind the name, since no grammar lets a mark pass.
#include "answer_inside.h"
#include "grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool takes_json(const struct answer_form *form)
{
    return form->shape == SHAPE_OBJECTS || form->shape == SHAPE_HARMONY ||
           (form->shape == SHAPE_NAMED && !form->quote) || strstr(form->begins, "{\"");
}

static const struct member nothing_more[] = {
    {{(const uint8_t *)"type", 4}, {.kind = VALUE_TEXT, .text = {(const uint8_t *)"object", 6}}},
    {{(const uint8_t *)"additionalProperties", 20}, {.kind = VALUE_BOOL, .yes = false}},
};
static const struct value no_arguments = {.kind = VALUE_DICT,
                                          .dict = {nothing_more, COUNT_OF(nothing_more)}};

static void call_of(struct grammar_call *call, const struct value *tool, size_t at)
{
    const struct value *function = value_get(tool, "function"), *parameters;
    function = function ? function : tool;
    parameters = value_get(function, "parameters");
    if (!parameters || parameters->kind != VALUE_DICT)
        call->schema = &no_arguments; // as OpenAI reads a function without parameters
    else
        call->schema = parameters->dict.n > 0 ? parameters : NULL;
    call->before = value_get(function, "name")->text;
    snprintf(call->path, sizeof(call->path), "tools[%zu].function.parameters", at);
}

enum status answer_call_grammar(struct grammar **out, const struct answer_family *family,
                                const struct value *tools, struct bytes tool, struct notes *notes,
                                struct err *err)
{
    const struct answer_form *form = family->form;
    const char *behind = form->begins ? strstr(form->begins, "%s") + 2 : "";
    const bool in_object = *behind == '"', in_list = strstr(form->begins, "[{") != NULL;
    struct grammar_calls calls = {.n_most = 1};
    *out = NULL;
    if (!takes_json(form) || (tool.n == 0 && !in_object))
        return OK;
    struct grammar_call *list = mem_array(tools->list.n, sizeof(*list));
    struct buf text; // of the names with what stands behind them
    buf_init(&text, SIZE_MAX);
    for (size_t i = 0; i < tools->list.n; i++) {
        struct grammar_call *call = &list[calls.n];
        call_of(call, &tools->list.items[i], i);
        if (tool.n > 0 && !bytes_equal(call->before, tool))
            continue;
        if (buf_add(&text, call->before.p, call->before.n) != OK ||
            buf_add(&text, behind, strlen(behind)) != OK)
            die("out of memory");
        call->before.n += strlen(behind);
        call->after = bytes_of(!in_object ? "" : in_list ? "}]" : "}");
        calls.n++;
    }
    const uint8_t *at = text.p; // where the text lies is known now
    for (size_t i = 0; i < calls.n; i++) {
        list[i].before.p = at;
        at += list[i].before.n;
        if (tool.n > 0) // all of it is forced
            list[i].before.n = 0;
    }
    calls.calls = list;
    enum status status = grammar_compile_calls(out, &calls, notes, err);
    buf_free(&text);
    free(list);
    return status;
}
