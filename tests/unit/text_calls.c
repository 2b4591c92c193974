// text_calls.c - what an answer may be, as a grammar: for every family calls that must be made and
// calls beside content or text, by random walks through the grammar whose texts our parser must
// read back as calls that obey their tools' schemas; what must be refused; control tokens as marks.
//
// A walk is no oracle of its own: what it wrote is judged by the parser, and the arguments by the
// checks below, which know nothing of grammars.
#include "../../engine/text/text.h"
#include "grammar_fixture.h"

#include <stdlib.h>

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"strict\":true,\"parameters\":"
    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":"
    "\"integer\",\"minimum\":0,\"maximum\":99},\"unit\":{\"enum\":[\"C\",\"F\"]},\"exact\":{"
    "\"type\":\"boolean\"},\"opts\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\","
    "\"items\":{\"type\":\"integer\"}}},\"required\":[\"a\"]}},\"required\":[\"city\",\"unit\"],"
    "\"additionalProperties\":false}}},{\"type\":\"function\",\"function\":{\"name\":\"write\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"text\":{"
    "\"type\":\"string\"}},\"required\":[\"text\"]}}},{\"type\":\"function\",\"function\":{"
    "\"name\":\"now\"}}]";
static const char content_json[] = "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":"
                                   "\"boolean\"}},\"required\":[\"ok\"],"
                                   "\"additionalProperties\":false}";

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
static const struct {
    const char *sign, *form;
} families[] = {
    {"tools <tool_call> </think>", "hermes"},
    {"", "unknown"},
    {"tools <tool_call> <parameter=", "qwen-xml"},
    {"tools <arg_key> </think>", "glm"},
    {"tools <minimax:tool_call> </think>", "minimax"},
    {"tools <seed:tool_call> </seed:think>", "seed"},
    {"tools DSML function_calls> </think>", "deepseek-dsml"},
    {"tools <|open|> open_tag('call'", "kimi-k3"},
    {"tools <|tool_call_argument_begin|>", "kimi"},
    {"tools <" BAR "tool" LOW "calls" LOW "begin" BAR "> ```json", "deepseek-r1"},
    {"tools <" BAR "tool" LOW "calls" LOW "begin" BAR ">", "deepseek-v3.1"},
    {"tools <|tool_call>", "gemma4"},
    {"tools <start_function_call>", "functiongemma"},
    {"tools <|tool_call_start|>", "lfm2"},
    {"tools <function_calls>", "olmo3"},
    {"tools [TOOL_CALLS] [ARGS]", "mistral-named"},
    {"tools [TOOL_CALLS]", "mistral"},
    {"tools <TOOLCALL>", "nemotron"},
    {"tools <toolcall>", "nemotron-mini"},
    {"tools <|START_ACTION|>", "command-r7b"},
    {"tools Action: ```json", "command-r"},
    {"tools <|action_start|> <|plugin|>", "internlm2"},
    {"tools <|header_start|>", "llama4"},
    {"tools <|python_tag|>", "llama3"},
    {"tools functools[", "firefunction"},
    {"tools <|tool_call|> available_tools", "granite3"},
    {"tools <|tool_call|>", "phi4-mini"},
    {"tools <tool_calls>", "list"},
    {"tools <function= </function>", "function-tag"},
    {"tools <|role_sep|> function call", "gigachat3"},
    {"<|channel|> <|message|>", "harmony"},
};

static struct arena arena;
static struct value tools, content_schema;
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

// ---- what came of an answer ---------------------------------------------------------------------

enum { CALLS_MOST = 64 };
struct parts {
    struct buf content, thinking, name[CALLS_MOST], arguments[CALLS_MOST];
    int n;
};

static void take_parts(struct parts *out, const struct answer_family *family, struct bytes text)
{
    struct answer_parser *answer;
    struct answer_event event;
    answer_open(&answer, family, &(struct answer_options){.tools = &tools});
    *out = (struct parts){0};
    buf_init(&out->content, 1 << 20);
    buf_init(&out->thinking, 1 << 20);
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n)
            answer_feed(answer, (struct bytes){text.p + i, 1});
        else
            answer_finish(answer);
        while (answer_take(answer, &event)) {
            struct buf *to = event.channel == ANSWER_CONTENT ? &out->content : &out->thinking;
            if (event.channel == ANSWER_TOOL_NAME) {
                buf_init(&out->name[out->n], 1 << 20);
                buf_init(&out->arguments[out->n++], 1 << 20);
                to = &out->name[out->n - 1];
            } else if (event.channel == ANSWER_TOOL_ARGUMENTS) {
                to = &out->arguments[out->n - 1];
            }
            CHECK(out->n < CALLS_MOST && buf_add(to, event.text.p, event.text.n) == OK);
        }
    }
    answer_close(answer);
}

static void parts_free(struct parts *parts)
{
    buf_free(&parts->content);
    buf_free(&parts->thinking);
    for (int i = 0; i < parts->n; i++) {
        buf_free(&parts->name[i]);
        buf_free(&parts->arguments[i]);
    }
}

static bool is_text(const struct value *value)
{
    return value && value->kind == VALUE_TEXT;
}

static bool weather_good(const struct value *a)
{
    const struct value *unit = value_get(a, "unit"), *days = value_get(a, "days"),
                       *exact = value_get(a, "exact"), *opts = value_get(a, "opts");
    bool good = is_text(value_get(a, "city")) && is_text(unit) &&
                (bytes_equal_text(unit->text, "C") || bytes_equal_text(unit->text, "F")) &&
                a->dict.n == 2 + (size_t)!!days + (size_t)!!exact + (size_t)!!opts;
    good = good && (!exact || exact->kind == VALUE_BOOL) && (!opts || opts->kind == VALUE_DICT);
    return good && (!days || (days->kind == VALUE_WHOLE && days->whole >= 0 && days->whole < 100));
}

static bool call_good(struct bytes name, struct bytes arguments)
{
    struct arena own;
    struct value a;
    arena_init(&own, 1 << 22);
    bool good = value_read(&a, &own, arguments, NULL) == OK && a.kind == VALUE_DICT;
    if (good && bytes_equal_text(name, "get_weather"))
        good = weather_good(&a);
    else if (good && bytes_equal_text(name, "write"))
        good = is_text(value_get(&a, "text")) &&
               a.dict.n == 1 + (size_t)is_text(value_get(&a, "path"));
    else
        good = good && bytes_equal_text(name, "now") && a.dict.n == 0;
    arena_free(&own);
    return good;
}

// ---- walks --------------------------------------------------------------------------------------

// What closes things: a walk that only wandered would never get to an end.
static const char *const closers[] = {"</parameter>",
                                      "</arg_value>",
                                      "<|close|>argument<|sep|>",
                                      "</" BAR "DSML" BAR "parameter>",
                                      "<|\"|>",
                                      "<escape>",
                                      "'",
                                      "\"",
                                      "}",
                                      ")",
                                      "]",
                                      "</think>",
                                      "<|end|>",
                                      "</seed:think>"};

// Appends to text what a walk writes; closes: it tries to. False: it came to no end.
static bool walk(const struct grammar *g, struct buf *text, bool closes)
{
    struct matcher *m;
    struct err err = {0};
    bool whole = false;
    matcher_open(&m, g, bytes_only);
    for (int step = 0; step < 4000 && !whole; step++) {
        uint32_t bits[8] = {0};
        uint8_t byte = 0;
        const char *closer = closers[random_below(COUNT_OF(closers))];
        if (closes && random_below(2) && matcher_accept_bytes(m, bytes_of(closer))) {
            CHECK(buf_add(text, closer, strlen(closer)) == OK);
        } else {
            if (!CHECK(matcher_mask(m, bits, &err) == OK))
                break;
            for (uint32_t i = 0, n = 0; i < 256; i++) // each allowed one is as likely
                if (bits[i / 32] >> (i % 32) & 1 && random_below(++n) == 0)
                    byte = (uint8_t)i;
            if (byte == 255) // the end
                break;
            byte++;
            CHECK(matcher_accept_bytes(m, (struct bytes){&byte, 1}) &&
                  buf_add(text, &byte, 1) == OK);
        }
        whole = matcher_must_end(m) || (matcher_may_end(m) && random_below(4) == 0);
    }
    whole = matcher_may_end(m);
    matcher_close(m);
    return whole;
}

static struct grammar *grammar_of(const struct answer_family *family,
                                  const struct answer_rules *rules)
{
    struct grammar *g = NULL;
    struct notes notes = {""};
    struct err err = {0};
    if (!CHECK(answer_grammar(&g, family, rules, &notes, &err) == OK))
        fprintf(stderr, "    %s: %s\n", answer_form_name(family), err.text);
    return g;
}

static void show_wrong(const struct answer_family *family, const struct buf *text,
                       const struct parts *parts)
{
    fprintf(stderr, "    %s: %.*s\n", answer_form_name(family), (int)text->n, (char *)text->p);
    for (int i = 0; i < parts->n; i++)
        fprintf(stderr, "    call %.*s %.*s\n", (int)parts->name[i].n, (char *)parts->name[i].p,
                (int)parts->arguments[i].n, (char *)parts->arguments[i].p);
}

static bool calls_good(const struct parts *parts)
{
    bool good = true;
    for (int i = 0; i < parts->n; i++)
        good = good && call_good(buf_view(&parts->name[i]), buf_view(&parts->arguments[i]));
    return good;
}

// Its messages end at marks wherever they are spelled, which no model does in a string.
static bool is_harmony(const struct answer_family *family)
{
    return strcmp(answer_form_name(family), "harmony") == 0;
}

enum { WALKS = 32 };

// Calls that must be made: of any tool, of one; one or several.
static void walk_must(const struct answer_family *family)
{
    int n_whole = 0, n_several = 0;
    for (int i = 0; i < WALKS; i++) {
        const struct answer_rules rules = {.tools = &tools,
                                           .must_call = true,
                                           .several = i % 4 != 0,
                                           .tool = bytes_of(i % 3 == 0 ? "get_weather" : "")};
        struct grammar *g = grammar_of(family, &rules);
        struct parts parts;
        struct buf text;
        buf_init(&text, 1 << 20);
        answer_call_begin(&text, family, rules.tool);
        const bool whole = g && walk(g, &text, !is_harmony(family));
        take_parts(&parts, family, buf_view(&text));
        if (whole && !CHECK(parts.n > 0 && (parts.n == 1 || rules.several) &&
                            parts.content.n == 0 && calls_good(&parts)))
            show_wrong(family, &text, &parts);
        n_whole += whole;
        n_several += whole && parts.n > 1;
        parts_free(&parts);
        buf_free(&text);
        grammar_close(g);
    }
    const char *name = answer_form_name(family);
    const bool single = strstr("harmony llama3 internlm2 gigachat3", name) != NULL;
    if (!CHECK(n_whole > (is_harmony(family) ? 0 : WALKS / 2) && (n_several > 0) == !single))
        fprintf(stderr, "    %s: %d whole, %d of several calls\n", name, n_whole, n_several);
}

// Content that must be such, or calls.
static void walk_content(const struct answer_family *family)
{
    const struct constraint constraint = {
        .kind = CONSTRAINT_SCHEMA, .path = "response_format", .schema = &content_schema};
    const struct answer_rules rules = {.tools = &tools, .several = true, .constraint = &constraint};
    struct grammar *g = grammar_of(family, &rules);
    int n_content = 0, n_calls = 0;
    for (int i = 0; i < WALKS && g; i++) {
        struct parts parts;
        struct buf text;
        struct value content;
        struct arena own;
        arena_init(&own, 1 << 20);
        buf_init(&text, 1 << 20);
        const bool whole = walk(g, &text, !is_harmony(family));
        take_parts(&parts, family, buf_view(&text));
        const bool good = parts.n > 0
                              ? parts.content.n == 0 && calls_good(&parts)
                              : value_read(&content, &own, buf_view(&parts.content), NULL) == OK &&
                                    content.kind == VALUE_DICT && content.dict.n == 1 &&
                                    value_get(&content, "ok")->kind == VALUE_BOOL;
        if (whole && !CHECK(good))
            show_wrong(family, &text, &parts);
        n_content += whole && parts.n == 0;
        n_calls += whole && parts.n > 0;
        arena_free(&own);
        parts_free(&parts);
        buf_free(&text);
    }
    if (!CHECK(n_content > 0 && n_calls > 0))
        fprintf(stderr, "    %s: %d contents, %d calls\n", answer_form_name(family), n_content,
                n_calls);
    grammar_close(g);
}

// ---- what the model chooses ---------------------------------------------------------------------

static void test_free(void)
{
    struct answer_family family = answer_family_find(bytes_of("tools <tool_call> </think>"), NULL);
    const struct answer_rules rules = {.tools = &tools};
#define BEGINS "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
    check_texts(grammar_of(&family, &rules),
                TEXTS("", "Hello.", "It is {\"a\": 1}.",
                      "<think>\nHm, <tool_call>?\n</think>\n\nNo.",
                      BEGINS "{\"city\": \"X\", \"unit\": \"C\"}}\n</tool_call>",
                      "I look.\n\n" BEGINS "{\"city\":\"X\",\"unit\":\"F\"}}</tool_call>\nDone.",
                      "<think>x</think>" BEGINS "{\"city\": \"X\", \"unit\": \"C\"}}\n</tool_call>"
                      "\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"),
                TEXTS("<tool_call>\nno", "x <tool_call>{\"name\": \"other\"", BEGINS "{\"unit\"",
                      BEGINS "{\"city\": \"X\", \"days\": \"1\"",
                      BEGINS "{\"city\": \"X\", \"unit\": \"C\"}"));
    family = answer_family_find(bytes_of("tools <tool_call> <parameter="), NULL);
#define XML "<tool_call>\n<function=get_weather>\n<parameter=city>\n"
    check_texts(grammar_of(&family, &rules),
                TEXTS("a < b <tool",
                      XML "a </b>\n\n</parameter>\n<parameter=unit>\nC\n</parameter>\n"
                          "</function>\n</tool_call>",
                      "So:\n" XML
                      "X\n</parameter>\n<parameter=days>\n7\n</parameter>\n<parameter=unit>\nF\n"
                      "</parameter>\n<parameter=opts>\n{\"a\": [1]}\n</parameter>\n</function>\n"
                      "</tool_call>"),
                TEXTS(XML "X\n</parameter>\n<parameter=unit>\nK",
                      XML "X\n</parameter>\n</function>", XML "X\n</parameter>\n<parameter=town>",
                      XML "X\n</parameter>\n<parameter=days>\nx", "<tool_call>\n<function=other>"));
    family = answer_family_find(bytes_of("<|channel|> <|message|>"), NULL);
#define MAY "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    check_texts(grammar_of(&family, &rules),
                TEXTS("<|channel|>final<|message|>Hi.", MAY "<|channel|>final<|message|>Hi.",
                      "<|channel|>commentary<|message|>I look.<|end|>",
                      MAY "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"),
                TEXTS(MAY "<|channel|>commentary to=functions.no", MAY
                      "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{\""));
    // where no tool says that it is strict, nothing is prescribed
    struct value loose = tools;
    loose.list.items++;
    loose.list.n--;
    CHECK(grammar_of(&family, &(struct answer_rules){.tools = &loose}) == NULL);
    CHECK(grammar_of(&family, &(struct answer_rules){.tools = NULL}) == NULL);
}

static const struct value *read_json(const char *text)
{
    struct value *value = arena_take(&arena, sizeof(*value));
    struct err err = {0};
    if (!CHECK(value_read(value, &arena, bytes_of(text), &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    return value;
}

#define TOOL(parameters)                                                                           \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" parameters "}}]"

static void test_refused(void)
{
    const struct answer_family family = answer_family_find(bytes_of(""), NULL);
    struct constraint any = {.kind = CONSTRAINT_JSON, .path = "response_format"};
    struct notes notes = {""};
    struct err err = {0};
    struct grammar *g = NULL;
    struct answer_rules rules = {.must_call = true};
    rules.tools = read_json(TOOL("{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\","
                                 "\"minimum\":5,\"maximum\":1}},\"required\":[\"n\"]}"));
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "tools[0].function.parameters.properties.n.minimum: it is above the "
                         "maximum");
    // beside content it is let go, and noted
    rules.must_call = false;
    rules.constraint = &any;
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == OK);
    CHECK(strstr(notes.text, "properties.n.minimum") && strstr(notes.text, "not enforced"));
    check_texts(g,
                TEXTS("{\"a\":1}", "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\":1}}"
                                   "</tool_call>"),
                TEXTS("<tool_call>{\"name\": \"g\""));
    any = (struct constraint){
        .kind = CONSTRAINT_REGEX, .path = "guided_regex", .text = bytes_of("(a")};
    rules.tools = &tools;
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == BAD_INPUT);
    CHECK(strncmp(err.text, "guided_regex: ", 14) == 0);
    any.text = bytes_of("(yes|no)");
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == OK);
    check_texts(g,
                TEXTS("yes", "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"),
                TEXTS("maybe", "yesyes"));
    any = (struct constraint){.kind = CONSTRAINT_GBNF,
                              .path = "grammar",
                              .text = bytes_of("root ::= \"x\" root | \"y\"")};
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == OK);
    check_texts(g, TEXTS("xxy"), TEXTS("x", "z"));
    any.text = bytes_of("root ::= \"a\" x\nx ::= \"b\" x"); // no content can be, though calls can
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "grammar: no text can satisfy it");
    any.text = bytes_of("root ::= root \"x\" | \"y\"");
    CHECK(answer_grammar(&g, &family, &rules, &notes, &err) == BAD_INPUT);
    CHECK(strncmp(err.text, "grammar: ", 9) == 0);
}

// Names that a form cannot write, parameters that are not named, a pattern that is no expression.
static void test_parameters(void)
{
    const struct answer_family lfm =
                                   answer_family_find(bytes_of("tools <|tool_call_start|>"), NULL),
                               xml = answer_family_find(bytes_of("tools <tool_call> <parameter="),
                                                        NULL);
    struct notes notes = {""};
    struct err err = {0};
    struct grammar *g = NULL;
    struct answer_rules rules = {.must_call = true, .tool = bytes_of("f")};
    rules.tools = read_json(TOOL("{\"properties\":{\"a b\":{\"type\":\"string\"}},"
                                 "\"required\":[\"a b\"]}"));
    CHECK(answer_grammar(&g, &lfm, &rules, &notes, &err) == BAD_INPUT);
    CHECK(
        strstr(err.text, "tools[0].function.parameters.properties.a b: the model's form of calls"));
    rules.tools = read_json(TOOL("{\"properties\":{\"a b\":{\"type\":\"string\"},\"c\":{\"type\":"
                                 "[\"integer\",\"null\"]}}}"));
    check_texts(grammar_of(&lfm, &rules),
                TEXTS(")]<|tool_call_end|>", "c=1)]<|tool_call_end|>", "c=None)]<|tool_call_end|>"),
                TEXTS("a", "c='1'", "c=1, )"));
    rules.tools = read_json(TOOL("{\"type\":\"object\"}"));
    check_texts(grammar_of(&xml, &rules),
                TEXTS("</function></tool_call>",
                      "<parameter=x>\n1\n</parameter><parameter=y>z</parameter></function>"
                      "</tool_call>"),
                TEXTS("<parameter=>", "x"));
    rules.tools =
        read_json(TOOL("{\"properties\":{\"p\":{\"type\":\"string\",\"pattern\":\"(?=x)\"}"
                       ",\"r\":{\"$ref\":\"#/$defs/d\"}},\"$defs\":{\"d\":{\"type\":"
                       "\"integer\"}}}"));
    check_texts(
        grammar_of(&xml, &rules),
        TEXTS("<parameter=p>x</parameter><parameter=r>12</parameter></function></tool_call>"),
        TEXTS("<parameter=r>x"));
}

// ---- control tokens -----------------------------------------------------------------------------

static int32_t id_of(const struct tokenizer *t, const char *text)
{
    for (int32_t id = 0; id < t->n_vocab; id++)
        if (bytes_equal_text(tokenizer_decode(t, id), text))
            return id;
    return -1;
}

// The masks of the matcher where it stands against each token alone.
static void check_mask(struct matcher *m, const struct tokenizer *t)
{
    uint32_t bits[16] = {0};
    struct err err = {0};
    CHECK(matcher_mask(m, bits, &err) == OK);
    for (int32_t id = 0; id < t->n_vocab; id++)
        if (!CHECK((bits[id / 32] >> (id % 32) & 1) == (uint32_t)matcher_allows(m, id)))
            fprintf(stderr, "    token %d\n", (int)id);
}

static void test_marks(void)
{
    static const char *const marks[] = {"<tool_call>", "</tool_call>", "<think>", "</think>",
                                        "<|other|>"};
    static char letters[127][2];
    const char *texts[127 + COUNT_OF(marks)];
    for (int i = 0; i < 127; i++) {
        letters[i][0] = (char)(i + 1);
        texts[i] = letters[i];
    }
    memcpy(texts + 127, marks, sizeof(marks));
    struct tokenizer *t = vocabulary(texts, COUNT_OF(texts));
    t->added.list = mem_array(COUNT_OF(marks), sizeof(*t->added.list));
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        t->type[127 + i] = TYPE_MARK;
        t->added.list[t->added.n++] =
            (struct special){bytes_of(marks[i]), (int32_t)(127 + i), true, false, false};
    }
    added_make(&t->added);
    const struct answer_family family =
        answer_family_find(bytes_of("tools <tool_call> </think>"), NULL);
    const struct answer_rules rules = {.tools = &tools, .tokenizer = t};
    struct grammar *g = grammar_of(&family, &rules);
    struct matcher *m;
    matcher_open(&m, g, t);
    static const char *const answer[] = {
        "<think>", "H",         "m",  "<tool_call>", "?",  "</think>", "\n", "\n", "S",
        "o",       "<|other|>", ".",  "<tool_call>", "\n", "{",        "\"", "n",  "a",
        "m",       "e",         "\"", ":",           "\"", "w",        "r",  "i",  "t",
        "e",       "\"",        ",",  "\"",          "a",  "r",        "g",  "u",  "m",
        "e",       "n",         "t",  "s",           "\"", ":",        "{",  "\"", "t",
        "e",       "x",         "t",  "\"",          ":",  "\"",       "<",  "/"};
    for (size_t i = 0; i < COUNT_OF(answer); i++) {
        check_mask(m, t);
        if (!CHECK(matcher_accept(m, id_of(t, answer[i]))))
            fprintf(stderr, "    %zu: %s\n", i, answer[i]);
    }
    check_mask(m, t); // within a string no control token is a character
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        CHECK(!matcher_allows(m, (int32_t)(127 + i)));
    static const char *const rest[] = {"\"", "}", "}", "\n", "</tool_call>"};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        CHECK(!matcher_may_end(m) && matcher_accept(m, id_of(t, rest[i])));
    CHECK(matcher_may_end(m) && matcher_allows(m, id_of(t, "x")));
    matcher_close(m);
    matcher_open(&m, g, t); // the mark spelled out is one too
    CHECK(matcher_accept_bytes(m, bytes_of("So: <tool_call>\n{\"name\": \"now\", ")));
    CHECK(!matcher_accept_bytes(m, bytes_of("x")) && !matcher_may_end(m));
    matcher_close(m);
    grammar_close(g);
    added_free(&t->added);
    vocabulary_close(t);
}

int main(void)
{
    struct err err = {0};
    open_bytes();
    arena_init(&arena, 1 << 20);
    CHECK(value_read(&tools, &arena, bytes_of(tools_json), &err) == OK);
    CHECK(value_read(&content_schema, &arena, bytes_of(content_json), &err) == OK);
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        const struct answer_family family = answer_family_find(bytes_of(families[i].sign), NULL);
        CHECK_TEXT(answer_form_name(&family), families[i].form);
        walk_must(&family);
        walk_content(&family);
    }
    test_free();
    test_refused();
    test_parameters();
    test_marks();
    vocabulary_close(bytes_only);
    arena_free(&arena);
    return check_done("text_calls");
}
