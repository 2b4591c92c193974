// api_anthropic.c - the bodies of Anthropic's requests: what they become, and each refusal with its
// field and a part of its sentence.
//
// Also every truncation of a full request (never accepted, never a crash under ASan) and a few
// thousand seeded mutations of it. JSON is written with ' for " here.
#include "../../engine/api/anthropic.h"
#include "check.h"

#include <stdlib.h>

enum { TEXT_MOST = 8000 };

static const char *json(const char *text)
{
    static char texts[4][TEXT_MOST];
    static int at;
    char *out = texts[at++ & 3];
    size_t n = strlen(text);
    CHECK(n < TEXT_MOST);
    for (size_t i = 0; i <= n; i++)
        out[i] = text[i] == '\'' ? '"' : text[i];
    return out;
}

static struct job *read_body(const struct dialect *dialect, const char *body, struct form *form)
{
    struct job *job = job_open();
    struct refusal refusal = {0};
    if (!CHECK(ask_read(dialect, bytes_of(json(body)), job, form, &refusal)))
        fprintf(stderr, "    %s\n    %s: %s\n", body, refusal.param, refusal.text);
    return job;
}

#define HI "'messages':[{'role':'user','content':'hi'}]"

// A request with these fields beside a model and max_tokens.
static struct job *read_fields(const char *fields, struct form *form)
{
    char body[TEXT_MOST];
    snprintf(body, sizeof(body), "{'model':'m','max_tokens':9,%s}", fields);
    return read_body(&anthropic_messages, body, form);
}

static void check_value(const struct value *value, const char *want)
{
    struct json out;
    char text[TEXT_MOST] = "";
    json_init(&out, sizeof(text) - 1);
    if (value)
        value_write(&out, NULL, value);
    if (out.text.n > 0)
        memcpy(text, out.text.p, out.text.n);
    text[out.text.n] = 0;
    CHECK_TEXT(text, json(want));
    json_free(&out);
}

// What the messages (and the fields behind them) become.
static void check_messages(const char *fields, const char *want)
{
    struct form form;
    struct job *job = read_fields(fields, &form);
    check_value(job->ask.conversation.messages, want);
    job_close(job);
}

#define SAYS(role, content) "{'role':'" role "','content':" content "}"
#define TEXT(text) "{'type':'text','text':'" text "','cache_control':{'type':'ephemeral'}}"

static void test_messages(void)
{
    check_messages(
        "'messages':[" SAYS("user", "'a'") "," SAYS(
            "user", "[" TEXT("b") "," TEXT("c") "]") "," SAYS("assistant",
                                                              "[" TEXT("d") "," TEXT("e") "]") "]",
        "[{'role':'user','content':'a\\n\\nb\\nc'},{'role':'assistant','content':'de'}]");
    check_messages("'system':'s'," HI,
                   "[{'role':'system','content':'s'},{'role':'user','content':'hi'}]");
    check_messages(HI ",'system':[" TEXT("s") "," TEXT("t") "]",
                   "[{'role':'system','content':'s\\n\\nt'},{'role':'user','content':'hi'}]");
    check_messages("'system':[]," HI, "[{'role':'user','content':'hi'}]");
    check_messages("'messages':[" SAYS("user", "'a'") "," SAYS("system", "[" TEXT("s") "]") "]",
                   "[{'role':'user','content':'a'},{'role':'system','content':'s'}]");
    check_messages("'messages':[" SAYS("user", "[]") "]", "[{'role':'user','content':''}]");
    // Claude Code's line, which is another in each request
    check_messages("'system':[" TEXT("x-anthropic-billing-header: cc_version=2; cch=ab;") "," TEXT(
                       "s") "]," HI,
                   "[{'role':'system','content':'s'},{'role':'user','content':'hi'}]");
    check_messages("'system':'x-anthropic-billing-header: cch=1;\\nYou are.'," HI,
                   "[{'role':'system','content':'You are.'},{'role':'user','content':'hi'}]");
    check_messages("'system':'x-anthropic-billing-header: cch=1;'," HI,
                   "[{'role':'user','content':'hi'}]");
}

static void test_calls(void)
{
    check_messages(
        "'messages':[" SAYS("user", "'u'") "," SAYS(
            "assistant",
            "[{'type':'thinking','thinking':'t','signature':'x'},{'type':'"
            "redacted_thinking','data':'d'}," TEXT(
                "I look.") ",{'type':'tool_use','id':'a','name':'f','input'"
                           ":{'x':[1]}},"
                           "{'type':'tool_use','id':'b','name':'g','input':"
                           "{}}]") "," SAYS("user", "[{'type':'tool_result','tool_"
                                                    "use_id':'a','content':'12'},"
                                                    "{'type':'tool_result','tool_"
                                                    "use_id':'b'}," TEXT("go on") "]") "]",
        "[{'role':'user','content':'u'},{'role':'assistant','content':'I "
        "look.','reasoning_content':'t',"
        "'tool_calls':[{'function':{'name':'f','arguments':{'x':[1]}},'type':'function','id':'a'},"
        "{'function':{'name':'g','arguments':{}},'type':'function','id':'b'}]},"
        "{'role':'tool','content':'12','tool_call_id':'a'},{'role':'tool','content':'','tool_call_"
        "id':'b'},"
        "{'role':'user','content':'go on'}]");
    // what a tool gave, in each of its forms
    static const struct {
        const char *content, *text;
    } results[] = {
        {"'content':[]", ""},
        {"'content':null", ""},
        {"'content':'x'", "x"},
        {"'content':'x','is_error':true", "Error:\\nx"},
        {"'content':[],'is_error':true", "Error:"},
        {"'content':[" TEXT("a") "," TEXT("b") "]", "a\\nb"},
        {"'content':[" TEXT("a") ",{'type':'image','source':{'type':'base64','media_type':'image/"
                                 "png','data':'AA'}}]",
         "a\\n[an image was left out here: this model reads text only]"},
        {"'content':[{'type':'document','source':{'type':'base64','media_type':'application/"
         "pdf','data':'AA'}}]",
         "[a document was left out here: this model reads text only]"},
        {"'content':[{'type':'document','source':{'type':'text','media_type':'text/"
         "plain','data':'d'}}]",
         "<document>\\nd\\n</document>"},
        {"'content':[{'type':'search_result','source':'http://o','title':'Owls','content':[" TEXT(
             "s") "]}]",
         "<search_result source=\\\"http://o\\\" title=\\\"Owls\\\">\\ns\\n</search_result>"},
        {"'content':[{'type':'tool_reference','tool_name':'h'}]", "Tool found: h"},
        {"'content':[{'type':'browser_state'}]",
         "[a block of a type that is not known was left out here: this model reads text only]"},
    };
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        char fields[1000], want[1000];
        snprintf(
            fields, sizeof(fields),
            "'messages':[{'role':'user','content':[{'type':'tool_result','tool_use_id':'a',%s}]}]",
            results[i].content);
        snprintf(want, sizeof(want), "[{'role':'tool','content':'%s','tool_call_id':'a'}]",
                 results[i].text);
        check_messages(fields, want);
    }
}

static void test_blocks(void)
{
    check_messages(
        "'messages':[" SAYS("user", "[{'type':'document','title':'T','context':'C','source':{'type'"
                                    ":'content','content':[" TEXT("a") "]}}," TEXT("b") "]") "]",
        "[{'role':'user','content':'<document title=\\\"T\\\" "
        "context=\\\"C\\\">\\na\\n</document>\\nb'}]");
    // what other servers ran is passed over
    check_messages(
        "'messages':[" SAYS("user", "'u'") "," SAYS(
            "assistant",
            "[{'type':'server_tool_use','id':'s','name':'web_search','input':{}},"
            "{'type':'web_search_tool_result','tool_use_id':'s','content':[]}," TEXT("a") "]") "]",
        "[{'role':'user','content':'u'},{'role':'assistant','content':'a'}]");
    check_messages("'messages':[" SAYS("user", "'u'") "," SAYS(
                       "assistant", "[{'type':'compaction','content':'so far'}]") "]",
                   "[{'role':'user','content':'u'},{'role':'assistant','content':'so far'}]");
}

// A thought that was not told comes back in its signature.
static void test_signature(void)
{
    static const char *const thoughts[] = {"t", "th", "tho",
                                           ("It is \xc3\xbc"
                                            "ber weather.")};
    for (size_t i = 0; i < COUNT_OF(thoughts); i++) {
        struct buf text;
        struct arena arena;
        buf_init(&text, 1000);
        arena_init(&arena, 1 << 16);
        CHECK(signature_write(&text, bytes_of(thoughts[i])) == OK);
        CHECK(bytes_equal_text(signature_read(&arena, buf_view(&text)), thoughts[i]));
        buf_free(&text);
        arena_free(&arena);
    }
    check_messages(
        "'messages':[" SAYS("user", "'u'") "," SAYS(
            "assistant",
            "[{'type':'thinking','thinking':'','signature':'tawny-SXQgaXM='}," TEXT("a") "]") "]",
        "[{'role':'user','content':'u'},{'role':'assistant','content':'a','reasoning_content':'It "
        "is'}]");
    static const char *const foreign[] = {"", "EqQBCgIYAhIM", "tawny-", "tawny-!!", "tawny-gICA"};
    for (size_t i = 0; i < COUNT_OF(foreign); i++) {
        char fields[400];
        snprintf(fields, sizeof(fields),
                 "'messages':[" SAYS("user", "'u'") "," SAYS(
                     "assistant",
                     "[{'type':'thinking','thinking':'','signature':'%s'}," TEXT("a") "]") "]",
                 foreign[i]);
        check_messages(fields,
                       "[{'role':'user','content':'u'},{'role':'assistant','content':'a'}]");
    }
}

#define TOOL(name, more) "{'name':'" name "','input_schema':{'type':'object'}" more "}"

static void check_tools(const char *fields, const char *want, const char *note)
{
    struct form form;
    struct job *job = read_fields(fields, &form);
    check_value(job->ask.conversation.tools, want);
    CHECK(bytes_equal_text(form.note, note));
    job_close(job);
}

static void test_tools(void)
{
    check_tools(
        HI
        ",'tools':[{'name':'f','description':'d','input_schema':{'type':'object','properties':{}},"
        "'strict':true,'cache_control':null},{'type':'custom','name':'g','input_schema':{'type':'"
        "object'}}]",
        "[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':'object'"
        ","
        "'properties':{}}}},{'type':'function','function':{'name':'g','parameters':{'type':'object'"
        "}}}]",
        "");
    check_tools(HI ",'tools':[{'type':'web_search_20250305','name':'web_search'},"
                   "{'type':'bash_20250124','name':'bash'}]",
                "", "tools left out, as they do not run here: web_search_20250305, bash_20250124");
    check_tools(HI ",'tools':[]", "", "");
    // a deferred tool is there when a message brings it in
    check_tools(HI ",'tools':[" TOOL("f", ",'defer_loading':true") "]", "", "");
    check_tools("'tools':[" TOOL("f", ",'defer_loading':true") "," TOOL(
                    "g", ",'defer_loading':true") "],"
                                                  "'messages':[{'role':'user','content':[{'type':'"
                                                  "tool_result','tool_use_id':'a','content':"
                                                  "[{'type':'tool_reference','tool_name':'g'}]}]}]",
                "[{'type':'function','function':{'name':'g','parameters':{'type':'object'}}}]", "");
    check_tools("'tools':[" TOOL("f", ",'defer_loading':true") "],'messages':[" SAYS(
                    "user", "'u'") "," SAYS("system", "[{'type':'tool_addition','tool':{'type':'"
                                                      "tool_reference','tool_name':'f'}}]") "]",
                "[{'type':'function','function':{'name':'f','parameters':{'type':'object'}}}]", "");
}

static void check_choice(const char *choice, bool must, bool one, const char *tool)
{
    struct form form;
    char fields[400];
    snprintf(fields, sizeof(fields),
             HI ",'tools':[" TOOL("f", "") "," TOOL("g", "") "],'tool_choice':%s", choice);
    struct job *job = read_fields(fields, &form);
    CHECK(job->ask.must_call == must && job->ask.one_call == one);
    CHECK(bytes_equal_text(job->ask.must_call_tool, tool));
    job_close(job);
}

static void test_tool_choice(void)
{
    check_choice("{'type':'auto'}", false, false, "");
    check_choice("{'type':'auto','disable_parallel_tool_use':true}", false, true, "");
    check_choice("{'type':'any'}", true, false, "");
    check_choice("{'type':'tool','name':'g'}", true, true, "g");
    check_choice("{'type':'none'}", false, false, "");
    struct form form;
    struct job *job =
        read_fields(HI ",'tools':[" TOOL("f", "") "],'tool_choice':{'type':'none'}", &form);
    CHECK(!job->ask.conversation.tools);
    job_close(job);
}

static void check_thinking(const char *fields, const char *options, int32_t most,
                           enum thoughts thoughts)
{
    struct form form;
    struct job *job = read_fields(fields, &form);
    check_value(job->ask.conversation.options, options);
    CHECK(job->ask.think_most == most && form.thoughts == thoughts);
    job_close(job);
}

#define NO "{'enable_thinking':false,'thinking':false}"
#define HIGH "'reasoning_effort':'high','thinking_effort':'high','enable_thinking':"

static void test_thinking(void)
{
    check_thinking(HI, NO, -1, THOUGHTS_LEFT_OUT);
    check_thinking(HI ",'thinking':{'type':'disabled'}", NO, -1, THOUGHTS_LEFT_OUT);
    check_thinking(HI ",'thinking':{'type':'enabled','budget_tokens':2048}",
                   "{'enable_thinking':true,'thinking':true}", 2048, THOUGHTS_TOLD);
    check_thinking(HI ",'thinking':{'type':'adaptive'}", "", -1, THOUGHTS_TOLD);
    check_thinking(
        HI ",'thinking':{'type':'adaptive','display':'omitted'},'output_config':{'effort':'high'}",
        "{" HIGH "true,'thinking':true}", -1, THOUGHTS_EMPTY);
    check_thinking(HI ",'output_config':{'effort':'xhigh'}", "{" HIGH "false,'thinking':false}", -1,
                   THOUGHTS_LEFT_OUT);
    check_thinking(HI ",'thinking':{'type':'between_tools','display':'summarized'}", "", -1,
                   THOUGHTS_TOLD);
}

// Everything at once, as clients send it.
static const char full[] =
    "{'model':'m','max_tokens':7,'temperature':0.5,'top_p':0.25,'top_k':5,'stop_sequences':['a','"
    "bc'],'stream':true,"
    "'metadata':{'user_id':'u'},'service_tier':'auto','context_management':{'edits':[]},'inference_"
    "geo':null,"
    "'speed':'standard','mcp_servers':[],'container':null,'unknown':{'x':[1,{}]},'output_config':{'"
    "effort':'low','format':"
    "{'type':'json_schema','schema':{'type':'object'}}},'thinking':{'type':'enabled','budget_"
    "tokens':5,'display':null},"
    "'system':[" TEXT("s") "],'tools':[" TOOL(
        "f", "") "],'tool_choice':{'type':'auto'},'messages':"
                 "[" SAYS("user", "[" TEXT("u") "]") "," SAYS(
                     "assistant",
                     "[{'type':'tool_use','id':'a','name':'f'"
                     ",'input':{'b':null}}]") "," SAYS("user", "[{'"
                                                               "type'"
                                                               ":'"
                                                               "tool_"
                                                               "resul"
                                                               "t','"
                                                               "tool_"
                                                               "use_"
                                                               "id':'"
                                                               "a','"
                                                               "conte"
                                                               "nt':"
                                                               "[" TEXT("r") "]}]") "]}";

static void test_full(void)
{
    struct form form;
    struct job *job = read_body(&anthropic_messages, full, &form);
    const struct ask *ask = &job->ask;
    CHECK(ask->chat && form.stream && bytes_equal_text(form.model, "m") && !ask->only_count);
    CHECK(ask->max_tokens == 7 && ask->sampling.top_k == 5 && ask->sampling.temperature == 0.5f &&
          ask->sampling.top_p == 0.25f);
    CHECK(ask->n_stops == 2 && bytes_equal_text(ask->stops[1], "bc"));
    CHECK(ask->constraint.kind == CONSTRAINT_SCHEMA &&
          strcmp(form.constraint, "output_config") == 0);
    CHECK_TEXT(ask->constraint.path, "output_config.format.schema");
    CHECK(ask->conversation.messages->list.n == 4 && ask->conversation.tools->list.n == 1);
    job_close(job);
    job = read_body(&anthropic_count, "{'model':'m','stream':true," HI "}", &form);
    CHECK(job->ask.only_count && !form.stream && job->ask.max_tokens == 0);
    job_close(job);
    job = read_fields(HI ",'output_format':{'type':'json_schema','schema':{'type':'null'}}", &form);
    CHECK_TEXT(job->ask.constraint.path, "output_format.schema");
    CHECK(strcmp(form.constraint, "output_format") == 0);
    job_close(job);
}

// ---- refusals -------------------------------------------------------------------------------

#define USER_HAS(block) "'messages':[" SAYS("user", "[" block "]") "]"
#define ASSISTANT_HAS(block) "'messages':[" SAYS("assistant", "[" block "]") "]"

static const struct {
    const char *fields, *param, *text;
} refused[] = {
    {"'x':1", "messages", "'messages' is missing"},
    {"'messages':[]", "messages", "1 to 4096"},
    {"'messages':'hi'", "messages", "must be an array, not a string"},
    {"'messages':[5]", "messages[0]", "must be an object"},
    {"'messages':[" SAYS("tool", "'x'") "]", "messages[0].role",
     "it must be \"user\", \"assistant\" or"},
    {"'messages':[{'content':'x'}]", "messages[0].role", "is missing"},
    {"'messages':[{'role':'user'}]", "messages[0].content", "is missing"},
    {"'messages':[" SAYS("user", "5") "]", "messages[0].content", "a string or an array of blocks"},
    {"'messages':[" SAYS("system", "[]") "]", "messages", "says nothing"},
    {USER_HAS("5"), "messages[0].content[0]", "must be an object"},
    {USER_HAS("{'text':'x'}"), "messages[0].content[0].type", "is missing"},
    {USER_HAS("{'type':'text'}"), "messages[0].content[0].text", "is missing"},
    {USER_HAS("{'type':'text','text':null}"), "messages[0].content[0].text",
     "must be a string, not null"},
    {USER_HAS("{'type':'image','source':{}}"), "messages[0].content[0]",
     "is an image; this model reads text only"},
    {USER_HAS("{'type':'video'}"), "messages[0].content[0].type", "is \"video\""},
    {USER_HAS("{'type':'tool_use','id':'a','name':'f','input':{}}"), "messages[0].content[0].type",
     "which a message of role \"user\" cannot have"},
    {USER_HAS("{'type':'document'}"), "messages[0].content[0].source", "is missing"},
    {USER_HAS("{'type':'document','source':{'type':'base64'}}"), "messages[0].content[0].source",
     "sent as text only"},
    {USER_HAS("{'type':'document','source':{'type':'text'}}"), "messages[0].content[0].source.data",
     "is missing"},
    {USER_HAS("{'type':'document','title':5,'source':{'type':'text','data':'x'}}"),
     "messages[0].content[0].title", "must be a string, not a number"},
    {USER_HAS("{'type':'search_result','content':[{'type':'image'}]}"),
     "messages[0].content[0].content[0]", "type \"text\""},
    {USER_HAS("{'type':'tool_result','content':'x'}"), "messages[0].content[0].tool_use_id",
     "is missing"},
    {USER_HAS("{'type':'tool_result','tool_use_id':'a','content':5}"),
     "messages[0].content[0].content", "must be a string or an array of blocks"},
    {USER_HAS("{'type':'tool_result','tool_use_id':'a','content':[5]}"),
     "messages[0].content[0].content[0]", "must be an object"},
    {ASSISTANT_HAS("{'type':'tool_result','tool_use_id':'a'}"), "messages[0].content[0].type",
     "role \"assistant\""},
    {ASSISTANT_HAS("{'type':'tool_use','id':'a','name':'f','input':'x'}"),
     "messages[0].content[0].input", "must be an object"},
    {ASSISTANT_HAS("{'type':'tool_use','id':'a','input':{}}"), "messages[0].content[0].name",
     "is missing"},
    {ASSISTANT_HAS("{'type':'tool_use','name':'f','input':{}}"), "messages[0].content[0].id",
     "is missing"},
    {ASSISTANT_HAS("{'type':'thinking'}"), "messages[0].content[0].thinking", "is missing"},
    {HI ",'system':5", "system", "a string or an array of text blocks"},
    {HI ",'system':[{'type':'image'}]", "system[0]", "type \"text\""},
    {HI ",'tools':{}", "tools", "must be an array"},
    {HI ",'tools':[5]", "tools[0]", "must be an object"},
    {HI ",'tools':[{'input_schema':{}}]", "tools[0].name", "is missing"},
    {HI ",'tools':[{'name':'a b','input_schema':{}}]", "tools[0].name", "letters a to z"},
    {HI ",'tools':[{'name':'f'}]", "tools[0].input_schema", "is missing"},
    {HI ",'tools':[{'name':'f','input_schema':{'type':'array'}}]", "tools[0].input_schema",
     "must be \"object\""},
    {HI ",'tools':[" TOOL("f", "") "," TOOL("f", "") "]", "tools[1].name",
     "each function needs a name"},
    {HI ",'tool_choice':'auto'", "tool_choice", "must be an object"},
    {HI ",'tool_choice':{'type':'required'}", "tool_choice.type", "\"any\""},
    {HI ",'tool_choice':{'type':'any'}", "tool_choice", "there are no 'tools'"},
    {HI ",'tools':[" TOOL("f", "") "],'tool_choice':{'type':'tool'}", "tool_choice.name",
     "is missing"},
    {HI ",'tools':[" TOOL("f", "") "],'tool_choice':{'type':'tool','name':'g'}", "tool_choice",
     "not one of the tools"},
    {HI ",'thinking':true", "thinking", "must be an object"},
    {HI ",'thinking':{'type':'on'}", "thinking.type", "\"adaptive\""},
    {HI ",'thinking':{'type':'enabled','budget_tokens':'x'}", "thinking.budget_tokens",
     "a whole number"},
    {HI ",'thinking':{'type':'enabled','display':'x'}", "thinking.display", "\"omitted\""},
    {HI ",'output_config':{'effort':'x'}", "output_config.effort", "low, medium, high"},
    {HI ",'output_config':{'format':{'type':'json'}}", "output_config.format.type",
     "\"json_schema\""},
    {HI ",'output_config':{'format':{'type':'json_schema'}}", "output_config.format.schema",
     "is missing"},
    {HI ",'stop_sequences':'x'", "stop_sequences", "an array of strings"},
    {HI ",'stop_sequences':['']", "stop_sequences", "1 to 512"},
    {HI ",'temperature':3", "temperature", "from 0 to 2"},
    {HI ",'mcp_servers':[{'url':'x'}]", "mcp_servers", "calls no others"},
    {HI ",'container':'c'", "container", "leave it away"},
    {HI ",'thread':{'type':'create'}", "thread", "send all messages"},
};

static bool refuses(const char *body, struct refusal *refusal)
{
    struct form form;
    struct job *job = job_open();
    *refusal = (struct refusal){0};
    const bool good = ask_read(&anthropic_messages, bytes_of(json(body)), job, &form, refusal);
    job_close(job);
    return !good;
}

static void test_refused(void)
{
    struct refusal refusal;
    char body[1000];
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        snprintf(body, sizeof(body), "{'max_tokens':9,%s}", refused[i].fields);
        if (!CHECK(refuses(body, &refusal) && refusal.http == 400 &&
                   strcmp(refusal.param, refused[i].param) == 0 &&
                   strstr(refusal.text, refused[i].text)))
            fprintf(stderr, "    %s\n    %d %s: %s\n", body, refusal.http, refusal.param,
                    refusal.text);
    }
    CHECK(refuses("{" HI "}", &refusal) && strstr(refusal.text, "'max_tokens' is missing"));
}

static bool reads(const uint8_t *p, size_t n)
{
    uint8_t *exact = mem_alloc(n ? n : 1); // ASan sees the first byte behind it
    struct job *job = job_open();
    struct form form;
    struct refusal refusal;
    memcpy(exact, p, n);
    const bool good = ask_read(&anthropic_messages, (struct bytes){exact, n}, job, &form, &refusal);
    job_close(job);
    free(exact);
    return good;
}

static void test_broken(void)
{
    uint8_t whole[sizeof(full)], body[sizeof(full)];
    uint32_t random = 1;
    const size_t n = sizeof(full) - 1;
    memcpy(whole, json(full), n);
    CHECK(reads(whole, n));
    for (size_t i = 0; i < n; i++)
        CHECK(!reads(whole, i));
    for (int round = 0; round < 4000; round++) {
        memcpy(body, whole, n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525u + 1013904223u;
            body[(random >> 8) % n] = "{}[],:\"\\09ent\xff "[random >> 24 & 15];
        }
        (void)reads(body, n);
    }
}

// As many blocks as a body can hold: refused or read, in bounded memory.
static void test_many(void)
{
    static const char head[] = "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[",
                      block[] = "{\"type\":\"tool_result\",\"tool_use_id\":\"\"},",
                      tail[] = "{\"type\":\"text\",\"text\":\"\"}]}]}";
    struct buf body;
    buf_init(&body, BODY_BYTES_MOST);
    CHECK(buf_add(&body, head, sizeof(head) - 1) == OK);
    while (body.n + sizeof(block) + sizeof(tail) < BODY_BYTES_MOST / 4 &&
           buf_add(&body, block, sizeof(block) - 1) == OK) {
    }
    CHECK(buf_add(&body, tail, sizeof(tail) - 1) == OK);
    (void)reads(body.p, body.n);
    buf_free(&body);
}

int main(void)
{
    test_messages();
    test_calls();
    test_blocks();
    test_signature();
    test_tools();
    test_tool_choice();
    test_thinking();
    test_full();
    test_refused();
    test_broken();
    test_many();
    return check_done("api_anthropic");
}
