// template.c - how a model wants conversations written: its own chat template, rendered and made
// token ids.
//
// A model without one gets ChatML where its vocabulary has the marks. What the template writes may
// spell control tokens, what a client wrote may not: the text is tokenized as one, since words may
// span the border, with the authors of its bytes beside it. When the last message is the
// assistant's, it is left out, and its words stand behind the opening of the assistant's turn: the
// answer goes on there.
#include "inside.h"
#include "template_inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char chatml[] =
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// Room for a conversation as it is folded: its texts are copied a few times at most.
enum { FOLD_BYTES = 4 << 20, FOLD_BYTES_A_BYTE = 8 };

// ---- life ---------------------------------------------------------------------------------------

static struct bytes owned(struct bytes text)
{
    uint8_t *copy = mem_alloc(text.n + 1);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    return (struct bytes){copy, text.n};
}

static struct bytes token_text(const struct tokenizer *t, int32_t id, struct bytes said)
{
    return owned(said.n > 0 || !t || id < 0 ? said : tokenizer_mark(t, id));
}

static enum status open_format(struct template *t, const struct tokenizer *tokenizer,
                               struct format *format, struct bytes source, struct err *err)
{
    format->source = owned(source);
    format->family = answer_family_find(source, tokenizer);
    enum status status = jinja_open(&format->jinja, source, err);
    if (status != OK)
        return err_prefix(err, "the chat template cannot be used");
    template_probe(t, format);
    return OK;
}

void template_open(struct template **out, const struct template_source *source,
                   const struct tokenizer *tokenizer)
{
    struct template *t = mem_alloc(sizeof(*t));
    t->bos = token_text(tokenizer, tokenizer ? tokenizer->bos : -1, source->bos);
    t->eos = token_text(tokenizer, tokenizer ? tokenizer->eos : -1, source->eos);
    t->unknown =
        token_text(tokenizer, tokenizer ? tokenizer->unknown : -1, (struct bytes){NULL, 0});
    bool marks = tokenizer && tokenizer_find_special(tokenizer, "<|im_start|>") >= 0 &&
                 tokenizer_find_special(tokenizer, "<|im_end|>") >= 0;
    enum status status;
    if (source->text.n > 0)
        status = open_format(t, tokenizer, &t->plain, source->text, &t->fault);
    else if (marks)
        status = open_format(t, tokenizer, &t->plain, bytes_of(chatml), &t->fault);
    else
        status = err_set(&t->fault, UNSUPPORTED,
                         "the model has no chat template, and no <|im_start|> and <|im_end|> in "
                         "its vocabulary: use /v1/completions with it");
    if (source->text.n == 0)
        t->plain.family = answer_family_find((struct bytes){NULL, 0}, tokenizer);
    if (status == OK && source->tools.n > 0)
        status = open_format(t, tokenizer, &t->tools, source->tools, &t->fault);
    *out = t;
}

void template_close(struct template *t)
{
    struct format *formats[] = {&t->plain, &t->tools};
    if (!t)
        return;
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        jinja_close(formats[i]->jinja);
        free((void *)(uintptr_t)formats[i]->source.p);
    }
    free((void *)(uintptr_t)t->bos.p);
    free((void *)(uintptr_t)t->eos.p);
    free((void *)(uintptr_t)t->unknown.p);
    free(t);
}

const struct err *template_fault(const struct template *template)
{
    return template->fault.status == OK ? NULL : &template->fault;
}

// ---- rendering ----------------------------------------------------------------------------------

// FireFunction's templates want the tools as a JSON text, and the day.
static struct value tools_json(struct json *json, const struct value *tools)
{
    json_init(json, 64 << 20); // what does not fit is left out: no other template reads it
    if (tools)
        value_write(json, NULL, tools);
    bool good = tools && json_done(json) == OK;
    return (struct value){.kind = VALUE_TEXT,
                          .text = good ? buf_view(&json->text) : bytes_of("[]")};
}

static struct value today(void)
{
    static _Thread_local char text[32];
    const time_t now = (time_t)clock_unix_s();
    struct tm tm;
    if (!localtime_r(&now, &tm) || strftime(text, sizeof(text), "%b %d %Y", &tm) == 0)
        text[0] = 0;
    return (struct value){.kind = VALUE_TEXT, .text = bytes_of(text)};
}

enum status template_run(struct jinja_text *out, const struct template *template,
                         const struct format *format, const struct value *messages,
                         const struct conversation *conversation, struct err *err)
{
    enum { OPTIONS_MOST = 64, OURS_MOST = 10 };
    static const struct value none = {.kind = VALUE_NULL}, yes = {.kind = VALUE_BOOL, .yes = true};
    struct jinja_variable variables[OPTIONS_MOST + OURS_MOST];
    const struct value *options = conversation->options;
    const struct value bos = {.kind = VALUE_TEXT, .text = template->bos},
                       eos = {.kind = VALUE_TEXT, .text = template->eos},
                       unknown = {.kind = VALUE_TEXT, .text = template->unknown};
    size_t n = 0;
    if (options && options->dict.n > OPTIONS_MOST)
        return err_set(err, BAD_INPUT, "%zu variables for the chat template; at most %d are taken",
                       options->dict.n, OPTIONS_MOST);
    for (size_t i = 0; options && i < options->dict.n; i++)
        variables[n++] = (struct jinja_variable){(const char *)options->dict.members[i].name.p,
                                                 &options->dict.members[i].value, false};
    struct json functions_json;
    const struct value functions = tools_json(&functions_json, conversation->tools), now = today();
    const struct jinja_variable ours[] = {
        {"functions", &functions, false},
        {"datetime", &now, true},
        {"messages", messages, .roles = true},
        {"tools", conversation->tools ? conversation->tools : &none, false},
        {"documents", &none, false},
        {"add_generation_prompt", &yes, true},
        {"bos_token", &bos, true},
        {"eos_token", &eos, true},
        {"unk_token", &unknown, true},
    };
    memcpy(variables + n, ours, sizeof(ours)); // the last of a name counts
    enum status status =
        jinja_render(out, format->jinja, variables, n + COUNT_OF(ours), clock_unix_s(), err);
    json_free(&functions_json);
    return status;
}

static void append(struct jinja_text *out, struct bytes text, bool client)
{
    out->p = mem_resize(out->p, out->n + text.n + 1);
    out->client = mem_resize(out->client, out->n + text.n + 1);
    if (text.n > 0)
        memcpy(out->p + out->n, text.p, text.n);
    memset(out->client + out->n, client, text.n);
    out->n += text.n;
}

static struct bytes text_of(const struct value *message, const char *name)
{
    const struct value *text = value_get(message, name);
    return text && text->kind == VALUE_TEXT ? text->text : (struct bytes){NULL, 0};
}

// The words of the assistant's that the answer goes on from. A thought that the template has opened
// is closed before them.
static void append_begun(struct jinja_text *out, const struct format *format,
                         const struct value *message)
{
    struct bytes content = text_of(message, "content"),
                 thought = text_of(message, "reasoning_content"),
                 end = answer_thought_end(&format->family);
    bool opened = answer_opens_thought(&format->family, (struct bytes){out->p, out->n});
    if (opened && (thought.n > 0 || content.n > 0)) {
        append(out, thought, true);
        if (content.n > 0) {
            append(out, bytes_of("\n"), false);
            append(out, end, false);
            append(out, bytes_of("\n\n"), false);
        }
    } else if (strcmp(answer_form_name(&format->family), "harmony") == 0 && content.n > 0)
        append(out, bytes_of("<|channel|>final<|message|>"), false);
    append(out, content, true);
}

static enum status render(struct jinja_text *out, const struct template *t,
                          const struct format *format, const struct conversation *conversation,
                          bool all, struct arena *arena, struct err *err)
{
    struct conversation folded = *conversation;
    struct value messages;
    enum status status =
        template_fold(&messages, &folded.tools, arena, format, conversation, all, err);
    return status == OK ? template_run(out, t, format, &messages, &folded, err) : status;
}

// The last message, when it is the assistant's and calls nothing: the answer goes on from it.
static const struct value *begun_by(const struct conversation *conversation)
{
    const struct value *list = conversation->messages;
    const struct value *last = list->list.n > 0 ? &list->list.items[list->list.n - 1] : NULL;
    bool begun = last && bytes_equal_text(text_of(last, "role"), "assistant") &&
                 !value_get(last, "tool_calls");
    return begun ? last : NULL;
}

enum status template_render(struct jinja_text *out, const struct template *template,
                            const struct conversation *conversation, struct err *err)
{
    if (template->fault.status != OK) {
        if (err)
            *err = template->fault;
        return template->fault.status;
    }
    const struct format *format =
        conversation->tools && template->tools.jinja ? &template->tools : &template->plain;
    const struct value *begun = begun_by(conversation);
    struct conversation asked = *conversation;
    struct value before = *conversation->messages;
    struct arena arena;
    struct err refused, again;
    before.list.n -= begun != NULL;
    asked.messages = &before;
    arena_init(&arena, FOLD_BYTES + FOLD_BYTES_A_BYTE * conversation_bytes(conversation));
    enum status status = render(out, template, format, &asked, false, &arena, &refused);
    // what it refuses may do as plain turns of user and assistant
    if (status == BAD_INPUT && render(out, template, format, &asked, true, &arena, &again) == OK)
        status = OK;
    arena_free(&arena);
    if (status == OK && begun)
        append_begun(out, format, begun);
    if (status != OK && err) {
        *err = refused;
        return err_prefix(err, "the chat template refuses this conversation");
    }
    return status;
}

static uint64_t bytes_in(const struct value *value)
{
    uint64_t n = 0;
    if (!value)
        return 0;
    if (value->kind == VALUE_TEXT)
        return value->text.n;
    for (size_t i = 0; value->kind == VALUE_LIST && i < value->list.n; i++)
        n += bytes_in(&value->list.items[i]);
    for (size_t i = 0; value->kind == VALUE_DICT && i < value->dict.n; i++)
        n += value->dict.members[i].name.n + bytes_in(&value->dict.members[i].value);
    return n;
}

uint64_t conversation_bytes(const struct conversation *conversation)
{
    return bytes_in(conversation->messages) + bytes_in(conversation->tools);
}

// ---- ids ----------------------------------------------------------------------------------------

enum status template_encode(const struct template *template, const struct tokenizer *tokenizer,
                            const struct conversation *conversation, int32_t **ids, size_t *n,
                            struct err *err)
{
    struct jinja_text text;
    enum status status = template_render(&text, template, conversation, err);
    if (status != OK)
        return status;
    size_t cap = 2 * text.n + 64, count = 0; // a token has a byte at least, but for some spaces
    int32_t *list = mem_array(cap, sizeof(*list));
    if (tokenizer->add_bos)
        list[count++] = tokenizer->bos;
    status = tokenizer_append_written(tokenizer, (struct bytes){text.p, text.n}, text.client, list,
                                      cap, &count, err);
    jinja_text_free(&text);
    // most templates write it themselves
    bool twice = status == OK && tokenizer->add_bos && count > 1 && list[1] == tokenizer->bos;
    if (twice)
        memmove(list, list + 1, --count * sizeof(*list));
    if (status != OK) {
        free(list);
        return status;
    }
    *ids = list;
    *n = count;
    return OK;
}
