// api_openai.c - the bodies of OpenAI's requests: what is taken, and each refusal with its code,
// param and a part of its sentence.
//
// Also every truncation of a full request (never accepted, never a crash under ASan) and a few
// thousand seeded mutations of it.
#include "../../engine/api/inside.h"
#include "check.h"

#include <stdlib.h>

static const char full[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":"
                           "\"be \\u00fcber\"},{\"role\":\"user\",\"content\":"
                           "[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":"
                           "\"two\"}]},{\"role\":\"assistant\",\"content\":\"\","
                           "\"tool_calls\":[]}],\"stream\":true,\"stream_options\":{\"include_"
                           "usage\":true},\"max_completion_tokens\":7,"
                           "\"temperature\":0.5,\"top_p\":0.25,\"top_k\":5,\"min_p\":0.125,"
                           "\"repeat_penalty\":1.5,\"presence_penalty\":-1,"
                           "\"frequency_penalty\":2,\"seed\":42,\"stop\":[\"a\",\"bc\"],\"n\":1,"
                           "\"logprobs\":false,\"tools\":[],"
                           "\"tool_choice\":\"none\",\"response_format\":{\"type\":\"text\"},"
                           "\"user\":\"u\",\"unknown\":{\"x\":[1,{}]},"
                           "\"logit_bias\":null,\"store\":false}";

static void test_full(void)
{
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    if (!CHECK(ask_read(&openai_chat, bytes_of(full), job, &form, &refusal)))
        fprintf(stderr, "    %s\n", refusal.text);
    CHECK(job->ask.chat && form.stream && form.include_usage && bytes_equal_text(form.model, "m"));
    const struct value *messages = job->ask.conversation.messages;
    CHECK(messages && messages->list.n == 3);
    const struct value *m = messages->list.items;
    CHECK(bytes_equal_text(value_get(&m[0], "role")->text, "system"));
    CHECK(bytes_equal_text(value_get(&m[0], "content")->text, "be \xc3\xbc"
                                                              "ber"));
    CHECK(bytes_equal_text(value_get(&m[1], "content")->text, "one\ntwo"));
    CHECK(value_get(&m[2], "content")->text.n == 0 && !value_get(&m[2], "tool_calls"));
    CHECK(!job->ask.conversation.tools && job->ask.tool_choice);
    CHECK(job->ask.max_tokens == 7 && job->ask.sampling.seed == 42 && job->ask.sampling.top_k == 5);
    CHECK(job->ask.sampling.temperature == 0.5f && job->ask.sampling.top_p == 0.25f &&
          job->ask.sampling.min_p == 0.125f);
    CHECK(job->ask.sampling.repeat_penalty == 1.5f && job->ask.sampling.presence_penalty == -1.0f);
    CHECK(job->ask.sampling.frequency_penalty == 2.0f);
    CHECK(job->ask.n_stops == 2 && bytes_equal_text(job->ask.stops[1], "bc"));
    job_close(job);
}

static void test_good(void)
{
    static const struct {
        bool chat;
        const char *body;
    } vectors[] = {
        {false, "{\"prompt\":\"x\"}"},
        {false, "{\"prompt\":[\"x\"],\"stop\":\"y\",\"echo\":true,\"max_tokens\":1,\"best_of\":1,"
                "\"logprobs\":null}"},
        {false, "{\"prompt\":\"x\",\"messages\":5,\"tools\":7}"}, // chat's fields do not exist here
        {false, "{\"prompt\":\"\",\"seed\":-1,\"max_tokens\":-1,\"stop\":[]}"},
        {false, "{\"prompt\":\"x\",\"seed\":1e3,\"n\":1.0,\"suffix\":\"\",\"logprobs\":0}"},
        {true,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":\"n\"}],\"max_tokens\":5,"
         "\"max_completion_tokens\":5}"},
        {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"repeat_penalty\":1,"
               "\"repetition_penalty\":1.0,\"logit_bias\":[[0,false],[1,-1.5]]}"},
        {true, "{\"messages\":[{\"role\":\"user\",\"content\":[]}],\"temperature\":null,\"stream\":"
               "null}"},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        if (!CHECK(ask_read(vectors[i].chat ? &openai_chat : &openai_completions,
                            bytes_of(vectors[i].body), job, &form, &refusal)))
            fprintf(stderr, "    %s\n    %s\n", vectors[i].body, refusal.text);
        job_close(job);
    }
}

// ---- messages -------------------------------------------------------------------------------

// What the messages of a body become: "role:content|role:content".
static const char *conversation(const char *messages)
{
    static char text[600];
    char body[800];
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    size_t n = 0;
    snprintf(body, sizeof(body), "{\"messages\":[%s]}", messages);
    text[0] = 0;
    if (!CHECK(ask_read(&openai_chat, bytes_of(body), job, &form, &refusal)))
        fprintf(stderr, "    %s\n    %s\n", body, refusal.text);
    const struct value *list = job->ask.conversation.messages;
    for (size_t i = 0; list && i < list->list.n; i++) {
        struct bytes role = value_get(&list->list.items[i], "role")->text,
                     content = value_get(&list->list.items[i], "content")->text;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s:%.*s", i ? "|" : "", (int)role.n,
                              (const char *)role.p, (int)content.n, (const char *)content.p);
    }
    job_close(job);
    return text;
}

#define SAYS(role, content) "{\"role\":\"" role "\",\"content\":" content "}"
#define PARTS "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]"

static void test_messages(void)
{
    CHECK_TEXT(conversation(SAYS("developer", "\"d\"") "," SAYS("user", "\"u\"")),
               "system:d|user:u");
    // an assistant that said nothing, in its three spellings
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant", "null")),
               "user:u|assistant:");
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant", "\"\"")),
               "user:u|assistant:");
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") ",{\"role\":\"assistant\",\"tool_calls\":[]}"),
               "user:u|assistant:");
    // parts, in every role
    CHECK_TEXT(
        conversation(SAYS("system", PARTS) "," SAYS("user", PARTS) "," SAYS("assistant", PARTS)),
        "system:a\nb|user:a\nb|assistant:a\nb");
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant", "[{\"type\":\"refusal\","
                                                                        "\"refusal\":\"no\"}]")),
               "user:u|assistant:no");
    // neighbours of one role become one turn
    CHECK_TEXT(conversation(SAYS("user", "\"a\"") "," SAYS("user", PARTS)), "user:a\n\na\nb");
    CHECK_TEXT(conversation(SAYS("system", "\"s\"") "," SAYS("developer",
                                                             "\"d\"") "," SAYS("user", "\"u\"")),
               "system:s\n\nd|user:u");
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant",
                                                           "\"a\"") "," SAYS("assistant", "\"b\"")),
               "user:u|assistant:a\n\nb");
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant",
                                                           "\"a\"") "," SAYS("assistant", "\"\"")),
               "user:u|assistant:a");
    // a system message in the middle stays where it is
    CHECK_TEXT(conversation(SAYS("user", "\"u\"") "," SAYS("assistant", "\"a\"") "," SAYS(
                   "system", "\"s\"") "," SAYS("user", "\"v\"")),
               "user:u|assistant:a|system:s|user:v");
}

// What was called and what it answered, as templates get it; arguments as an object in all three
// spellings.
static void test_calls(void)
{
    static const char body[] = "{\"messages\":[" SAYS(
        "user",
        "\"u\"") ",{\"role\":\"assistant\",\"tool_calls\":["
                 "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                 "\"{\\\"a\\\":[1]}\"}},{\"function\":{\"name\":\"g\",\"arguments\":{\"b\":2}}},"
                 "{\"function\":{\"name\":\"h\",\"arguments\":\"no "
                 "JSON\"}}],\"reasoning_content\":\"r\"},"
                 "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":" PARTS "},"
                 "{\"role\":\"tool\",\"name\":\"g\",\"content\":\"\"}],"
                 "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
                 "\"chat_template_kwargs\":{\"enable_thinking\":false}}";
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    if (!CHECK(ask_read(&openai_chat, bytes_of(body), job, &form, &refusal)))
        fprintf(stderr, "    %s\n", refusal.text);
    struct json json;
    json_init(&json, 4096);
    json_object(&json, NULL);
    value_write(&json, "m", job->ask.conversation.messages);
    value_write(&json, "t", job->ask.conversation.tools);
    value_write(&json, "o", job->ask.conversation.options);
    json_end(&json);
    char text[4096];
    struct bytes view = buf_view(&json.text);
    snprintf(text, sizeof(text), "%.*s", (int)view.n, (const char *)view.p);
    CHECK_TEXT(
        text,
        "{\"m\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
        "\"\",\"reasoning_content\":\"r\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":{\"a\":[1]}},\"type\":\"function\",\"id\":\"c1\"},{\"function\":{"
        "\"name\":\"g\",\"arguments\":{\"b\":2}},\"type\":\"function\"},{\"function\":{"
        "\"name\":\"h\",\"arguments\":\"no JSON\"},\"type\":\"function\"}]},{\"role\":\"tool\","
        "\"content\":\"a\\nb\",\"tool_call_id\":\"c1\"},{\"role\":\"tool\",\"content\":\"\","
        "\"name\":\"g\"}],\"t\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
        "\"o\":{\"enable_thinking\":false}}");
    json_free(&json);
    job_close(job);
}

// A thought, a sentence and two calls are one turn, in however many messages they are sent; what is
// said behind a call is another.
static void test_turns(void)
{
    static const char call[] = "{\"id\":\"%s\",\"type\":\"function\",\"function\":{"
                               "\"name\":\"f\",\"arguments\":\"\"}}";
    char c1[120], c2[120], body[1200], text[1200];
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    snprintf(c1, sizeof(c1), call, "c1");
    snprintf(c2, sizeof(c2), call, "c2");
    snprintf(body, sizeof(body),
             "{\"messages\":[" SAYS(
                 "user", "\"u\"") ",{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":\"r\"},"
                                  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[%s]},"
                                  "{\"role\":\"assistant\",\"tool_calls\":[%s],"
                                  "\"reasoning_content\":\"s\"}," SAYS("assistant", "\"b\"") "]}",
             c1, c2);
    if (!CHECK(ask_read(&openai_chat, bytes_of(body), job, &form, &refusal)))
        fprintf(stderr, "    %s\n", refusal.text);
    struct json json;
    json_init(&json, sizeof(text));
    json_object(&json, NULL);
    value_write(&json, "m", job->ask.conversation.messages);
    json_end(&json);
    struct bytes view = buf_view(&json.text);
    snprintf(text, sizeof(text), "%.*s", (int)view.n, (const char *)view.p);
    CHECK_TEXT(text,
               "{\"m\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
               "\"content\":\"a\",\"reasoning_content\":\"r\\n\\ns\",\"tool_calls\":["
               "{\"function\":{\"name\":\"f\",\"arguments\":{}},\"type\":\"function\",\"id\":"
               "\"c1\"},{\"function\":{\"name\":\"f\",\"arguments\":{}},\"type\":\"function\","
               "\"id\":\"c2\"}]},{\"role\":\"assistant\",\"content\":\"b\"}]}");
    json_free(&json);
    job_close(job);
}

// What OpenAI's newer clients send: fields unknown here, null for "not given".
static void test_defaults(void)
{
    static const char body[] = "{\"messages\":[" SAYS(
        "user",
        "\"x\"") "],\"store\":false,\"service_tier\":\"auto\","
                 "\"metadata\":{\"a\":\"b\"},\"max_completion_tokens\":8,\"temperature\":null,"
                 "\"top_p\":null,"
                 "\"seed\":null,\"stop\":null,\"n\":null,\"tools\":null,\"tool_choice\":null,"
                 "\"stream\":null,"
                 "\"stream_options\":null,\"logprobs\":null,\"response_format\":null,\"model\":"
                 "null,"
                 "\"max_tokens\":null,\"parallel_tool_calls\":true,\"prompt_cache_key\":\"k\"}";
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    struct sampling sampling;
    sampling_default(&sampling);
    if (!CHECK(ask_read(&openai_chat, bytes_of(body), job, &form, &refusal)))
        fprintf(stderr, "    %s\n", refusal.text);
    CHECK(job->ask.max_tokens == 8 && job->ask.n_stops == 0 && !form.stream && form.model.n == 0);
    CHECK(job->ask.sampling.temperature == sampling.temperature &&
          job->ask.sampling.top_p == sampling.top_p);
    job_close(job);
}

static uint64_t seed_of(const char *number)
{
    char body[200];
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    snprintf(body, sizeof(body), "{\"prompt\":\"x\",\"seed\":%s}", number);
    CHECK(ask_read(&openai_completions, bytes_of(body), job, &form, &refusal));
    uint64_t seed = job->ask.sampling.seed;
    job_close(job);
    return seed;
}

static void test_seeds(void)
{
    CHECK(seed_of("18446744073709551615") == UINT64_MAX && seed_of("-1") == UINT64_MAX);
    CHECK(seed_of("9223372036854775808") == (uint64_t)1 << 63);
    CHECK(seed_of("-9223372036854775808") == (uint64_t)1 << 63);
    CHECK(seed_of("0") == 0 && seed_of("1e3") == 1000);
}

// ---- refusals -------------------------------------------------------------------------------

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

#define TOOL_F ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

#define TOOL_NAMED(name) ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}]"

static const struct {
    const char *body, *code, *param, *text;
} refused_vectors[] = {
    {"", "invalid_json", "", "empty"},
    {"{", "invalid_json", "", "not valid JSON"},
    {"[]", "invalid_json", "", "must be a JSON object"},
    {"{" USER "} x", "invalid_json", "", "not valid JSON"},
    {"{" USER ",}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"temperature\":NaN}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"temperature\":1e999}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"seed\":01}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"user\":\"\xff\"}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"user\":\"\xed\xa0\x80\"}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"user\":\"\\ud800\"}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"user\":\"a\nb\"}", "invalid_json", "", "not valid JSON"},
    {"{/**/" USER "}", "invalid_json", "", "not valid JSON"},
    {"\xef\xbb\xbf{" USER "}", "invalid_json", "", "not valid JSON"},
    {"{" USER ",\"temperature\":1,\"temperature\":2}", "invalid_json", "temperature", "twice"},
    {"{" USER "," USER "}", "invalid_json", "messages", "twice"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]}", "invalid_json",
     "messages[0].content", "twice"},
    {"{}", "missing_required_parameter", "messages", "missing"},
    {"{\"messages\":null}", "missing_required_parameter", "messages", "missing"},
    {"{\"prompt\":\"x\"}", "missing_required_parameter", "messages", "missing"},
    {"{\"messages\":[]}", "invalid_value", "messages", "1 to 4096"},
    {"{\"messages\":\"x\"}", "invalid_type", "messages", "an array, not a string"},
    {"{\"messages\":[5]}", "invalid_type", "messages[0]", "an object, not a number"},
    {"{\"messages\":[{\"content\":\"x\"}]}", "missing_required_parameter", "messages[0].role",
     "missing; it must be"},
    {"{\"messages\":[{\"role\":\"user\"}]}", "missing_required_parameter", "messages[0].content",
     "missing; it must be"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "invalid_type", "messages[0].content",
     "not null"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}", "invalid_type", "messages[0].content",
     "must be"},
    {"{\"messages\":[{\"role\":\"critic\",\"content\":\"x\"}]}", "unsupported_value",
     "messages[0].role", "\"critic\"; it must be \"system\", \"developer\""},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":5}]}", "invalid_type",
     "messages[0].name", "a string, not a number"},
    {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":5}]}", "invalid_type",
     "messages[0].tool_call_id", "a string, not a number"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"http://x\"}}]}]}",
     "unsupported_value", "messages[0].content[0].type", "\"image_url\""},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
     "missing_required_parameter", "messages[0].content[0].text", "string"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[7]}]}", "invalid_type",
     "messages[0].content[0]", "an object, not a number"},
    {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}]}",
     "missing_required_parameter", "messages[0].tool_calls[0].function", "an object"},
    {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]}", "invalid_type",
     "messages[0].tool_calls", "an array"},
    {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":5}}]}]}",
     "invalid_type", "messages[0].tool_calls[0].function.name", "a string, not a number"},
    {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
     "\"arguments\":5}}]}]}",
     "invalid_type", "messages[0].tool_calls[0].function.arguments", "a string or an object"},
    {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"custom\"}]}]}",
     "unsupported_value", "messages[0].tool_calls[0].type", "\"function\""},
    {"{" USER ",\"n\":0}", "invalid_value", "n", "from 1 to 16"},
    {"{" USER ",\"n\":17}", "invalid_value", "n", "from 1 to 16"},
    {"{" USER ",\"n\":1.5}", "invalid_value", "n", "from 1 to 16"},
    {"{" USER ",\"n\":\"1\"}", "invalid_type", "n", "a whole number, not a string"},
    {"{" USER ",\"logprobs\":2}", "invalid_type", "logprobs", "true or false"},
    {"{" USER ",\"top_logprobs\":3}", "invalid_value", "top_logprobs", "must be true"},
    {"{" USER ",\"logprobs\":true,\"top_logprobs\":21}", "invalid_value", "top_logprobs", "20"},
    {"{" USER ",\"tools\":[{\"type\":\"function\"}]}", "missing_required_parameter",
     "tools[0].function", "an object"},
    {"{" USER ",\"tools\":[{\"type\":\"retrieval\"}]}", "unsupported_value", "tools[0].type",
     "\"retrieval\""},
    {"{" USER
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}]}",
     "invalid_type", "tools[0].function.parameters", "an object, not an empty array"},
    {"{" USER ",\"tools\":{}}", "invalid_type", "tools", "an array"},
    {"{" USER ",\"chat_template_kwargs\":[]}", "invalid_type", "chat_template_kwargs", "an object"},
    {"{" USER ",\"tool_choice\":\"required\"}", "invalid_value", "tool_choice", "no 'tools'"},
    {"{" USER ",\"tool_choice\":\"some\"}", "invalid_value", "tool_choice",
     "\"some\", which is not one of the tools; there are none; it must be \"none\""},
    {"{" USER TOOL_F ",\"tool_choice\":\"some\"}", "invalid_value", "tool_choice",
     "tools: there are f; it must be \"none\""},
    {"{" USER TOOL_F ",\"tool_choice\":\"\"}", "invalid_value", "tool_choice", "\"required\""},
    {"{" USER TOOL_F ",\"tool_choice\":5}", "invalid_type", "tool_choice", "not a number"},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"mcp\"}}", "unsupported_value",
     "tool_choice.type", "\"mcp\""},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"custom\"}}", "missing_required_parameter",
     "tool_choice.custom.name", "a string"},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"function\"}}", "missing_required_parameter",
     "tool_choice.function.name", "a string"},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
     "\"none\"}}}",
     "invalid_value", "tool_choice.allowed_tools.mode", "\"auto\""},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
     "\"auto\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}}",
     "invalid_value", "tool_choice", "\"g\""},
    {"{" USER TOOL_F
     ",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\",\"tools\":[7]}}",
     "missing_required_parameter", "tool_choice.allowed_tools.tools[0].function.name", "a string"},
    {"{" USER TOOL_F ",\"tool_choice\":\"required\",\"guided_choice\":[\"yes\"]}", "invalid_value",
     "guided_choice", "'tool_choice'"},
    {"{" USER TOOL_F ",\"tool_choice\":\"f\",\"response_format\":{\"type\":\"json_object\"}}",
     "invalid_value", "response_format", "'tool_choice'"},
    {"{" USER TOOL_NAMED("a b\\n\\\"c") "}", "invalid_value", "tools[0].function.name", "a b\n\"c"},
    {"{" USER TOOL_NAMED("</tool_call>") "}", "invalid_value", "tools[0].function.name", "letters"},
    {"{" USER TOOL_NAMED("") "}", "invalid_value", "tools[0].function.name", "1 to 128"},
    {"{" USER TOOL_NAMED("f\"}},{\"type\":\"function\",\"function\":{\"name\":\"f") "}",
     "invalid_value", "tools[1].function.name", "tools[0]"},
    {"{" USER
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
     "\"string\"}}}]}",
     "invalid_value", "tools[0].function.parameters", "\"object\", not \"string\""},
    {"{" USER TOOL_F ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}",
     "invalid_value", "tool_choice", "\"g\""},
    {"{" USER ",\"functions\":[{\"name\":\"f\"}]}", "unsupported_value", "functions", "'tools'"},
    {"{" USER ",\"reasoning_effort\":\"some\"}", "invalid_value", "reasoning_effort", "medium"},
    {"{" USER ",\"reasoning\":{\"max_tokens\":-2}}", "invalid_value", "reasoning.max_tokens", "-1"},
    {"{" USER ",\"thinking\":true}", "invalid_type", "thinking", "an object"},
    {"{" USER ",\"response_format\":{\"type\":\"xml\"}}", "invalid_value", "response_format.type",
     "\"xml\"; it must be"},
    {"{" USER ",\"guided_choice\":[]}", "invalid_value", "guided_choice", "is empty"},
    {"{" USER ",\"structured_outputs\":{}}", "invalid_value", "structured_outputs", "nothing"},
    {"{" USER ",\"structured_outputs\":{\"json_object\":false,\"regex\":null}}", "invalid_value",
     "structured_outputs", "nothing"},
    {"{" USER ",\"structured_outputs\":{\"structural_tag\":\"x\"}}", "unsupported_value",
     "structured_outputs.structural_tag", "json_object"},
    {"{" USER ",\"structured_outputs\":{\"json\":{},\"foo\":1}}", "unsupported_value",
     "structured_outputs.foo", "json_object"},
    {"{" USER ",\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}}", "invalid_value",
     "structured_outputs.regex", "'structured_outputs.json' and 'structured_outputs.regex'"},
    {"{" USER ",\"structured_outputs\":{\"choice\":7}}", "invalid_type",
     "structured_outputs.choice", "an array"},
    {"{" USER ",\"structured_outputs\":{\"json_object\":1}}", "invalid_type",
     "structured_outputs.json_object", "true or false"},
    {"{" USER ",\"guided_json\":\"{\\\"type\\\":\"}", "invalid_value", "guided_json", "no JSON"},
    {"{" USER ",\"json_schema\":\"[1]\"}", "invalid_value", "json_schema", "must hold"},
    {"{" USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":7}}", "invalid_type",
     "response_format.json_schema", "an object"},
    {"{" USER ",\"grammar\":\"root ::= [a]\",\"guided_choice\":[\"a\"]}", "invalid_value",
     "guided_choice", "one of them"},
    {"{" USER ",\"guided_choice\":[1]}", "invalid_type", "guided_choice", "strings"},
    {"{" USER ",\"logit_bias\":{\"five\":1}}", "invalid_value", "logit_bias.five", "for \"five\""},
    {"{" USER ",\"logit_bias\":{\"05\":1}}", "invalid_value", "logit_bias.05", "for \"05\""},
    {"{" USER ",\"logit_bias\":{\"2147483648\":1}}", "invalid_value", "logit_bias.2147483648",
     "id"},
    {"{" USER ",\"logit_bias\":{\"5\":101}}", "invalid_value", "logit_bias.5",
     "is 101; it must be a number from -100 to 100"},
    {"{" USER ",\"logit_bias\":{\"5\":\"x\"}}", "invalid_type", "logit_bias.5", "not a string"},
    {"{" USER ",\"logit_bias\":[[5]]}", "invalid_value", "logit_bias[0]", "a pair"},
    {"{" USER ",\"logit_bias\":[[5,1],[5,2]]}", "invalid_value", "logit_bias[1][1]",
     "token 5 twice"},
    {"{" USER ",\"logit_bias\":[[-1,1]]}", "invalid_value", "logit_bias[0][0]", "is -1"},
    {"{" USER ",\"logit_bias\":7}", "invalid_type", "logit_bias", "not a number"},
    {"{" USER ",\"samplers\":[\"top_k\",\"top_k\"]}", "invalid_value", "samplers[1]",
     "\"top_k\" a second time"},
    {"{" USER ",\"samplers\":[\"dry\",\"infill\"]}", "invalid_value", "samplers[1]", "\"infill\""},
    {"{" USER ",\"samplers\":[2]}", "invalid_type", "samplers[0]", "not a number"},
    {"{" USER ",\"repeat_penalty\":1.5,\"repetition_penalty\":1}", "invalid_value",
     "repetition_penalty", "'repeat_penalty' and"},
    {"{" USER ",\"reasoning\":{\"effort\":\"low\"},\"reasoning_effort\":\"high\"}", "invalid_value",
     "reasoning.effort", "differ"},
    {"{" USER ",\"mirostat\":3}", "invalid_value", "mirostat", "from 0 to 2"},
    {"{" USER ",\"modalities\":[\"text\",\"audio\"]}", "unsupported_value", "modalities", "text"},
    {"{" USER ",\"temperature\":\"hot\"}", "invalid_type", "temperature", "a number, not a string"},
    {"{" USER ",\"temperature\":2.5}", "invalid_value", "temperature",
     "2.5; it must be a number from 0 to 2"},
    {"{" USER ",\"temperature\":-1}", "invalid_value", "temperature", "from 0 to 2"},
    {"{" USER ",\"top_p\":1.1}", "invalid_value", "top_p", "from 0 to 1"},
    {"{" USER ",\"max_tokens\":0}", "invalid_value", "max_tokens",
     "'max_tokens' is 0; it must be a whole number from 1 to 2147483647, or -1: no limit."},
    {"{" USER ",\"max_tokens\":1.5}", "invalid_value", "max_tokens", "is 1.5; it must be a whole"},
    {"{" USER ",\"max_tokens\":-2}", "invalid_value", "max_tokens", "is -2; "},
    {"{" USER ",\"max_tokens\":2147483648}", "invalid_value", "max_tokens", "is 2147483648; "},
    {"{" USER ",\"max_tokens\":1e300}", "invalid_value", "max_tokens", "from 1 to 2147483647"},
    {"{" USER ",\"top_k\":99999999999}", "invalid_value", "top_k",
     "'top_k' is 99999999999; it must be a whole number from -1 to 1000000."},
    {"{" USER ",\"seed\":18446744073709551616}", "invalid_value", "seed",
     "'seed' is about 1.84467441e+19; it must be a whole number, its digits written out, from "
     "-9223372036854775808 to 18446744073709551615."},
    {"{" USER ",\"seed\":-9223372036854775809}", "invalid_value", "seed",
     "is about -9.22337204e+18"},
    {"{" USER ",\"seed\":1e18}", "invalid_value", "seed", "digits written out"},
    {"{" USER ",\"seed\":0.5}", "invalid_value", "seed", "is 0.5"},
    {"{" USER ",\"max_tokens\":5,\"max_completion_tokens\":6}", "invalid_value",
     "max_completion_tokens", "differ"},
    {"{" USER ",\"presence_penalty\":3}", "invalid_value", "presence_penalty", "from -2 to 2"},
    {"{" USER ",\"stop\":[\"\"]}", "invalid_value", "stop", "1 to 512"},
    {"{" USER ",\"stop\":[1]}", "invalid_type", "stop", "a number"},
    {"{" USER ",\"stop\":{}}", "invalid_type", "stop", "an object"},
    {"{" USER ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"0\",\"1\","
     "\"2\",\"3\",\"4\",\"5\",\"6\",\"7\"]}",
     "invalid_value", "stop", "at most 16"},
    {"{" USER ",\"stream\":\"yes\"}", "invalid_type", "stream", "true or false"},
    {"{" USER ",\"stream_options\":{\"include_usage\":1}}", "invalid_type",
     "stream_options.include_usage", "true or false"},
    {"{" USER ",\"model\":5}", "invalid_type", "model", "a string"},
    {"{" USER ",\"seed\":\"x\"}", "invalid_type", "seed", "a whole number, not a string"},
    {"{" USER ",\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}",
     "invalid_json", "stream_options.include_usage", "stands twice"},
    {"{" USER ",\"x\":[{},{\"y\":{\"z\":1,\"a\":2,\"z\":3}}]}", "invalid_json", "x[1].y.z",
     "'x[1].y.z' stands twice"},
    {"{" USER ",\"x\":{\"\\u00e9\":1,\"\xc3\xa9\":2}}", "invalid_json", "x.\xc3\xa9", "twice"},
};

static void test_sampling_fields(void)
{
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"typical_p\":0.5,\"mirostat\":2,"
        "\"xtc_probability\":0.25,\"dry_multiplier\":2,\"dry_sequence_breakers\":[\"\\n\",\"ab\"],"
        "\"logit_bias\":{\"7\":-3.5,\"12\":100},\"samplers\":[\"dry\",\"temperature\",\"top_k\"],"
        "\"min_tokens\":9,\"ignore_eos\":true,\"repetition_penalty\":1.5,\"dry_penalty_last_n\":"
        "64}";
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    const struct sampling *p = &job->ask.sampling;
    CHECK(ask_read(&openai_chat, bytes_of(body), job, &form, &refusal));
    CHECK(p->typical_p == 0.5f && p->mirostat == 2 && p->xtc_probability == 0.25f);
    CHECK(p->dry_multiplier == 2 && p->n_dry_breakers == 2 && p->dry_last_n == 64 &&
          bytes_equal_text(p->dry_breakers[1], "ab"));
    CHECK(p->n_biases == 2 && p->biases[0].id == 7 && p->biases[0].bias == -3.5f &&
          p->biases[1].id == 12 && p->biases[1].bias == 100);
    CHECK(p->n_order == 2 && p->order[0] == STEP_TEMPERATURE && p->order[1] == STEP_TOP_K);
    CHECK(p->min_tokens == 9 && p->ignore_eos && p->repeat_penalty == 1.5f);
    job_close(job);
}

static void test_refused(void)
{
    for (size_t i = 0; i < COUNT_OF(refused_vectors); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        bool good =
            !ask_read(&openai_chat, bytes_of(refused_vectors[i].body), job, &form, &refusal) &&
            refusal.http == 400 && strcmp(refusal.code, refused_vectors[i].code) == 0 &&
            strcmp(refusal.param, refused_vectors[i].param) == 0 &&
            strstr(refusal.text, refused_vectors[i].text);
        if (!CHECK(good))
            fprintf(stderr, "    %s\n    %d %s %s: %s\n", refused_vectors[i].body, refusal.http,
                    refusal.code ? refusal.code : "-", refusal.param, refusal.text);
        job_close(job);
    }
}

static void test_prompts_refused(void)
{
    static const char *const bodies[] = {
        "{\"prompt\":[\"a\",5]}",
        "{\"prompt\":[\"a\",null]}",
        "{\"prompt\":[1,\"a\"]}",
        "{\"prompt\":[-1]}",
        "{\"prompt\":[[[1]]]}",
        "{\"prompt\":[1,2],\"echo\":true}",
        "{\"prompt\":5}",
        "{\"prompt\":[]}",
        "{\"prompt\":\"x\",\"best_of\":17}",
        "{\"prompt\":\"x\",\"best_of\":0}",
        "{\"prompt\":\"x\",\"best_of\":true}",
        "{\"prompt\":\"x\",\"n\":3,\"best_of\":2}",
        "{\"best_of\":1,\"prompt\":\"x\",\"n\":2}",
        "{\"prompt\":\"x\",\"n\":2,\"best_of\":3,\"stream\":true}",
        "{\"prompt\":[1],\"suffix\":\"y\"}",
        "{\"prompt\":\"x\",\"suffix\":5}",
        "{\"prompt\":\"x\",\"logprobs\":21}",
        "{\"prompt\":\"x\",\"echo\":1}",
        "{\"prompt\":\"x\",\"max_tokens\":-2}",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        if (!CHECK(!ask_read(&openai_completions, bytes_of(bodies[i]), job, &form, &refusal) &&
                   refusal.param[0]))
            fprintf(stderr, "    %s\n", bodies[i]);
        job_close(job);
    }
}

// The prompt's own log-probabilities: the engine tells the prompt then, also one of ids.
static void test_echo(void)
{
    static const struct {
        const char *body;
        bool echoes, echo, only_reads;
    } asks[] = {
        {"{\"prompt\":\"x\",\"echo\":true,\"logprobs\":1}", true, false, false},
        {"{\"prompt\":[[1,2]],\"echo\":true,\"logprobs\":0,\"max_tokens\":0}", true, false, true},
        {"{\"prompt\":\"x\",\"echo\":true,\"max_tokens\":1}", false, true, false},
        {"{\"prompt\":\"x\",\"logprobs\":2,\"max_tokens\":0}", false, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        CHECK(ask_read(&openai_completions, bytes_of(asks[i].body), job, &form, &refusal));
        CHECK(job->ask.echoes == asks[i].echoes && form.echo == asks[i].echo &&
              job->ask.only_reads == asks[i].only_reads);
        job_close(job);
    }
}

// How many answers; log-probabilities are asked of the engine where the best are told.
static void test_choices(void)
{
    static const struct {
        const struct dialect *dialect;
        const char *body;
        size_t n_choices, n_tries;
        int32_t n_chances;
    } asks[] = {
        {&openai_chat, "{" USER "}", 1, 1, -1},
        {&openai_chat, "{" USER ",\"n\":16,\"stream\":true}", 16, 16, -1},
        {&openai_chat, "{" USER ",\"n\":2,\"best_of\":9}", 2, 2, -1}, // chats have no such field
        {&openai_prompt, "{" USER ",\"n\":3}", 1, 1, -1},
        {&openai_completions, "{\"prompt\":\"x\",\"n\":3}", 3, 3, -1},
        {&openai_completions, "{\"best_of\":4,\"prompt\":\"x\"}", 1, 4, 0},
        {&openai_completions, "{\"prompt\":\"x\",\"n\":2,\"best_of\":16,\"logprobs\":3}", 2, 16, 3},
        {&openai_completions, "{\"prompt\":\"x\",\"n\":2,\"best_of\":2,\"stream\":true}", 2, 2, -1},
    };
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        if (!CHECK(ask_read(asks[i].dialect, bytes_of(asks[i].body), job, &form, &refusal) &&
                   form.n_choices == asks[i].n_choices && form.n_tries == asks[i].n_tries &&
                   job->ask.n_chances == asks[i].n_chances))
            fprintf(stderr, "    %s %s\n", asks[i].body, refusal.text);
        job_close(job);
    }
}

// Several prompts: one is read at a time, and at most so many are taken.
static void test_several(void)
{
    static const char body[] = "{\"prompt\":[\"a\",[7,8],\"\"],\"suffix\":\"\"}";
    for (size_t at = 0; at < 3; at++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        CHECK(ask_read_of(&openai_completions, bytes_of(body), at, job, &form, &refusal));
        CHECK(form.n_prompts == 3 && !job->ask.infill);
        CHECK(at != 0 || bytes_equal_text(job->ask.prompt, "a"));
        CHECK(at != 1 || (job->ask.n_prompt_ids == 2 && job->ask.prompt_ids[1] == 8));
        CHECK(at != 2 || job->ask.prompt.n == 0);
        job_close(job);
    }
    for (size_t n = PROMPTS_MOST; n <= PROMPTS_MOST + 1; n++) {
        char text[600] = "{\"prompt\":[\"x\"";
        for (size_t i = 1; i < n; i++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), ",\"x\"");
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "]}");
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        CHECK(ask_read(&openai_completions, bytes_of(text), job, &form, &refusal) ==
              (n == PROMPTS_MOST));
        job_close(job);
    }
}

static void test_suffix(void)
{
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    CHECK(ask_read(&openai_completions, bytes_of("{\"suffix\":\"b\",\"prompt\":\"a\"}"), job, &form,
                   &refusal));
    CHECK(job->ask.infill && bytes_equal_text(job->ask.infill->before, "a") &&
          bytes_equal_text(job->ask.infill->behind, "b"));
    job_close(job);
}

static void test_prompt_ids(void)
{
    static const char *const bodies[] = {"{\"prompt\":[7,0]}", "{\"prompt\":[[7,0]]}"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        CHECK(ask_read(&openai_completions, bytes_of(bodies[i]), job, &form, &refusal));
        CHECK(job->ask.n_prompt_ids == 2 && job->ask.prompt_ids[0] == 7 &&
              job->ask.prompt_ids[1] == 0);
        job_close(job);
    }
}

static bool reads(const uint8_t *body, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1); // so that ASan sees a byte read behind it
    struct job *job = job_open();
    struct form form;
    struct refusal refusal = {0};
    memcpy(exact, body, n);
    bool good = ask_read(&openai_chat, (struct bytes){exact, n}, job, &form, &refusal);
    CHECK(good || (refusal.http >= 400 && refusal.text[0]));
    struct json json; // whatever was quoted, the answer is valid UTF-8
    json_init(&json, 65536);
    if (!good) {
        refusal_write(&json, &refusal);
        CHECK(json_done(&json) == OK && utf8_valid(buf_view(&json.text)));
    }
    json_free(&json);
    job_close(job);
    free(exact);
    return good;
}

static void test_broken(void)
{
    uint8_t body[sizeof(full)];
    uint32_t random = 1;
    size_t n = sizeof(full) - 1;
    for (size_t i = 0; i < n; i++)
        CHECK(!reads((const uint8_t *)full, i));
    for (int round = 0; round < 4000; round++) {
        memcpy(body, full, n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525u + 1013904223u;
            body[(random >> 8) % n] = "{}[],:\"\\09ent\xff "[random >> 24 & 15];
        }
        (void)reads(body, n);
    }
    struct buf deep;
    buf_init(&deep, 1 << 20);
    for (int i = 0; i < 100000; i++)
        CHECK(buf_add(&deep, "{\"a\":[", 6) == OK);
    CHECK(!reads(deep.p, deep.n));
    buf_free(&deep);
}

// A body as large as net lets through: `filler` again and again in an ignored field.
static bool vast_read(const char *filler, size_t n_bytes, struct refusal *refusal)
{
    static const char head[] = "{" USER ",\"x\":[", tail[] = "]}";
    size_t n_filler = strlen(filler);
    struct buf body;
    struct job *job = job_open();
    struct form form;
    buf_init(&body, n_bytes);
    CHECK(buf_add(&body, head, sizeof(head) - 1) == OK);
    while (body.n + n_filler + sizeof(tail) < n_bytes && buf_add(&body, filler, n_filler) == OK) {
    }
    body.p[body.n - 1] = ' '; // no comma after the last value
    CHECK(buf_add(&body, tail, sizeof(tail) - 1) == OK);
    bool good = ask_read(&openai_chat, buf_view(&body), job, &form, refusal);
    buf_free(&body);
    job_close(job);
    return good;
}

// Objects of many keys: none twice, and the last as the first.
static void test_keys(void)
{
    for (int twice = 0; twice < 2; twice++) {
        struct buf body;
        struct job *job = job_open();
        struct form form;
        struct refusal refusal = {0};
        buf_init(&body, 1 << 20);
        CHECK(buf_format(&body, "{\"prompt\":\"x\",\"y\":[{") == OK);
        for (int i = 0; i < 20000; i++)
            CHECK(buf_format(&body, "\"k%d\":1,", i) == OK);
        CHECK(buf_format(&body, "\"%s\":2}]}", twice ? "k0" : "k") == OK);
        bool good = ask_read(&openai_completions, buf_view(&body), job, &form, &refusal);
        CHECK(good == !twice);
        if (twice)
            CHECK_TEXT(refusal.param, "y[0].k0");
        buf_free(&body);
        job_close(job);
    }
}

static void test_memory(void)
{
    struct refusal refusal = {0};
    CHECK(!vast_read("1,", 8 << 20, &refusal)); // 4 million values
    CHECK(refusal.http == 413 && strstr(refusal.text, "48 MiB"));
    CHECK_TEXT(refusal.code, "request_too_large");
    CHECK(vast_read("1,", 3600000, &refusal)); // the worst shape, below what can reach the cap
    CHECK(vast_read("\"some words of a text\",", 8 << 20, &refusal));
}

// ---- tool choice and thinking ---------------------------------------------------------------

static struct job *read_chat(const char *fields, struct form *form)
{
    char body[600];
    struct job *job = job_open();
    struct refusal refusal = {0};
    snprintf(body, sizeof(body), "{" USER "%s}", fields);
    if (!CHECK(ask_read(&openai_chat, bytes_of(body), job, form, &refusal)))
        fprintf(stderr, "    %s\n", refusal.text);
    return job;
}

static void check_choice(const char *fields, bool must, bool one, const char *tool)
{
    struct form form;
    struct job *job = read_chat(fields, &form);
    CHECK(job->ask.must_call == must && job->ask.one_call == one);
    CHECK(bytes_equal_text(job->ask.must_call_tool, tool));
    job_close(job);
}

static void test_tool_choice(void)
{
    static const char two[] =
        ",\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
        "\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]";
    char allowed[400];
    check_choice(TOOL_F, false, false, "");
    check_choice(TOOL_F ",\"parallel_tool_calls\":false", false, true, "");
    check_choice(TOOL_F ",\"tool_choice\":\"required\",\"parallel_tool_calls\":true", true, false,
                 "f");
    check_choice(two, true, false, "");
    check_choice(TOOL_F ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
                 true, true, "f");
    check_choice(TOOL_F ",\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}", true, true, "f");
    check_choice(TOOL_F ",\"tool_choice\":\"f\"", true, true, "f");
    check_choice(TOOL_F ",\"tool_choice\":\"auto\",\"response_format\":{\"type\":\"json_object\"}",
                 false, false, "");
    // of two tools one is allowed: it is the one that must be called
    snprintf(
        allowed, sizeof(allowed), "%s%s", strchr(two + 1, ','),
        ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\","
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}");
    check_choice(allowed, true, false, "g");
    struct form form;
    struct job *job = read_chat(allowed, &form);
    CHECK(job->ask.conversation.tools->list.n == 1);
    job_close(job);
}

static void check_constraint(const char *fields, enum constraint_kind kind, const char *path)
{
    struct form form;
    struct job *job = read_chat(fields, &form);
    const struct constraint *c = &job->ask.constraint;
    CHECK(c->kind == kind && form.constraint &&
          strncmp(path, form.constraint, strlen(form.constraint)) == 0);
    CHECK_TEXT(c->path, path);
    CHECK(kind != CONSTRAINT_SCHEMA || value_get(c->schema, "type"));
    job_close(job);
}

static void test_constraints(void)
{
    check_constraint(",\"structured_outputs\":{\"json_object\":true,\"disable_fallback\":false}",
                     CONSTRAINT_JSON, "structured_outputs.json_object");
    check_constraint(",\"structured_outputs\":{\"choice\":[\"a\"],\"regex\":null}",
                     CONSTRAINT_CHOICES, "structured_outputs.choice");
    check_constraint(",\"structured_outputs\":{\"json\":\"{\\\"type\\\":\\\"null\\\"}\"}",
                     CONSTRAINT_SCHEMA, "structured_outputs.json");
    check_constraint(",\"guided_json\":\"{\\\"type\\\":\\\"null\\\"}\"", CONSTRAINT_SCHEMA,
                     "guided_json");
    check_constraint(",\"json_schema\":{\"type\":\"null\"}", CONSTRAINT_SCHEMA, "json_schema");
}

static void check_thinking(const char *fields, const char *options, int32_t most)
{
    struct form form;
    struct job *job = read_chat(fields, &form);
    struct json json;
    char text[400] = "";
    json_init(&json, sizeof(text));
    if (job->ask.conversation.options)
        value_write(&json, NULL, job->ask.conversation.options);
    snprintf(text, sizeof(text), "%.*s", (int)json.text.n, (const char *)json.text.p);
    CHECK_TEXT(text, options);
    CHECK(job->ask.think_most == most);
    json_free(&json);
    job_close(job);
}

static void test_thinking(void)
{
    check_thinking("", "", -1);
    check_thinking(",\"reasoning_effort\":\"high\"",
                   "{\"reasoning_effort\":\"high\",\"thinking_effort\":\"high\",\"enable_"
                   "thinking\":true,\"thinking\":true}",
                   -1);
    check_thinking(",\"reasoning_effort\":\"none\"",
                   "{\"enable_thinking\":false,\"thinking\":false}", -1);
    check_thinking(",\"reasoning\":{\"effort\":\"low\",\"max_tokens\":9}",
                   "{\"reasoning_effort\":\"low\",\"thinking_effort\":\"low\",\"enable_thinking\":"
                   "true,\"thinking\":true}",
                   9);
    check_thinking(",\"thinking_budget_tokens\":0", "", 0);
    check_thinking(",\"thinking\":{\"type\":\"adaptive\",\"budget_tokens\":5}", "", 5);
    check_thinking(
        ",\"enable_thinking\":true,\"chat_template_kwargs\":{\"thinking\":false,\"x\":1}",
        "{\"enable_thinking\":true,\"thinking\":true,\"thinking\":false,\"x\":1}", -1);
}

int main(void)
{
    test_tool_choice();
    test_constraints();
    test_thinking();
    test_full();
    test_good();
    test_messages();
    test_calls();
    test_turns();
    test_defaults();
    test_seeds();
    test_keys();
    test_sampling_fields();
    test_refused();
    test_prompts_refused();
    test_prompt_ids();
    test_echo();
    test_choices();
    test_several();
    test_suffix();
    test_broken();
    test_memory();
    return check_done("api_openai");
}
