// answer_forms.c - how families of models write their calls and their thoughts, as data, and which
// family a chat template belongs to.
//
// Learnt from the published templates and the model cards. The first form counts all of whose signs
// stand in the template; so what is told by a mark of its own stands above what shares one.
// <tool_call> alone is shared by many: what stands behind it tells the shape, and every form takes
// a JSON object behind its mark. Thoughts are told apart by their own marks, whatever the form is.
#include "answer_inside.h"
#include "text.h"

#include <string.h>

#define BAR "\xef\xbd\x9c" // U+FF5C
#define LOW "\xe2\x96\x81" // U+2581
#define DEEPSEEK(words) "<" BAR "tool" LOW words BAR ">"
#define DSML BAR "DSML" BAR
#define K3(what) "<|open|>" what "<|sep|>"
#define K3_ENDS(what) "<|close|>" what "<|sep|>"

static const struct answer_form harmony = {
    .name = "harmony",
    .signs = {"<|channel|>", "<|message|>"},
    .shape = SHAPE_HARMONY,
    .open = {"<|start|>", "<|channel|>", "<|message|>"},
    .close = {"<|end|>", "<|call|>"},
    .drops = {"<|return|>", "<|constrain|>"},
    .begins = "<|channel|>commentary to=functions.%s <|constrain|>json<|message|>",
    .mark = "<|channel|>commentary to=functions.",
    .content = "<|channel|>final<|message|>",
};

static const struct answer_form forms[] = {
    {.name = "kimi",
     .signs = {"<|tool_call_argument_begin|>"},
     .shape = SHAPE_NAMED,
     .open = {"<|tool_calls_section_begin|>"},
     .close = {"<|tool_calls_section_end|>"},
     .call_open = "<|tool_call_begin|>",
     .name_end = {"<|tool_call_argument_begin|>"},
     .call_close = "<|tool_call_end|>",
     .ends_thought = true,
     .written_id = true,
     .begins = "<|tool_calls_section_begin|><|tool_call_begin|>functions.%s:%0<|tool_call_"
               "argument_begin|>",
     .done = "<|tool_call_end|>",
     .again = "<|tool_call_begin|>functions.",
     .ends = "<|tool_calls_section_end|>"},
    {.name = "kimi-k3",
     .signs = {"<|open|>", "open_tag('call'"},
     .shape = SHAPE_TAGGED,
     .open = {K3("tools")},
     .close = {K3_ENDS("tools")},
     .call_open = "<|open|>call tool=\"",
     .name_end = {"\"<|sep|>", "\""},
     .skip_to = "<|sep|>",
     .call_close = K3_ENDS("call"),
     .argument_open = "<|open|>argument key=\"",
     .argument_name_end = "\" type=\"",
     .argument_close = K3_ENDS("argument"),
     .drops = {K3_ENDS("message")},
     .says_string = true,
     .begins = K3("tools") "<|open|>call tool=\"%s\" index=\"%1\"<|sep|>",
     .parameter = "<|open|>argument key=\"%s\" type=\"%t\"<|sep|>%v" K3_ENDS("argument"),
     .types = {"string", "number integer boolean array object null"},
     .done = K3_ENDS("call"),
     .again = "<|open|>call tool=\"",
     .ends = K3_ENDS("tools")},
    {.name = "gigachat3",
     .signs = {"<|role_sep|>", "function call"},
     .shape = SHAPE_OBJECTS,
     .open = {"function call<|role_sep|>"},
     .close = {"<|message_sep|>"},
     .drops = {"<|message_sep|>"},
     .begins = "<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"%s\", \"arguments\": ",
     .done = "}"},
    {.name = "deepseek-dsml", // V3.2
     .signs = {"DSML", "function_calls>"},
     .shape = SHAPE_TAGGED,
     .open = {"<" DSML "function_calls>"},
     .close = {"</" DSML "function_calls>"},
     .call_open = "<" DSML "invoke name=\"",
     .name_end = {"\">"},
     .call_close = "</" DSML "invoke>",
     .argument_open = "<" DSML "parameter name=\"",
     .argument_name_end = "\" string=\"",
     .argument_close = "</" DSML "parameter>",
     .says_string = true,
     .begins = "<" DSML "function_calls>\n<" DSML "invoke name=\"%s\">\n",
     .parameter = "<" DSML "parameter name=\"%s\" string=\"%t\">%v</" DSML "parameter>\n",
     .types = {"true", "false"},
     .done = "</" DSML "invoke>",
     .again = "\n<" DSML "invoke name=\"",
     .ends = "\n</" DSML "function_calls>"},
    {.name = "deepseek-r1", // and V3: a name behind a kind, a value in a fence
     .signs = {DEEPSEEK("calls" LOW "begin"), "```json"},
     .shape = SHAPE_NAMED,
     .open = {DEEPSEEK("calls" LOW "begin"), DEEPSEEK("call" LOW "begin")},
     .open_is_call = true,
     .close = {DEEPSEEK("calls" LOW "end")},
     .call_open = DEEPSEEK("call" LOW "begin"),
     .prefix = {"function" DEEPSEEK("sep")},
     .name_end = {"\n", "```json", DEEPSEEK("sep")},
     .call_close = DEEPSEEK("call" LOW "end"),
     .begins = DEEPSEEK("calls" LOW "begin")
         DEEPSEEK("call" LOW "begin") "function" DEEPSEEK("sep") "%s\n```json\n",
     .done = "\n```" DEEPSEEK("call" LOW "end"),
     .again = "\n" DEEPSEEK("call" LOW "begin") "function" DEEPSEEK("sep"),
     .ends = DEEPSEEK("calls" LOW "end")},
    {.name = "deepseek-v3.1",
     .signs = {DEEPSEEK("calls" LOW "begin")},
     .shape = SHAPE_NAMED,
     .open = {DEEPSEEK("calls" LOW "begin"), DEEPSEEK("call" LOW "begin")},
     .open_is_call = true,
     .close = {DEEPSEEK("calls" LOW "end")},
     .call_open = DEEPSEEK("call" LOW "begin"),
     .name_end = {DEEPSEEK("sep")},
     .call_close = DEEPSEEK("call" LOW "end"),
     .begins = DEEPSEEK("calls" LOW "begin") DEEPSEEK("call" LOW "begin") "%s" DEEPSEEK("sep"),
     .done = DEEPSEEK("call" LOW "end"),
     .again = DEEPSEEK("call" LOW "begin"),
     .ends = DEEPSEEK("calls" LOW "end")},
    {.name = "minimax",
     .signs = {"<minimax:tool_call>"},
     .shape = SHAPE_TAGGED,
     .open = {"<minimax:tool_call>"},
     .close = {"</minimax:tool_call>"},
     .call_open = "<invoke name=\"",
     .name_end = {"\">"},
     .call_close = "</invoke>",
     .argument_open = "<parameter name=\"",
     .argument_name_end = "\">",
     .argument_close = "</parameter>",
     .begins = "<minimax:tool_call>\n<invoke name=\"%s\">\n",
     .parameter = "<parameter name=\"%s\">%v</parameter>\n",
     .done = "</invoke>",
     .again = "\n<invoke name=\"",
     .ends = "\n</minimax:tool_call>"},
    {.name = "seed",
     .signs = {"<seed:tool_call>"},
     .shape = SHAPE_TAGGED,
     .open = {"<seed:tool_call>"},
     .close = {"</seed:tool_call>"},
     .call_open = "<function=",
     .name_end = {">"},
     .call_close = "</function>",
     .argument_open = "<parameter=",
     .argument_name_end = ">",
     .argument_close = "</parameter>",
     .drops = {"<seed:cot_budget_reflect>", "</seed:cot_budget_reflect>"},
     .begins = "<seed:tool_call>\n<function=%s>\n",
     .parameter = "<parameter=%s>%v</parameter>\n",
     .done = "</function>",
     .again = "\n</seed:tool_call>\n<seed:tool_call>\n<function=",
     .ends = "\n</seed:tool_call>"},
    {.name = "glm", // 4.5 and later
     .signs = {"<arg_key>"},
     .shape = SHAPE_TAGGED,
     .open = {"<tool_call>"},
     .name_end = {"\n", "<arg_key>", "</tool_call>"},
     .call_close = "</tool_call>",
     .argument_open = "<arg_key>",
     .argument_name_end = "</arg_key>",
     .value_open = "<arg_value>",
     .argument_close = "</arg_value>",
     .begins = "<tool_call>%s\n",
     .parameter = "<arg_key>%s</arg_key>\n<arg_value>%v</arg_value>\n",
     .done = "</tool_call>",
     .again = "\n<tool_call>"},
    {.name = "qwen-xml", // Qwen3-Coder, Qwen3.5, Nemotron 3, Step 3.5
     .signs = {"<tool_call>", "<parameter="},
     .shape = SHAPE_TAGGED,
     .open = {"<tool_call>", "<function="},
     .open_is_call = true,
     .close = {"</tool_call>"},
     .call_open = "<function=",
     .name_end = {">"},
     .call_close = "</function>",
     .argument_open = "<parameter=",
     .argument_name_end = ">",
     .argument_close = "</parameter>",
     .trims_line = true,
     .begins = "<tool_call>\n<function=%s>\n",
     .parameter = "<parameter=%s>\n%v\n</parameter>\n",
     .done = "</function>",
     .again = "\n</tool_call>\n<tool_call>\n<function=",
     .ends = "\n</tool_call>"},
    {.name = "gemma4",
     .signs = {"<|tool_call>"},
     .shape = SHAPE_NAMED,
     .open = {"<|tool_call>"},
     .close = {"<tool_call|>"},
     .call_open = "call:",
     .name_end = {"{"},
     .quote = "<|\"|>",
     .begins = "<|tool_call>call:%s{",
     .parameter = "%s:%v",
     .between = ",",
     .values = AS_QUOTED,
     .done = "}",
     .again = "<tool_call|><|tool_call>call:",
     .ends = "<tool_call|>"},
    {.name = "functiongemma",
     .signs = {"<start_function_call>"},
     .shape = SHAPE_NAMED,
     .open = {"<start_function_call>"},
     .close = {"<end_function_call>"},
     .call_open = "call:",
     .name_end = {"{"},
     .quote = "<escape>",
     .begins = "<start_function_call>call:%s{",
     .parameter = "%s:%v",
     .between = ",",
     .values = AS_QUOTED,
     .done = "}",
     .again = "<end_function_call><start_function_call>call:",
     .ends = "<end_function_call>"},
    {.name = "lfm2",
     .signs = {"<|tool_call_start|>"},
     .shape = SHAPE_KEYWORDS,
     .open = {"<|tool_call_start|>"},
     .close = {"<|tool_call_end|>"},
     .begins = "<|tool_call_start|>[%s(",
     .parameter = "%s=%v",
     .between = ", ",
     .values = AS_PYTHON,
     .done = ")",
     .again = ", ",
     .ends = "]<|tool_call_end|>"},
    {.name = "mistral-named", // 2506 and later
     .signs = {"[TOOL_CALLS]", "[ARGS]"},
     .shape = SHAPE_NAMED,
     .open = {"[TOOL_CALLS]"},
     .name_end = {"[ARGS]", "[CALL_ID]", "{"},
     .skip_to = "[ARGS]",
     .short_id = true,
     .begins = "[TOOL_CALLS]%s[ARGS]",
     .again = "[TOOL_CALLS]"},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]"},
     .shape = SHAPE_NAMED,
     .open = {"[TOOL_CALLS]"},
     .name_end = {"[ARGS]", "[CALL_ID]", "{"},
     .skip_to = "[ARGS]",
     .short_id = true,
     .begins = "[TOOL_CALLS] [{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]"},
    {.name = "nemotron",
     .signs = {"<TOOLCALL>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<TOOLCALL>"},
     .close = {"</TOOLCALL>"},
     .begins = "<TOOLCALL>[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]</TOOLCALL>"},
    {.name = "nemotron-mini",
     .signs = {"<toolcall>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<toolcall>"},
     .close = {"</toolcall>"},
     .begins = "<toolcall> {\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = " </toolcall>\n<toolcall> {\"name\": \"",
     .ends = " </toolcall>"},
    {.name = "nemotron-mini", // its template does not say so, its model card does
     .signs = {"<extra_id_1>Assistant", "<tool>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<toolcall>"},
     .close = {"</toolcall>"},
     .begins = "<toolcall> {\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = " </toolcall>\n<toolcall> {\"name\": \"",
     .ends = " </toolcall>"},
    {.name = "command-r7b", // and Command A
     .signs = {"<|START_ACTION|>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<|START_ACTION|>"},
     .close = {"<|END_ACTION|>"},
     .drops = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"},
     .begins = "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"%s\", "
               "\"parameters\": ",
     .done = "}",
     .again = ",\n    {\"tool_call_id\": \"%1\", \"tool_name\": \"",
     .ends = "\n]<|END_ACTION|>"},
    {.name = "command-r",
     .signs = {"Action:", "```json"},
     .shape = SHAPE_OBJECTS,
     .open = {"Action: ```json", "Action:```json"},
     .close = {"```"},
     .begins = "Action: ```json\n[\n    {\"tool_name\": \"%s\", \"parameters\": ",
     .done = "\n}",
     .again = ",\n    {\"tool_name\": \"",
     .ends = "\n]```"},
    {.name = "internlm2",
     .signs = {"<|action_start|>", "<|plugin|>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<|action_start|><|plugin|>", "<|action_start|> <|plugin|>"},
     .close = {"<|action_end|>"},
     .begins = "<|action_start|><|plugin|>\n{\"name\": \"%s\", \"parameters\": ",
     .done = "}",
     .ends = "<|action_end|>"},
    {.name = "llama4",
     .signs = {"<|header_start|>", "tools"},
     .shape = SHAPE_KEYWORDS,
     .drops = {"<|python_start|>", "<|python_end|>"}, // around words, or a call, or nothing
     .bare = true,
     .begins = "{\"name\": \"%s\", \"parameters\": ",
     .done = "}",
     .again = "{\"name\": \""},
    {.name = "llama3",
     .signs = {"<|python_tag|>"},
     .shape = SHAPE_KEYWORDS, // behind the mark; a bare one is an object
     .open = {"<|python_tag|>"},
     .bare = true,
     .begins = "{\"name\": \"%s\", \"parameters\": ",
     .done = "}"},
    {.name = "llama3",
     .signs = {"<|start_header_id|>", "\"parameters\""},
     .shape = SHAPE_KEYWORDS,
     .open = {"<|python_tag|>"},
     .bare = true,
     .begins = "{\"name\": \"%s\", \"parameters\": ",
     .done = "}"},
    {.name = "firefunction",
     .signs = {"functools["},
     .shape = SHAPE_OBJECTS,
     .open = {"functools"},
     .begins = "functools[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]"},
    {.name = "granite3",
     .signs = {"<|tool_call|>", "available_tools"},
     .shape = SHAPE_OBJECTS,
     .open = {"<|tool_call|>", "<tool_call>"},
     .close = {"</tool_call>"},
     .begins = "<|tool_call|>[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]"},
    {.name = "phi4-mini",
     .signs = {"<|tool_call|>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<|tool_call|>"},
     .close = {"<|/tool_call|>"},
     .begins = "<|tool_call|>[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]<|/tool_call|>"},
    {.name = "phi4-mini", // its short template lists tools and leaves the form to the model
     .signs = {"<|tool|>", "<|/tool|>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<|tool_call|>"},
     .close = {"<|/tool_call|>"},
     .bare = true,
     .begins = "<|tool_call|>[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]<|/tool_call|>"},
    {.name = "list", // Apriel, Hunyuan, Jamba
     .signs = {"<tool_calls>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<tool_calls>"},
     .close = {"</tool_calls>"},
     .begins = "<tool_calls>[{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = ", {\"name\": \"",
     .ends = "]</tool_calls>"},
    {.name = "olmo3",
     .signs = {"<function_calls>"},
     .shape = SHAPE_KEYWORDS,
     .open = {"<function_calls>"},
     .close = {"</function_calls>"},
     .begins = "<function_calls>%s(",
     .parameter = "%s=%v",
     .between = ", ",
     .values = AS_PYTHON,
     .done = ")",
     .again = "\n",
     .ends = "</function_calls>"},
    {.name = "function-tag", // Llama 3.1's own tools, Functionary
     .signs = {"<function=", "</function>"},
     .shape = SHAPE_NAMED,
     .open = {"<function=", "<function="},
     .open_is_call = true,
     .call_open = "<function=",
     .name_end = {">"},
     .call_close = "</function>",
     .begins = "<function=%s>",
     .done = "</function>",
     .again = "<function="},
    {.name = "hermes", // Qwen 2.5 and 3, Hermes, Granite 4, SmolLM3, EXAONE 4 and many more
     .signs = {"<tool_call>"},
     .shape = SHAPE_OBJECTS,
     .open = {"<tool_call>"},
     .close = {"</tool_call>"},
     .begins = "<tool_call>\n{\"name\": \"%s\", \"arguments\": ",
     .done = "}",
     .again = "\n</tool_call>\n<tool_call>\n{\"name\": \"",
     .ends = "\n</tool_call>"},
};

// For a template without any of these marks: answer_tools_text() asks for Hermes' form; a model
// that was trained on bare objects may write one.
static const struct answer_form unknown = {
    .name = "unknown",
    .shape = SHAPE_OBJECTS,
    .open = {"<tool_call>"},
    .close = {"</tool_call>"},
    .bare = true,
    .begins = "<tool_call>\n{\"name\": \"%s\", \"arguments\": ",
    .done = "}",
    .again = "\n</tool_call>\n<tool_call>\n{\"name\": \"",
    .ends = "\n</tool_call>",
};

static const struct answer_thought harmony_thought = {
    .open = "<|channel|>analysis<|message|>", .close = "<|end|>", .next = "<|start|>assistant"};

static const struct answer_thought thoughts[] = {
    {"<seed:think>", "</seed:think>"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<|channel>thought", "<channel|>"}, // Gemma 4
    {K3("think"), K3_ENDS("think"), K3("response"), K3_ENDS("response"), .how = "open_tag('think'"},
    {"<|inner_prefix|>", "<|inner_suffix|>"},
    {"[THINK]", "[/THINK]"},
    {"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},
    {"Here is my thought process:", "Here is my response:"}, // Granite 3.2
    {"<think>", "</think>", "<response>", "</response>"},    // Granite 3.3 wraps
    {"<thought>", "</thought>"},
    {"<thinking>", "</thinking>"},
};

static bool stands_in(struct bytes text, const char *what)
{
    return bytes_find(text, what) < text.n;
}

static bool is_of(const struct answer_form *form, struct bytes chat_template)
{
    for (size_t i = 0; i < FORM_SIGNS && form->signs[i]; i++)
        if (!stands_in(chat_template, form->signs[i]))
            return false;
    return form->signs[0] != NULL;
}

// Whether a form can be shown in a sentence: a name, then one JSON object.
static bool can_be_told(const struct answer_form *form)
{
    return (form->shape == SHAPE_OBJECTS || form->shape == SHAPE_NAMED) && !form->quote;
}

static bool has_mark(const struct tokenizer *tokenizer, const char *mark)
{
    return tokenizer && mark && tokenizer_find_special(tokenizer, mark) >= 0;
}

// Of a file without a template, or with one that knows nothing of calls.
static void find_by_marks(struct answer_family *family, const struct tokenizer *tokenizer)
{
    for (size_t i = 0; i < COUNT_OF(forms) && family->form == &unknown; i++)
        if (has_mark(tokenizer, forms[i].open[0]) && can_be_told(&forms[i]))
            family->form = &forms[i];
    for (size_t i = 0; i < COUNT_OF(thoughts) && !family->thought; i++)
        if (has_mark(tokenizer, thoughts[i].open) && has_mark(tokenizer, thoughts[i].close))
            family->thought = &thoughts[i];
}

struct answer_family answer_family_find(struct bytes chat_template,
                                        const struct tokenizer *tokenizer)
{
    struct answer_family family = {.form = &unknown, .told = !stands_in(chat_template, "tools")};
    if (is_of(&harmony, chat_template))
        return (struct answer_family){.form = &harmony, .thought = &harmony_thought};
    for (size_t i = 0; i < COUNT_OF(forms) && family.form == &unknown; i++)
        if (is_of(&forms[i], chat_template) && (!family.told || can_be_told(&forms[i])))
            family.form = &forms[i];
    for (size_t i = 0; i < COUNT_OF(thoughts) && !family.thought; i++)
        if (stands_in(chat_template, thoughts[i].close) ||
            (thoughts[i].how && stands_in(chat_template, thoughts[i].how)))
            family.thought = &thoughts[i];
    find_by_marks(&family, tokenizer);
    return family;
}
