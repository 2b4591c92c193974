// text_answer.c - what models write, taken apart: for every family well-formed answers, calls side
// by side, thoughts before and between, and what is broken. Each is fed whole, byte by byte and in
// every two pieces, which must not change the events; and cut off at every byte, which must leak no
// mark and keep what came before.
//
// An answer is shown as its events: C content, T thinking, N name, A arguments, each in brackets
// and with its call's number.
#include "../../engine/text/text.h"
#include "grammar_fixture.h"

#include <stdlib.h>

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define CALLS "<" BAR "tool" LOW "calls" LOW "begin" BAR ">"
#define ONE "<" BAR "tool" LOW "call" LOW "begin" BAR ">"
#define SEP "<" BAR "tool" LOW "sep" BAR ">"
#define ONE_ENDS "<" BAR "tool" LOW "call" LOW "end" BAR ">"
#define CALLS_END "<" BAR "tool" LOW "calls" LOW "end" BAR ">"
#define DSML BAR "DSML" BAR

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},"
    "\"opts\":{\"type\":\"object\"},\"tags\":{\"type\":\"array\"},\"when\":{\"anyOf\":[{\"type\":"
    "\"string\"},{\"type\":\"null\"}]},\"exact\":{\"type\":\"boolean\"},\"unit\":{\"enum\":[\"C\","
    "\"F\"]}}}}},{\"type\":\"function\",\"function\":{\"name\":\"write\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"text\":{\"type\":\"string\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]";

static struct arena arena;
static struct value tools;

struct test {
    const char *sign; // what stands in the template
    const char *form; // the family's
    const char *text, *want;
    bool in_thought, no_tools, one_call, may_leak;
};

// ---- showing events -----------------------------------------------------------------------------

struct shown {
    char text[4096], plain[4096]; // plain: without what is shown around
    size_t n, n_plain;
    int channel, call;
    char id[4][96];
};

static void show(struct shown *out, const struct answer_event *event)
{
    static const char letters[] = {'C', 'T', 'N', 'A'};
    const bool is_call = event->channel >= ANSWER_TOOL_NAME;
    CHECK(event->text.n > 0 && utf8_valid(event->text));
    if (out->n > 0 && out->channel == (int)event->channel && event->channel != ANSWER_TOOL_NAME &&
        (!is_call || out->call == event->call))
        out->n--; // the same event goes on
    else if (is_call)
        out->n += (size_t)snprintf(out->text + out->n, sizeof(out->text) - out->n, "%c%d[",
                                   letters[event->channel], event->call);
    else
        out->n += (size_t)snprintf(out->text + out->n, sizeof(out->text) - out->n, "%c[",
                                   letters[event->channel]);
    out->n += (size_t)snprintf(out->text + out->n, sizeof(out->text) - out->n, "%.*s]",
                               (int)event->text.n, (const char *)event->text.p);
    out->n_plain += (size_t)snprintf(out->plain + out->n_plain, sizeof(out->plain) - out->n_plain,
                                     "%s%.*s", out->channel == (int)event->channel ? "" : "\n",
                                     (int)event->text.n, (const char *)event->text.p);
    out->channel = (int)event->channel;
    out->call = event->call;
    if (event->channel == ANSWER_TOOL_NAME && event->call < 4)
        snprintf(out->id[event->call], sizeof(out->id[0]), "%.*s", (int)event->id.n,
                 (const char *)event->id.p);
}

static void take_all(struct shown *out, struct answer_parser *answer)
{
    struct answer_event event;
    while (answer_take(answer, &event))
        show(out, &event);
}

static struct answer_parser *open_answer(const struct test *test)
{
    struct answer_parser *answer;
    const struct answer_family family = answer_family_find(bytes_of(test->sign), NULL);
    const struct answer_options options = {.tools = test->no_tools ? NULL : &tools,
                                           .in_thought = test->in_thought,
                                           .one_call = test->one_call};
    answer_open(&answer, &family, &options);
    return answer;
}

// Fed in pieces that end at a, b and then every step bytes.
static void read_answer(struct shown *out, const struct test *test, size_t n, size_t a, size_t step)
{
    struct answer_parser *answer = open_answer(test);
    *out = (struct shown){0};
    for (size_t at = 0, next; at < n; at = next) {
        next = at < a ? a : at + step;
        next = next > n ? n : next;
        uint8_t *piece = malloc(next - at); // not a byte to spare
        memcpy(piece, test->text + at, next - at);
        answer_feed(answer, (struct bytes){piece, next - at});
        free(piece);
        take_all(out, answer);
    }
    answer_finish(answer);
    take_all(out, answer);
    answer_close(answer);
}

// ---- the corpus ---------------------------------------------------------------------------------

#define HERMES "tools <tool_call> </think>"
#define CALL(args) "N0[get_weather]A0[" args "]"

static const struct test hermes[] = {
    {HERMES, "hermes", "Plain text, no more.\n", "C[Plain text, no more.\n]"},
    {HERMES, "hermes",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
     CALL("{\"city\": \"Paris\"}")},
    {HERMES, "hermes",
     "<think>\nWhere? \n</think>\n\nI will look.\n\n<tool_call>\n{\"name\": \"get_weather\", "
     "\"arguments\": {\"city\": \"Z\xc3\xbcrich \\u00e9\", \"days\": 3}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
     "T[Where?]C[I will look.]N0[get_weather]A0[{\"city\": \"Z\xc3\xbcrich \\u00e9\", \"days\": "
     "3}]N1[now]A1[{}]"},
    {HERMES, "hermes", "so it is.\n</think>\nYes.", "T[so it is.]C[Yes.]", .in_thought = true},
    {HERMES, "hermes", "never ends\n\nreally", "T[never ends\n\nreally]", .in_thought = true},
    {HERMES, "hermes", "<think>\n\n</think>\n\nHi <think> there", "C[Hi <think> there]",
     .may_leak = true},
    {HERMES, "hermes", "</think>\n\nHi", "C[Hi]"},
    {HERMES, "hermes", "<tool_call>{\"name\": \"now\"}</tool_call>", "N0[now]A0[{}]"},
    {HERMES, "hermes",
     "<tool_call>{\"arguments\": {\"city\": \"X\"}, \"name\": \"get_weather\"}</tool_call>ok",
     CALL("{\"city\": \"X\"}") "C[ok]"},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": "
     "\\\"X\\\"}\"}</tool_call>",
     CALL("{\"city\": \"X\"}")},
    {HERMES, "hermes",
     "<tool_call>{'name': 'get_weather', 'arguments': {'city': 'O\"X', 'exact': True, 'when': "
     "None,}}</tool_call>",
     CALL("{\"city\": \"O\\\"X\", \"exact\": true, \"when\": null}")},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": {'city': 'O\"X', 'exact': True, "
     "\"when\": None, }}</tool_call>",
     CALL("{\"city\": \"O\\\"X\", \"exact\": true, \"when\": null }")},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"write\", \"arguments\": {\"text\": \"a\nb\t\\d\"}}</tool_call>",
     "N0[write]A0[{\"text\": \"a\\nb\\t\\\\d\"}]"},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"X\"}}}</tool_call>",
     CALL("{\"city\": \"X\"}")},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"X\"}</tool_call>",
     CALL("{\"city\": \"X\"}")},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\" \"X\"}}</tool_call> So",
     CALL("{\"city\" \"X\"}}") "C[So]"},
    {HERMES, "hermes", "Write `<tool_call>` for one.", "C[Write `<tool_call>` for one.]",
     .may_leak = true},
    {HERMES, "hermes",
     "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"now\", \"arguments\": "
     "{}}}</tool_call>",
     "N0[now]A0[{}]"},
    {HERMES, "hermes",
     "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": "
     "{}}\n</tool_call>",
     "N0[now]A0[{}]N1[now]A1[{}]"},
    {HERMES, "hermes", "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>x",
     "C[<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>x]", .no_tools = true,
     .may_leak = true},
    {HERMES, "hermes",
     "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call><tool_call>{\"name\": \"now\"",
     "N0[now]A0[{}]", .one_call = true},
    {"no place for them", "unknown", "{\"name\": \"now\", \"arguments\": {}}", "N0[now]A0[{}]"},
    {"no place for them", "unknown", "{\"name\": \"Ann\", \"arguments\": {}}",
     "C[{\"name\": \"Ann\", \"arguments\": {}}]"},
    {"tools <tool_calls>", "list",
     "<tool_calls>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"get_weather\", "
     "\"arguments\": {\"days\": 1e2}}]</tool_calls>",
     "N0[now]A0[{}]N1[get_weather]A1[{\"days\": 1e2}]"},
    {"tools <TOOLCALL>", "nemotron",
     "<TOOLCALL>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"X\"}}]</TOOLCALL>",
     CALL("{\"city\": \"X\"}")},
    {"tools <|tool_call|> available_tools", "granite3",
     "<|tool_call|>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"X\"}}]",
     CALL("{\"city\": \"X\"}")},
    {"tools <|tool_call|>", "phi4-mini",
     "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>", "N0[now]A0[{}]"},
    {"tools functools[", "firefunction", "Well functools[{\"name\": \"now\", \"arguments\": {}}]",
     "C[Well]N0[now]A0[{}]"},
    {"tools <toolcall>", "nemotron-mini",
     "<toolcall> {\"name\": \"now\", \"arguments\": {}} </toolcall>", "N0[now]A0[{}]"},
    {"tools <|action_start|> <|plugin|>", "internlm2",
     "I look.<|action_start|><|plugin|>\n{\"name\": \"get_weather\", \"parameters\": {\"city\": "
     "\"X\"}}<|action_end|>\n",
     "C[I look.]" CALL("{\"city\": \"X\"}")},
    {"tools <|START_ACTION|> <|START_THINKING|> <|END_THINKING|>", "command-r7b",
     "<|START_THINKING|>Look it up.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": "
     "\"0\", \"tool_name\": \"get_weather\", \"parameters\": {\"city\": \"X\"}},\n    "
     "{\"tool_call_id\": \"1\", \"tool_name\": \"now\", \"parameters\": {}}\n]<|END_ACTION|>",
     "T[Look it up.]N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {"tools <|START_ACTION|> <|START_THINKING|> <|END_THINKING|>", "command-r7b",
     "<|START_RESPONSE|>It rains.<|END_RESPONSE|>", "C[It rains.]"},
    {"tools Action: ```json", "command-r",
     "Action: ```json\n[\n    {\n        \"tool_name\": \"get_weather\",\n        "
     "\"parameters\": {\"city\": \"X\"}\n    }\n]```",
     CALL("{\"city\": \"X\"}")},
};

#define MISTRAL "tools [TOOL_CALLS]"
#define R1 "tools " CALLS " ```json </think>"
#define V31 "tools " CALLS " </think>"
#define KIMI "tools <|tool_call_argument_begin|> </think>"

static const struct test named[] = {
    {MISTRAL, "mistral",
     "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"X\"}, \"id\": "
     "\"VvvODy9mT\"}, {\"name\": \"now\", \"arguments\": {}}]",
     "N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {MISTRAL "[ARGS] [THINK] [/THINK]", "mistral-named",
     "[THINK]Which?[/THINK]Let me see.[TOOL_CALLS]get_weather[ARGS]{\"city\": \"X\"}[TOOL_CALLS]"
     "now[ARGS]{}",
     "T[Which?]C[Let me see.]N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {MISTRAL, "mistral", "[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{\"city\": \"X\"}",
     CALL("{\"city\": \"X\"}")},
    {MISTRAL, "mistral", "[TOOL_CALLS]get_weather{\"city\": \"X\"}", CALL("{\"city\": \"X\"}")},
    {R1, "deepseek-r1",
     "Fine.\n</think>\n\n" CALLS ONE "function" SEP
     "get_weather\n```json\n{\"city\": \"X\"}\n```" ONE_ENDS "\n" ONE "function" SEP
     "now\n```json\n{}\n```" ONE_ENDS CALLS_END,
     "T[Fine.]N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]", .in_thought = true},
    {V31, "deepseek-v3.1",
     "Yes." CALLS ONE "get_weather" SEP "{\"city\": \"X\"}" ONE_ENDS ONE "now" SEP
     "{}" ONE_ENDS CALLS_END,
     "C[Yes.]N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {V31, "deepseek-v3.1", ONE "now" SEP "{}" ONE_ENDS, "N0[now]A0[{}]"},
    {KIMI, "kimi",
     "<think>hm</think>Now.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:"
     "0<|tool_call_argument_begin|>{\"city\": \"X\"}<|tool_call_end|><|tool_call_begin|>functions"
     ".now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "T[hm]C[Now.]N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {KIMI, "kimi",
     "I must call it <|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_"
     "argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "T[I must call it]N0[now]A0[{}]", .in_thought = true},
    {"tools <|tool_call> <channel|>", "gemma4",
     "<|channel>thought\nWhere is it?\n<channel|>On it.<|tool_call>call:get_weather{city:<|\"|>Pa "
     "\"r\\is<|\"|>,days:3,opts:{a:[1,true,<|\"|>x<|\"|>],b:{}}}<tool_call|><|tool_call>call:now{"
     "}<tool_call|>",
     "T[Where is it?]C[On it.]N0[get_weather]A0[{\"city\":\"Pa \\\"r\\\\is\",\"days\":3,\"opts\":{"
     "\"a\":[1,true,\"x\"],\"b\":{}}}]N1[now]A1[{}]"},
    {"tools <start_function_call>", "functiongemma",
     "<start_function_call>call:get_weather{city:<escape>X<escape>}<end_function_call>",
     CALL("{\"city\":\"X\"}")},
    {"<function= </function> tools", "function-tag",
     "<function=get_weather>{\"city\": \"X\"}</function><function=now>{}</function>",
     "N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
};

#define QWEN "tools <tool_call> <parameter= </think>"
#define MINIMAX "tools <minimax:tool_call> </think>"
#define GLM "tools <tool_call> <arg_key> </think>"

static const struct test tagged[] = {
    {QWEN, "qwen-xml",
     "I look.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nNew \"York\"\n</parameter>"
     "\n<parameter=days>\n3\n</parameter>\n<parameter=opts>\n{\"a\": [1]}\n</parameter>\n"
     "<parameter=exact>\nTrue\n</parameter>\n<parameter=when>\nnull\n</parameter>\n</function>\n"
     "</tool_call>",
     "C[I look.]N0[get_weather]A0[{\"city\": \"New \\\"York\\\"\", \"days\": 3, \"opts\": {\"a\": "
     "[1]}, \"exact\": true, \"when\": null}]"},
    {QWEN, "qwen-xml",
     "<tool_call>\n<function=write>\n<parameter=text>\n\nif (a < b)\n\t<b>\n\n</parameter>\n"
     "<parameter=path>\n42\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n"
     "</function>\n</tool_call>",
     "N0[write]A0[{\"text\": \"\\nif (a < b)\\n\\t<b>\\n\", \"path\": \"42\"}]N1[now]A1[{}]"},
    {QWEN, "qwen-xml",
     "<function=get_weather>\n<parameter=city>\nX\n</parameter>\n</function>\n"
     "</tool_call>",
     CALL("{\"city\": \"X\"}")},
    {QWEN, "qwen-xml", "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
     "N0[now]A0[{}]"},
    {QWEN, "qwen-xml",
     "<tool_call>\n<function=get_weather>\n<parameter=when>\ntomorrow\n</parameter>\n<parameter="
     "other>\n[1, 2\n</parameter>\n<parameter=unit>\nC\n</parameter>\n</tool_call>",
     CALL("{\"when\": \"tomorrow\", \"other\": \"[1, 2\", \"unit\": \"C\"}")},
    {"tools <seed:tool_call> </seed:think>", "seed",
     "<seed:think>Hm</seed:think>\n<seed:tool_call>\n<function=get_weather>\n<parameter=city>X"
     "</parameter>\n</function>\n</seed:tool_call>",
     "T[Hm]" CALL("{\"city\": \"X\"}")},
    {MINIMAX, "minimax",
     "So.\n</think>\n\n<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\""
     ">X\n</parameter>\n<parameter name=\"tags\">[\"a\"]</parameter>\n</invoke>\n<invoke name="
     "\"now\">\n</invoke>\n</minimax:tool_call>",
     "T[So.]N0[get_weather]A0[{\"city\": \"X\\n\", \"tags\": [\"a\"]}]N1[now]A1[{}]",
     .in_thought = true},
    {"tools DSML function_calls>", "deepseek-dsml",
     "Ok.\n\n<" DSML "function_calls>\n<" DSML "invoke name=\"get_weather\">\n<" DSML
     "parameter name=\"city\" string=\"true\">X</" DSML "parameter>\n<" DSML
     "parameter name=\"days\" string=\"false\">2</" DSML "parameter>\n</" DSML "invoke>\n</" DSML
     "function_calls>",
     "C[Ok.]" CALL("{\"city\": \"X\", \"days\": 2}")},
    {GLM, "glm",
     "\n<think>Hm.</think>\nLet me.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>"
     "X</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>"
     "now\n</tool_call>",
     "T[Hm.]C[Let me.]N0[get_weather]A0[{\"city\": \"X\", \"days\": 2}]N1[now]A1[{}]"},
    {GLM, "glm",
     "<tool_call>get_weather<arg_key>city</arg_key><arg_value>X</arg_value></tool_call>",
     CALL("{\"city\": \"X\"}")},
    {GLM, "glm", "<tool_call>now</tool_call>", "N0[now]A0[{}]"},
};

#define K3 "tools <|open|> open_tag('call') open_tag('think')"
#define O(what) "<|open|>" what "<|sep|>"
#define E(what) "<|close|>" what "<|sep|>"

static const struct test later[] = {
    {K3, "kimi-k3",
     "Hm." E("think") O("response") "I look." E("response") O("tools")
         O("call tool=\"get_weather\" index=\"1\"")
             O("argument key=\"city\" type=\"string\"") "X" E("argument")
                 O("argument key=\"days\" type=\"number\"") "2" E("argument") E("call")
                     O("call tool=\"now\" index=\"2\"") E("call") E("tools") E("message"),
     "T[Hm.]C[I look.]N0[get_weather]A0[{\"city\": \"X\", \"days\": 2}]N1[now]A1[{}]",
     .in_thought = true},
    {"tools <|role_sep|> function call", "gigachat3",
     "I look.<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"get_weather\", "
     "\"arguments\": {\"city\": \"X\"}}<|message_sep|>\n\n",
     "C[I look.]" CALL("{\"city\": \"X\"}")},
};

#define LLAMA3 "tools <|python_tag|>"

static const struct test keywords[] = {
    {"tools <|tool_call_start|>", "lfm2",
     "<|tool_call_start|>[get_weather(city=\"X\", days=3, opts={'a': None}, exact=False), "
     "now()]<|tool_call_end|>Done.",
     "N0[get_weather]A0[{\"city\": \"X\", \"days\": 3, \"opts\": {\"a\": null}, \"exact\": "
     "false}]N1[now]A1[{}]C[Done.]"},
    {"tools <|tool_call_start|>", "lfm2",
     "<|tool_call_start|>[get_weather('X', 3, tags=('a', 'it\\'s'))]<|tool_call_end|>",
     CALL("{\"city\": \"X\", \"days\": 3, \"tags\": [\"a\", \"it's\"]}")},
    {"tools <function_calls>", "olmo3",
     "<function_calls>\nget_weather(city='X')\nnow()\n</function_calls>",
     "N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {"tools <|header_start|>", "llama4", "[get_weather(city='X'), now()]",
     "N0[get_weather]A0[{\"city\": \"X\"}]N1[now]A1[{}]"},
    {"tools <|header_start|>", "llama4",
     "<|python_start|><|python_end|>{\"name\": \"now\", \"parameters\": {}}", "N0[now]A0[{}]"},
    {"tools <|header_start|>", "llama4", "<|python_start|>[now()]<|python_end|>", "N0[now]A0[{}]"},
    {"tools <|header_start|>", "llama4",
     "<|python_start|>I look.<|python_end|>{\"name\": \"now\", \"parameters\": {}}",
     "C[I look.]N0[now]A0[{}]"},
    {"tools <|header_start|>", "llama4", "[see(1)] is a note.", "C[[see(1)] is a note.]"},
    {LLAMA3, "llama3", "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"X\"}}",
     CALL("{\"city\": \"X\"}")},
    {LLAMA3, "llama3",
     "{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\", "
     "\"parameters\": {}}",
     "N0[now]A0[{}]N1[now]A1[{}]"},
    {LLAMA3, "llama3", "{\"weather\": {\"city\": \"X\"}, \"name\": \"now\", \"parameters\": {}}",
     "C[{\"weather\": {\"city\": \"X\"}, \"name\": \"now\", \"parameters\": {}}]"},
    {LLAMA3, "llama3", "{\"name\": \"Ann\", \"age\": 3}", "C[{\"name\": \"Ann\", \"age\": 3}]"},
    {LLAMA3, "llama3", "<|python_tag|>get_weather.call(city=\"X\")", CALL("{\"city\": \"X\"}")},
    {LLAMA3, "llama3",
     "<|python_tag|>{\"name\": \"get_weather\", \"parameters\": {\"city\": \"X\"}}",
     CALL("{\"city\": \"X\"}")},
};

#define HARMONY "<|channel|> <|message|>"

static const struct test harmony[] = {
    {HARMONY, "harmony",
     "<|channel|>analysis<|message|>User asks.<|end|><|start|>assistant<|channel|>final<|message|>"
     "Hello <b>.",
     "T[User asks.]C[Hello <b>.]"},
    {HARMONY, "harmony",
     "<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary<|"
     "message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
     "<|constrain|>json<|message|>{\"city\": \"X\"}<|call|>",
     "T[Need it.]C[I look.]" CALL("{\"city\": \"X\"}")},
    {HARMONY, "harmony",
     " to=functions.now<|channel|>commentary json<|message|>{}<|end|><|start|>assistant to="
     "functions.get_weather<|channel|>commentary<|message|>{\"days\": 1}",
     "N0[now]A0[{}]N1[get_weather]A1[{\"days\": 1}]"},
    {HARMONY, "harmony",
     "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>analysis<|message|>"
     "Two.<|end|>",
     "T[One.\n\nTwo.]"},
    {HARMONY, "harmony", " to=functions.<|channel|>commentary<|message|>To whom?", "C[To whom?]"},
    {HARMONY, "harmony", "It just talks.", "C[It just talks.]"},
};

// ---- what must hold -----------------------------------------------------------------------------

static const char *const marks[] = {"<tool_call>",
                                    "</tool_call>",
                                    "<think>",
                                    "</think>",
                                    "[TOOL_CALLS]",
                                    "[ARGS]",
                                    "[THINK]",
                                    "<|channel|>",
                                    "<|message|>",
                                    "<|start|>",
                                    "<|call|>",
                                    "<|end|>",
                                    "<TOOLCALL>",
                                    "<arg_key>",
                                    "</arg_value>",
                                    "<|tool_call|>",
                                    "<|tool_call>",
                                    "<function=",
                                    "<parameter=",
                                    "</parameter>",
                                    "<|START_ACTION|>",
                                    "<|START_THINKING|>",
                                    "<|END_THINKING|>",
                                    "<|START_RESPONSE|>",
                                    "<|END_RESPONSE|>",
                                    "<|END_ACTION|>",
                                    "<invoke name=",
                                    "<" DSML "invoke",
                                    SEP,
                                    CALLS,
                                    ONE,
                                    "<escape>",
                                    "<|\"|>",
                                    "<|python_tag|>",
                                    "```json",
                                    "_function_call>",
                                    "<|channel>thought",
                                    "<channel|>",
                                    "<tool_call|>",
                                    "<seed:think>",
                                    "</seed:think>",
                                    "<|tool_call_begin|>",
                                    "<|tool_call_argument_begin|>"};

static void check_leaks(const struct test *test, const struct shown *shown, size_t n)
{
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (!CHECK(!strstr(shown->plain, marks[i])))
            fprintf(stderr, "    %s, cut at %zu, leaks %s: %s\n", test->form, n, marks[i],
                    shown->text);
}

// What was told of a thought or a call before the cut is what is told of it at last.
static void check_cut(const struct test *test, size_t n, const char *whole)
{
    static struct shown shown;
    read_answer(&shown, test, n, n, 1);
    if (!test->may_leak)
        check_leaks(test, &shown, n);
    char *call = strstr(shown.text, "N0["), *end = call ? strchr(call, ']') : NULL;
    if (call) {
        const char *known = strstr(whole, "N0[");
        CHECK(known && strncmp(call, known, (size_t)(end - call) + 1) == 0);
    }
}

static void check_one_test(const struct test *test)
{
    static struct shown shown;
    const size_t n = strlen(test->text);
    const struct answer_family family = answer_family_find(bytes_of(test->sign), NULL);
    CHECK_TEXT(answer_form_name(&family), test->form);
    read_answer(&shown, test, n, n, 1);
    CHECK_TEXT(shown.text, test->want);
    read_answer(&shown, test, n, 0, 1);
    CHECK_TEXT(shown.text, test->want);
    for (size_t a = 1; a < n; a++) {
        read_answer(&shown, test, n, a, n);
        if (!CHECK(strcmp(shown.text, test->want) == 0))
            fprintf(stderr, "    %s, in two at %zu: %s\n", test->form, a, shown.text);
    }
    for (size_t cut = 0; cut < n; cut++)
        check_cut(test, cut, test->want);
}

static void check_all(const struct test *tests, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_one_test(&tests[i]);
}

// Answers that end too early: behind the name there is a call, before it content without marks, or
// nothing where the call's beginning was forced.
static void test_cut(void)
{
    static const struct {
        const char *sign, *text, *want;
        bool forced;
    } cuts[] = {
        {HERMES, "<tool_c", "C[<tool_c]", false},
        {HERMES, "<tool_call>\n{\"name\": \"get_weath", "C[{\"name\": \"get_weath]", false},
        {HERMES, "<tool_call>\n{\"name\": \"get_weather\"", "N0[get_weather]", false},
        {HERMES, "<tool_call>\n{\"name\": \"now\", \"arguments\": ", "N0[now]", false},
        {HERMES, "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a", "N0[now]A0[{\"a]", false},
        {HERMES,
         "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call><tool_call>{\"name\":\"now\"",
         "N0[now]A0[{}]N1[now]", false},
        {LLAMA3, "{\"name\": \"now\", \"param", "N0[now]", false},
        {LLAMA3, "{\"name\": \"Ann\", \"age", "C[{\"name\": \"Ann\", \"age]", false},
        {MISTRAL, "[TOOL_CALLS]now[ARGS]", "N0[now]", false},
        {R1, CALLS ONE "function" SEP "now\n", "N0[now]", false},
        {HERMES, "<tool_c", "", true},
        {HERMES, "<tool_call>\n{\"name\": \"get_weath", "", true},
        {HERMES, "<tool_call>\n{\"name\": \"now\", \"arg", "N0[now]", true},
        {LLAMA3, "{\"name\": \"no", "", true},
        {HERMES, "no call at all", "C[no call at all]", true},
    };
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct shown shown = {0};
        struct answer_parser *answer = open_answer(&(struct test){.sign = cuts[i].sign});
        if (cuts[i].forced)
            answer_force(answer);
        for (const char *p = cuts[i].text; *p; p++) {
            answer_feed(answer, (struct bytes){(const uint8_t *)p, 1});
            take_all(&shown, answer);
        }
        answer_finish(answer);
        take_all(&shown, answer);
        answer_close(answer);
        if (!CHECK(strcmp(shown.text, cuts[i].want) == 0))
            fprintf(stderr, "    cut %zu: %s\n", i, shown.text);
    }
}

static void test_ids(void)
{
    static struct shown a, b;
    read_answer(&a, &hermes[2], strlen(hermes[2].text), 0, 7);
    read_answer(&b, &hermes[2], strlen(hermes[2].text), 0, 7);
    CHECK(strncmp(a.id[0], "call_", 5) == 0 && strlen(a.id[0]) == 29);
    CHECK(strcmp(a.id[0], a.id[1]) != 0 && strcmp(a.id[0], b.id[0]) != 0);
    read_answer(&a, &named[0], strlen(named[0].text), 0, 7);
    CHECK(strlen(a.id[0]) == 9 && strspn(a.id[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                                                  "rstuvwxyz0123456789") == 9);
    for (size_t i = 0; i < COUNT_OF(named); i++) {
        read_answer(&a, &named[i], strlen(named[i].text), 0, 7);
        if (strcmp(named[i].form, "kimi") == 0 && !named[i].in_thought)
            CHECK_TEXT(a.id[1], "functions.now:1");
    }
}

// Characters come whole, and what can never be one becomes U+FFFD.
static void test_characters(void)
{
    struct answer_parser *answer;
    struct answer_event event;
    const struct answer_family family = answer_family_find(bytes_of(HERMES), NULL);
    answer_open(&answer, &family, &(struct answer_options){.tools = &tools});
    answer_feed(answer, bytes_of("a\xe2\x82"));
    CHECK(answer_take(answer, &event) && bytes_equal_text(event.text, "a"));
    answer_feed(answer, bytes_of("\xac"));
    CHECK(answer_take(answer, &event) && bytes_equal_text(event.text, "\xe2\x82\xac"));
    answer_feed(answer, bytes_of("\xe2\x82"));
    CHECK(!answer_take(answer, &event));
    answer_finish(answer);
    CHECK(answer_take(answer, &event) && strstr((const char *)event.text.p, "\xef\xbf\xbd"));
    answer_close(answer);
}

// Arguments come while they are written, and an object that is no call does too.
static void test_streams(void)
{
    struct test bare = {.sign = LLAMA3};
    struct answer_parser *plain = open_answer(&bare);
    struct answer_event piece;
    answer_feed(plain, bytes_of("{\"weather\": \"rai"));
    CHECK(answer_take(plain, &piece) && bytes_equal_text(piece.text, "{\"weather\": \"rai"));
    answer_close(plain);
    struct test test = {.sign = QWEN};
    struct answer_parser *answer = open_answer(&test);
    struct answer_event event;
    answer_feed(answer, bytes_of("<tool_call>\n<function=write>\n<parameter=text>\none two"));
    CHECK(answer_take(answer, &event) && event.channel == ANSWER_TOOL_NAME);
    CHECK(answer_take(answer, &event) && bytes_equal_text(event.text, "{\"text\": \"one two"));
    answer_feed(answer, bytes_of(" three"));
    CHECK(answer_take(answer, &event) && bytes_equal_text(event.text, " three"));
    CHECK(!answer_take(answer, &event));
    answer_close(answer);
}

// Answers without an end: what is waited for has one, so that a megabyte takes less than a second a
// form (some microseconds a piece, under ASan).
static void test_endless(void)
{
    static const struct {
        const char *sign, *begin, *again;
    } endless[] = {
        {HERMES, "", " "},
        {HERMES, "<think>", "\n"},
        {HERMES, "<tool_call>{\"a\":\"", "x"},
        {HERMES, "<tool_call>{\"name\":\"now\",\"arguments\":\"", "x"},
        {HERMES, "<tool_call>{\"name\":\"now\",\"arguments\":{},\"z\":\"", "x"},
        {HERMES, "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":1,", " "},
        {QWEN, "<function=now><parameter=x>", "[1,"},
        {GLM, "<tool_call>now\n<arg_key>", "x"},
        {LLAMA3, "{\"type\":\"", "x"},
        {"tools <|tool_call_start|>", "<|tool_call_start|>[now(a=", "1"},
        {HARMONY, "", "<|channel|>"},
        {MISTRAL, "[TOOL_CALLS]", "n"},
    };
    for (size_t i = 0; i < COUNT_OF(endless); i++) {
        struct answer_event event;
        struct answer_parser *answer = open_answer(&(struct test){.sign = endless[i].sign});
        const uint64_t from_ms = clock_ms();
        answer_feed(answer, bytes_of(endless[i].begin));
        for (size_t n = 0; n < 1 << 17; n++) {
            answer_feed(answer, bytes_of(endless[i].again));
            while (answer_take(answer, &event))
                ;
        }
        answer_finish(answer);
        answer_close(answer);
        if (!CHECK(clock_ms() - from_ms < 20000)) // quadratic it would be minutes
            fprintf(stderr, "    endless %zu: %d ms\n", i, (int)(clock_ms() - from_ms));
    }
}

static void test_family(void)
{
    struct answer_family family = answer_family_find(bytes_of(HERMES), NULL);
    CHECK(!family.told && answer_knows(&family, bytes_of("<tool_call>")));
    CHECK(!answer_knows(&family, bytes_of("<|im_start|>")));
    CHECK(!answer_knows(&family, bytes_of("")));
    CHECK(answer_opens_thought(&family, bytes_of("assistant\n<think>\n\n")));
    CHECK(!answer_opens_thought(&family, bytes_of("what is <think> ?\nassistant\n")));
    CHECK(bytes_equal_text(answer_thought_end(&family), "</think>"));
    family = answer_family_find(bytes_of(""), NULL);
    CHECK(family.told && !family.thought && answer_thought_end(&family).n == 0);
    CHECK_TEXT(answer_form_name(&family), "unknown");
    struct buf text;
    buf_init(&text, 1 << 16);
    CHECK(answer_tools_text(&text, &family, &tools) == OK && buf_add(&text, "", 1) == OK);
    CHECK(strstr((char *)text.p, "get_weather") && strstr((char *)text.p, "\"now\""));
    CHECK(strstr((char *)text.p, "<tool_call>\n{\"name\": \"NAME\", \"arguments\": "
                                 "{...}}\n</tool_call>"));
    text.n = 0;
    family = answer_family_find(bytes_of(R1), NULL);
    answer_call_begin(&text, &family, bytes_of("now"));
    CHECK(bytes_equal_text(buf_view(&text), CALLS ONE "function" SEP "now\n```json\n"));
    buf_free(&text);
}

int main(void)
{
    open_bytes();
    struct err err = {0};
    arena_init(&arena, 1 << 20);
    CHECK(value_read(&tools, &arena, bytes_of(tools_json), &err) == OK);
    check_all(hermes, COUNT_OF(hermes));
    check_all(named, COUNT_OF(named));
    check_all(tagged, COUNT_OF(tagged));
    check_all(keywords, COUNT_OF(keywords));
    check_all(harmony, COUNT_OF(harmony));
    check_all(later, COUNT_OF(later));
    test_cut();
    test_ids();
    test_characters();
    test_streams();
    test_family();
    test_endless();
    vocabulary_close(bytes_only);
    arena_free(&arena);
    return check_done("text_answer");
}
