// answer_family.c - what follows from a family of models: which control tokens its answers are read
// by, whether a prompt has opened a thought, what is forced to end one or to have a call made, and
// what a prompt says of tools where the template does not.
#include "answer_inside.h"

#include <string.h>

const char *answer_form_name(const struct answer_family *family)
{
    return family->form->name;
}

bool answer_knows(const struct answer_family *family, struct bytes token)
{
    const struct answer_form *form = family->form;
    const struct answer_thought *thought = family->thought;
    const char *const marks[] = {form->open[0],
                                 form->open[1],
                                 form->open[2],
                                 form->close[0],
                                 form->close[1],
                                 form->call_open,
                                 form->call_close,
                                 form->prefix[0],
                                 form->prefix[1],
                                 form->name_end[0],
                                 form->name_end[1],
                                 form->name_end[2],
                                 form->skip_to,
                                 form->argument_open,
                                 form->argument_name_end,
                                 form->value_open,
                                 form->argument_close,
                                 form->quote,
                                 form->drops[0],
                                 form->drops[1],
                                 form->drops[2],
                                 form->drops[3],
                                 thought ? thought->open : NULL,
                                 thought ? thought->close : NULL,
                                 thought ? thought->wrap_open : NULL,
                                 thought ? thought->wrap_close : NULL};
    for (size_t i = 0; i < COUNT_OF(marks) && token.n > 0; i++)
        if (marks[i] && memmem(marks[i], strlen(marks[i]), token.p, token.n))
            return true;
    return false;
}

bool answer_opens_thought(const struct answer_family *family, struct bytes end_of_prompt)
{
    if (!family->thought || family->form->shape == SHAPE_HARMONY)
        return false;
    const size_t n = strlen(family->thought->open);
    while (end_of_prompt.n > 0 && bytes_blank(bytes_from(end_of_prompt, end_of_prompt.n - 1)) == 1)
        end_of_prompt.n--;
    return end_of_prompt.n >= n &&
           memcmp(end_of_prompt.p + end_of_prompt.n - n, family->thought->open, n) == 0;
}

struct bytes answer_thought_end(const struct answer_family *family)
{
    if (family->form->shape == SHAPE_HARMONY)
        return bytes_of("<|end|><|start|>assistant<|channel|>final<|message|>");
    return family->thought ? bytes_of(family->thought->close) : (struct bytes){NULL, 0};
}

static void append(struct buf *out, const char *text, size_t n)
{
    if (buf_add(out, text, n) != OK)
        die("out of memory");
}

void answer_call_begin(struct buf *out, const struct answer_family *family, struct bytes tool)
{
    const char *begins = family->form->begins, *name = strstr(begins, "%s");
    append(out, begins, (size_t)(name - begins));
    if (tool.n == 0)
        return;
    append(out, (const char *)tool.p, tool.n);
    for (const char *p = name + 2; *p; p++)
        if (*p != '%') // of a number what follows it is the first
            append(out, p, 1);
}

// A call as an example.
static enum status example(struct buf *out, const struct answer_form *form)
{
    const char *ends = form->ends ? form->ends : "";
    answer_call_begin(out, &(struct answer_family){.form = form}, bytes_of("NAME"));
    return buf_format(out, "{...}%s%s", form->done ? form->done : "", ends);
}

enum status answer_tools_text(struct buf *out, const struct answer_family *family,
                              const struct value *tools)
{
    enum status status =
        buf_format(out, "# Tools\n\nYou can call these tools, one JSON object each:\n\n");
    for (size_t i = 0; tools->kind == VALUE_LIST && i < tools->list.n && status == OK; i++) {
        struct json json;
        json_init(&json, out->cap_bytes);
        value_write(&json, NULL, &tools->list.items[i]);
        status = json_done(&json);
        if (status == OK)
            status = buf_add(out, json.text.p, json.text.n);
        json_free(&json);
        if (status == OK)
            status = buf_add(out, "\n", 1);
    }
    if (status == OK)
        status = buf_format(out, "\nTo call one, write its name and its arguments as a JSON "
                                 "object, and nothing behind it:\n\n");
    if (status == OK)
        status = example(out, family->form);
    return status == OK ? buf_format(out, "\n\nIts result comes in the next message.") : status;
}
