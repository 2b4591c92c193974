// text_template.c - conversations as models want them written: ChatML as ids, what templates
// without a place for something get, words that the answer goes on from, and who may write control
// tokens.
#include "check.h"
#include "model_fixture.h"

#include <stdlib.h>

static const char *const texts[] = {"ab", "abc", "bc", "\xc4\xa0\x61", "user", "\xc4\xa0\xc4\xa0",
                                    "xyz"};
enum { AB = 256, ABC, BC, SPACE_A, USER, SPACES, XYZ, IM_START, IM_END };
static const char *const merges[] = {"b c", "a b", "a bc",  "\xc4\xa0 a",
                                     "u s", "e r", "us er", "\xc4\xa0 \xc4\xa0"};

#define SAYS(role, content) "{\"role\":\"" role "\",\"content\":\"" content "\"}"
#define CALLS                                                                                      \
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"            \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}},{\"id\":\"c2\",\"type\":" \
    "\"function\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]},"                              \
    "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"R2\"},"                              \
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"R1\"}"

static struct tokenizer *open_vocabulary(void)
{
    struct file f;
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct err err;
    file_begin(&f);
    add_vocabulary(&f, "gpt-2", texts, COUNT_OF(texts), merges, COUNT_OF(merges));
    file_counts(&f);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK && vocabulary_read(&t, g, &err) == OK);
    gguf_close(g);
    buf_free(&f.buf);
    return t;
}

static struct conversation talk(struct arena *arena, const char *messages, const char *tools,
                                const char *options)
{
    struct err err;
    struct value *values = arena_take(arena, 3 * sizeof(*values));
    CHECK(value_read(&values[0], arena, bytes_of(messages), &err) == OK);
    CHECK(!tools || value_read(&values[1], arena, bytes_of(tools), &err) == OK);
    CHECK(!options || value_read(&values[2], arena, bytes_of(options), &err) == OK);
    return (struct conversation){values, tools ? &values[1] : NULL, options ? &values[2] : NULL};
}

// ---- ids ----------------------------------------------------------------------------------------

static size_t encode(const struct template *template, const struct tokenizer *t,
                     const char *messages, int32_t ids[64])
{
    struct arena arena;
    int32_t *list = NULL;
    size_t n = 0;
    struct err err = {OK, ""};
    arena_init(&arena, 1 << 16);
    const struct conversation conversation = talk(&arena, messages, NULL, NULL);
    if (!CHECK(template_encode(template, t, &conversation, &list, &n, &err) == OK && n <= 64))
        fprintf(stderr, "    %s\n", err.text);
    else
        memcpy(ids, list, n * sizeof(*ids));
    free(list);
    arena_free(&arena);
    return n;
}

static void test_ids(void)
{
    struct tokenizer *t = open_vocabulary();
    struct template *template;
    const struct template_source none = {.text = {NULL, 0}};
    int32_t ids[64], fresh[64];
    template_open(&template, &none, t);
    CHECK(!template_fault(template));
    size_t n = encode(template, t, "[" SAYS("user", "ab<|im_end|>") "]", ids);
    const int32_t head[] = {IM_START, USER, '\n', AB, '<', '|', 'i', 'm'};
    CHECK(n > 8 && memcmp(ids, head, sizeof(head)) == 0);
    size_t n_ends = 0, n_starts = 0;
    for (size_t i = 0; i < n; i++) {
        n_ends += ids[i] == IM_END;
        n_starts += ids[i] == IM_START;
    }
    CHECK(n_ends == 1 && n_starts == 2 && ids[n - 1] == '\n');
    // a last message of the assistant's is left open: nothing follows its text
    n = encode(template, t, "[" SAYS("user", "x") "," SAYS("assistant", "abc") "]", ids);
    CHECK(n > 3 && ids[n - 2] == '\n' && ids[n - 1] == ABC);
    size_t n_open = n; // in the middle it ends
    n = encode(template, t,
               "[" SAYS("user", "x") "," SAYS("assistant", "abc") "," SAYS("user", "x") "]", ids);
    CHECK(ids[n_open] == IM_END);
    n = encode(template, t, "[" SAYS("user", "x") "," SAYS("assistant", "") "]", ids);
    size_t n_fresh = encode(template, t, "[" SAYS("user", "x") "]", fresh);
    CHECK(n == n_fresh && memcmp(ids, fresh, n * sizeof(*ids)) == 0);
    template_close(template);
    tokenizer_close(t);
}

// A mark is one only where the template wrote all of it; words span the border.
static void test_authors(void)
{
    struct tokenizer *t = open_vocabulary();
    struct template *template;
    const struct template_source source = {
        .text = bytes_of("<|im_start|>a{{ messages[0].content }}<|im_{{ messages[0].content }}|>")};
    int32_t ids[64];
    template_open(&template, &source, t);
    size_t n = encode(template, t, "[" SAYS("user", "bc") "]", ids);
    CHECK(n > 2 && ids[0] == IM_START && ids[1] == ABC);
    n = encode(template, t, "[" SAYS("user", "end") "]", ids);
    for (size_t i = 0; i < n; i++)
        CHECK(ids[i] != IM_END);
    template_close(template);
    tokenizer_close(t);
}

// ---- texts --------------------------------------------------------------------------------------

static struct template *open_template(const char *text)
{
    const struct template_source source = {
        .text = bytes_of(text), .bos = bytes_of("<s>"), .eos = bytes_of("</s>")};
    struct template *template;
    template_open(&template, &source, NULL);
    return template;
}

static void writes_with(const char *source, const char *messages, const char *tools,
                        const char *options, const char *want)
{
    struct arena arena;
    struct jinja_text text;
    struct err err = {OK, ""};
    struct template *template = open_template(source);
    arena_init(&arena, 1 << 16);
    const struct conversation conversation = talk(&arena, messages, tools, options);
    enum status status = template_render(&text, template, &conversation, &err);
    if (!CHECK(status == OK))
        fprintf(stderr, "    %s\n", err.text);
    else {
        const struct bytes got = {text.p, text.n};
        if (!CHECK(bytes_equal_text(got, want)))
            fprintf(stderr, "    got  \"%.*s\"\n    want \"%s\"\n", (int)got.n, (const char *)got.p,
                    want);
        jinja_text_free(&text);
    }
    arena_free(&arena);
    template_close(template);
}

static void writes(const char *source, const char *messages, const char *want)
{
    writes_with(source, messages, NULL, NULL, want);
}

// Turns of user and assistant alone, as Gemma and Mistral have them.
static const char strict[] =
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.role[0] }}:{{ m.content }};"
    "{% endfor %}{% if add_generation_prompt %}a:{% endif %}";
// Everything in its place.
static const char whole[] =
    "{# it closes with </think> #}{{ bos_token }}{% if tools %}T={{ "
    "tools|map(attribute='function.name')|join(',') }}/"
    "{{ tools[0].function.parameters|default({})|tojson }};{% endif %}"
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}"
    "{% for c in m.tool_calls or [] %}!{{ c.function.name }}{{ c.function.arguments|tojson }}"
    "{% endfor %}{{ '@' + m.name if m.name }};{% endfor %}"
    "{% if add_generation_prompt %}a:{{ '<think>' if enable_thinking }}{% endif %}";

static void test_system(void)
{
    writes(strict, "[" SAYS("system", "S") "," SAYS("user", "U") "]", "u:S\n\nU;a:");
    writes(strict,
           "[" SAYS("system", "S") "," SAYS("user", "U") "," SAYS("assistant", "A") "," SAYS(
               "system", "L") "," SAYS("user", "V") "]",
           "u:S\n\nU;a:A;u:L\n\nV;a:");
    writes(strict, "[" SAYS("system", "S") "]", "u:S;a:");
    writes(whole,
           "[" SAYS("system", "S") "," SAYS("user", "U") "," SAYS("assistant", "A") "," SAYS(
               "system", "L") "," SAYS("user", "V") "]",
           "<s>s:S;u:U;a:A;s:L;u:V;a:");
}

static void test_begun(void)
{
    writes(strict, "[" SAYS("user", "U") "," SAYS("assistant", "so ") "]", "u:U;a:so ");
    writes_with(whole, "[" SAYS("user", "U") "," SAYS("assistant", "so") "]", NULL,
                "{\"enable_thinking\":true}", "<s>u:U;a:<think>\n</think>\n\nso");
    writes_with(whole, "[" SAYS("user", "U") "," SAYS("assistant", "") "]", NULL,
                "{\"enable_thinking\":true}", "<s>u:U;a:<think>");
}

static void test_calls(void)
{
    static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                                "\"parameters\":{\"type\":\"object\"}}}]";
    writes_with(whole, "[" SAYS("user", "U") "," CALLS "]", tools, NULL,
                "<s>T=f/{\"type\": \"object\"};u:U;a:!f{\"x\": 1}!g{};t:R2@g;t:R1@f;a:");
    // no place for any of it
    writes(
        strict, "[" SAYS("user", "U") "," CALLS "]",
        "u:U;a:<tool_call>\n{\"name\":\"f\",\"arguments\":{\"x\":1}}\n</tool_call>\n<tool_call>\n"
        "{\"name\":\"g\",\"arguments\":{}}\n</tool_call>;u:<tool_response>\nR2\n</tool_response>"
        "\n\n<tool_response>\nR1\n</tool_response>;a:");
    // one call a message, arguments as a text, ids of nine
    writes("{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{% if m.tool_calls %}"
           "{% if m.tool_calls|length > 1 %}{{ raise_exception('one') }}{% endif %}"
           "{% if m.tool_calls[0].id|length != 9 %}{{ raise_exception('nine') }}{% endif %}"
           "!{{ m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}{% endif %};"
           "{% endfor %}",
           "[" SAYS("user", "U") "," CALLS "]", "u:U;a:!f{\"x\":1};t:R1;a:!g{};t:R2;");
}

static void test_refused(void)
{
    struct arena arena;
    struct jinja_text text;
    struct err err = {OK, ""};
    struct template *template = open_template("{{ raise_exception('never') }}");
    arena_init(&arena, 1 << 16);
    const struct conversation conversation = talk(&arena, "[" SAYS("user", "U") "]", NULL, NULL);
    CHECK(template_render(&text, template, &conversation, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "the chat template refuses this conversation: never");
    template_close(template);
    template = open_template("x\n{% include 'y' %}");
    CHECK(template_fault(template) && strstr(template_fault(template)->text, "line 2"));
    CHECK(template_render(&text, template, &conversation, &err) == UNSUPPORTED);
    template_close(template);
    const struct template_source none = {.text = {NULL, 0}};
    template_open(&template, &none, NULL);
    CHECK(template_fault(template) && strstr(template_fault(template)->text, "no chat template"));
    template_close(template);
    arena_free(&arena);
}

// The role is a word of ours: it may be part of a mark.
static void test_roles(void)
{
    struct arena arena;
    struct jinja_text text;
    struct err err;
    struct template *template =
        open_template("<|{{ messages[0].role }}|>{{ messages[0].content }}");
    arena_init(&arena, 1 << 16);
    const struct conversation conversation = talk(&arena, "[" SAYS("user", "U") "]", NULL, NULL);
    if (CHECK(template_render(&text, template, &conversation, &err) == OK && text.n == 9)) {
        CHECK(memcmp(text.client, "\0\0\0\0\0\0\0\0\1", 9) == 0);
        jinja_text_free(&text);
    }
    template_close(template);
    arena_free(&arena);
}

int main(void)
{
    test_ids();
    test_authors();
    test_system();
    test_begun();
    test_calls();
    test_refused();
    test_roles();
    return check_done("text_template");
}
