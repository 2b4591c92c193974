// answer.c - fuzz target: any bytes as a model's answer, of any family. However they are cut, the
// events are the same; texts are whole UTF-8, a call begins with its name, and calls are counted.
//
// Input: a byte (which family), a byte (bit 0: tools, 1: a thought is open, 2: one call), a byte
// (how long the pieces are), then the answer. Kept inputs: answer/.
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const templates[] = {
    "",
    "tools <tool_call> </think>",
    "tools <tool_call> <parameter= </think>",
    "tools <tool_call> <arg_key> </think>",
    "<|channel|> <|message|>",
    "tools [TOOL_CALLS] [/THINK]",
    "tools <" BAR "tool" LOW "calls" LOW "begin" BAR "> ```json </think>",
    "tools <" BAR "tool" LOW "calls" LOW "begin" BAR "> </think>",
    "tools <|tool_call> <channel|>",
    "tools <|tool_call_start|> </think>",
    "tools <|python_tag|>",
    "tools <minimax:tool_call> </think>",
    "tools DSML function_calls>",
    "tools <|tool_call_argument_begin|> </think>",
    "tools <|START_ACTION|> <|END_THINKING|>",
    "tools <function= </function>",
};

static const char tools_json[] =
    "[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"},"
    "\"b\":{\"type\":[\"integer\",\"null\"]},\"c\":{}}}}},{\"name\":\"g\"}]";

static struct arena arena;
static struct value tools;

struct seen {
    struct buf text;
    enum answer_channel channel;
    int32_t n_calls;
};

static void add(struct seen *seen, const void *p, size_t n)
{
    if (buf_add(&seen->text, p, n) != OK)
        abort();
}

static void take_all(struct seen *seen, struct answer_parser *answer)
{
    struct answer_event event;
    while (answer_take(answer, &event)) {
        const bool is_call = event.channel >= ANSWER_TOOL_NAME;
        const char mark = (char)('0' + event.channel);
        if (event.text.n == 0 || !utf8_valid(event.text))
            abort();
        seen->n_calls += event.channel == ANSWER_TOOL_NAME;
        if (is_call && event.call != seen->n_calls - 1)
            abort();
        if (event.channel != seen->channel || event.channel == ANSWER_TOOL_NAME)
            add(seen, &mark, 1);
        add(seen, event.text.p, event.text.n);
        seen->channel = event.channel;
    }
}

static void read_answer(struct seen *seen, const uint8_t *data, struct bytes text, size_t step)
{
    struct answer_parser *answer;
    const struct answer_family family =
        answer_family_find(bytes_of(templates[data[0] % COUNT_OF(templates)]), NULL);
    const struct answer_options options = {.tools = data[1] & 1 ? &tools : NULL,
                                           .in_thought = (data[1] & 2) != 0,
                                           .one_call = (data[1] & 4) != 0};
    *seen = (struct seen){.channel = ANSWER_CONTENT};
    buf_init(&seen->text, SIZE_MAX);
    answer_open(&answer, &family, &options);
    for (size_t at = 0; at < text.n; at += step) {
        const size_t n = text.n - at < step ? text.n - at : step;
        answer_feed(answer, (struct bytes){text.p + at, n});
        take_all(seen, answer);
    }
    answer_finish(answer);
    take_all(seen, answer);
    if (options.one_call && seen->n_calls > 1)
        abort();
    answer_close(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, pieces;
    struct err err;
    if (size < 3)
        return 0;
    arena_init(&arena, 1 << 16);
    if (value_read(&tools, &arena, bytes_of(tools_json), &err) != OK)
        abort();
    const struct bytes text = {data + 3, size - 3};
    read_answer(&whole, data, text, size);
    read_answer(&pieces, data, text, 1 + data[2] % 8u);
    if (!bytes_equal(buf_view(&whole.text), buf_view(&pieces.text)))
        abort();
    buf_free(&whole.text);
    buf_free(&pieces.text);
    arena_free(&arena);
    return 0;
}
