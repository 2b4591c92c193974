// api_responses.c - the Responses dialect: what requests become, each refusal, the events of a
// stream in their order, and what is kept of a response.
//
// net's and sched's functions are stand-ins that write down what was sent; every JSON sent is
// parsed again here. Texts of JSON are written with ' for ".
#include "../../engine/api/responses.h"
#include "check.h"

#include <stdlib.h>

// ---- the stand-ins --------------------------------------------------------------------------

static struct {
    int http, n_ends, n_cancels;
    struct buf data[128];
    char names[128][64];
    size_t n_data;
} sent;

static struct sched_status state = {.state = SCHED_READY, .model = {.id = "m"}};
static struct api api;

static void keep(const char *name, struct bytes text)
{
    if (CHECK(sent.n_data < COUNT_OF(sent.data))) {
        buf_init(&sent.data[sent.n_data], 64 << 20);
        CHECK(buf_add(&sent.data[sent.n_data], text.p, text.n) == OK);
        snprintf(sent.names[sent.n_data], sizeof(sent.names[0]), "%s", name ? name : "");
        sent.n_data++;
    }
}

void exchange_reply_header(struct exchange *exchange, const char *name, const char *value)
{
    (void)exchange, (void)name, (void)value;
}

void exchange_stream(struct exchange *exchange, int code, const char *content_type)
{
    (void)exchange, (void)content_type;
    CHECK(sent.http == 0);
    sent.http = code;
}

void exchange_reply(struct exchange *exchange, int code, const char *content_type,
                    struct bytes body)
{
    exchange_stream(exchange, code, content_type);
    keep(NULL, body);
    sent.n_ends++;
}

void exchange_last(struct exchange *exchange)
{
    CHECK(exchange != NULL);
}

const char *exchange_id(const struct exchange *exchange)
{
    CHECK(exchange);
    return "req_1a";
}

void exchange_end(struct exchange *exchange)
{
    (void)exchange;
    sent.n_ends++;
}

enum status sse_event(struct exchange *exchange, const char *name, struct bytes json)
{
    CHECK(exchange && sent.n_ends == 0 && name);
    keep(name, json);
    return OK;
}

enum status sse_data(struct exchange *exchange, struct bytes json)
{
    return sse_event(exchange, NULL, json);
}

enum status ndjson_data(struct exchange *exchange, struct bytes json)
{
    return sse_event(exchange, NULL, json);
}

const struct sched_status *sched_status(const struct sched *sched)
{
    (void)sched;
    return &state;
}

void sched_cancel(struct sched *sched, uint64_t job_id)
{
    (void)sched, (void)job_id;
    sent.n_cancels++;
}

struct job *job_open(void)
{
    struct job *made = mem_alloc(sizeof(*made));
    arena_init(&made->arena, 64 << 20);
    sampling_default(&made->ask.sampling);
    made->ask.n_chances = made->ask.think_most = -1;
    return made;
}

enum status sched_submit(struct sched *sched, struct job *next)
{
    (void)sched, (void)next;
    return NO_ROOM;
}

void job_close(struct job *gone)
{
    arena_free(&gone->arena);
    free(gone);
}

// ---- requests -------------------------------------------------------------------------------

static const char *quoted(const char *text)
{
    static char out[8][4000];
    static size_t at;
    char *to = out[at = (at + 1) % COUNT_OF(out)];
    snprintf(to, sizeof(out[0]), "%s", text);
    for (char *p = to; *p; p++)
        if (*p == '\'')
            *p = '"';
    return to;
}

static struct job *job;
static struct form form;
static struct refusal refusal;

static bool ask(const char *body)
{
    job = job_open();
    form = (struct form){.dialect = &openai_responses};
    refusal = (struct refusal){0};
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = &form, .refusal = &refusal};
    return ask_read(&openai_responses, bytes_of(body), job, &form, &refusal) &&
           openai_responses.settle(&api, &r);
}

static void forget(void)
{
    dialect_forget(&openai_responses, form.of_dialect);
    form.of_dialect = NULL;
    job_close(job);
}

static size_t text_of(char *out, size_t size, const struct value *message)
{
    const struct value *calls = value_get(message, "tool_calls"),
                       *thought = value_get(message, "reasoning_content"),
                       *id = value_get(message, "tool_call_id");
    const struct bytes role = value_get(message, "role")->text,
                       content = value_get(message, "content")->text;
    size_t n = (size_t)snprintf(out, size, "%.*s:%.*s", (int)role.n, (const char *)role.p,
                                (int)content.n, content.n ? (const char *)content.p : "");
    if (thought)
        n += (size_t)snprintf(out + n, size - n, "<%s>", (const char *)thought->text.p);
    if (id)
        n += (size_t)snprintf(out + n, size - n, "#%s", (const char *)id->text.p);
    for (size_t i = 0; calls && i < calls->list.n; i++) {
        const struct value *function = value_get(&calls->list.items[i], "function");
        struct json json;
        json_init(&json, 4000);
        value_write(&json, NULL, value_get(function, "arguments"));
        n += (size_t)snprintf(out + n, size - n, " %s#%s%.*s",
                              (const char *)value_get(function, "name")->text.p,
                              (const char *)value_get(&calls->list.items[i], "id")->text.p,
                              (int)json.text.n, (const char *)json.text.p);
        json_free(&json);
    }
    return n;
}

// What the messages become: "role:content<thought>#id name#id{...}|...".
static const char *conversation(const char *body)
{
    static char text[2000];
    size_t n = 0;
    text[0] = 0;
    if (!CHECK(ask(quoted(body))))
        fprintf(stderr, "    %s\n    %s\n", body, refusal.text);
    const struct value *list = job->ask.conversation.messages;
    for (size_t i = 0; list && i < list->list.n; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", i ? "|" : "");
        n += text_of(text + n, sizeof(text) - n, &list->list.items[i]);
    }
    forget();
    return text;
}

static void test_input(void)
{
    CHECK_TEXT(conversation("{'input':'hello','store':false}"), "user:hello");
    CHECK_TEXT(conversation("{'input':'a','instructions':'b','temperature':null}"),
               "system:b|user:a");
    CHECK_TEXT(conversation("{'input':[{'role':'developer','content':'d'},{'type':'message','role':"
                            "'user','content':[{'type':'input_text','text':'x'},{'type':"
                            "'input_text','text':'y'}]}]}"),
               "system:d|user:x\ny");
    // what was thought, said and called is one turn
    CHECK_TEXT(
        conversation("{'input':[{'role':'user','content':'q'},{'type':'reasoning','id':'rs_1',"
                     "'summary':[],'content':[{'type':'reasoning_text','text':'t'}]},{'type':"
                     "'message','role':'assistant','id':'msg_1','status':'completed','content':[{"
                     "'type':'output_text','text':'s','annotations':[]}]},{'type':'function_call',"
                     "'call_id':'c1','name':'f','arguments':'{\\'a\\':1}'},{'type':"
                     "'function_call','call_id':'c2','name':'g','arguments':''},{'type':"
                     "'function_call_output','call_id':'c1','output':'one'},{'type':"
                     "'function_call_output','call_id':'c2','output':[{'type':'output_text','text':"
                     "'two'},{'type':'input_text','text':'three'}]}]}"),
        quoted("user:q|assistant:s<t> f#c1{'a':1} g#c2{}|tool:one#c1|tool:two\nthree#c2"));
    // a thought as a summary, and as we sealed it
    CHECK_TEXT(conversation("{'input':[{'role':'user','content':'q'},{'type':'reasoning','summary':"
                            "[{'type':'summary_text','text':'t'}],'encrypted_content':'x'},{'role':"
                            "'assistant','content':'a'},{'role':'user','content':'r'},{'type':"
                            "'reasoning','summary':[],'encrypted_content':'tawny:u'},{'role':"
                            "'assistant','content':'b'},{'role':'user','content':'s'}]}"),
               "user:q|assistant:a<t>|user:r|assistant:b<u>|user:s");
    // tools that the client runs itself; what is not known is left out
    CHECK_TEXT(
        conversation("{'input':[{'role':'user','content':'q'},{'type':'web_search_call','id':"
                     "'w'},{'type':'custom_tool_call','call_id':'c','name':'apply','input':"
                     "'p'},{'type':'custom_tool_call_output','call_id':'c','output':'ok'},{"
                     "'type':'local_shell_call','id':'l','call_id':null,'action':{'command':"
                     "['ls']}},{'type':'local_shell_call_output','id':'l','output':'{}'},{"
                     "'type':'shell_call_output','call_id':'m','output':[{'stdout':'x'}]}]}"),
        quoted("user:q|assistant: apply#c{'input':'p'}|tool:ok#c|assistant: "
               "local_shell#l{'command':['ls']}|tool:{}#l|tool:[{'stdout':'x'}]#m"));
}

static const struct {
    const char *body, *param, *part;
    int http;
} refused[] = {
    {"{}", "input", "missing", 400},
    {"{'input':null}", "input", "missing", 400},
    {"{'input':5}", "input", "string or an array", 400},
    {"{'input':[]}", "input", "nothing to answer", 400},
    {"{'input':[5]}", "input[0]", "an object", 400},
    {"{'input':[{'x':1}]}", "input[0].type", "missing", 400},
    {"{'input':[{'role':'owl','content':'x'}]}", "input[0].role", "owl", 400},
    {"{'input':[{'role':'user'}]}", "input[0].content", "missing", 400},
    {"{'input':[{'role':'user','content':[{'type':'input_image','image_url':'x'}]}]}",
     "input[0].content[0].type", "text only", 400},
    {"{'input':[{'type':'function_call','name':'f','arguments':'{}'}]}", "input[0].call_id",
     "missing", 400},
    {"{'input':[{'type':'function_call','call_id':'c','arguments':'{}'}]}", "input[0].name",
     "missing", 400},
    {"{'input':[{'type':'function_call','call_id':'c','name':'f','arguments':5}]}",
     "input[0].arguments", "a string or an object", 400},
    {"{'input':[{'type':'custom_tool_call','call_id':'c','name':'f'}]}", "input[0].input",
     "missing", 400},
    {"{'input':[{'type':'function_call_output','output':'x'}]}", "input[0].call_id", "missing",
     400},
    {"{'input':[{'type':'reasoning','summary':5}]}", "input[0].summary", "array of text", 400},
    {"{'input':[{'type':'item_reference'}]}", "input[0].id", "missing", 400},
    {"{'input':[{'type':'item_reference','id':'msg_ab_0'}]}", "input[0].id", "no such item", 404},
    {"{'input':[{'type':'item_reference','id':'_'}]}", "input[0].id", "no such item", 404},
    {"{'input':'x','previous_response_id':'resp_1'}", "previous_response_id", "resp_1", 400},
    {"{'input':'x','previous_response_id':5}", "previous_response_id", "a string", 400},
    {"{'input':'x','instructions':['y']}", "instructions", "a string", 400},
    {"{'input':'x','store':'yes'}", "store", "true or false", 400},
    {"{'input':'x','background':true}", "background", "not supported", 400},
    {"{'input':'x','conversation':'c'}", "conversation", "not supported", 400},
    {"{'input':'x','prompt':{'id':'p'}}", "prompt", "not supported", 400},
    {"{'input':'x','truncation':'some'}", "truncation", "disabled", 400},
    {"{'input':'x','include':'y'}", "include", "array of strings", 400},
    {"{'input':'x','include':['y']}", "include", "y", 400},
    {"{'input':'x','metadata':[]}", "metadata", "an object", 400},
    {"{'input':'x','metadata':{'k':1}}", "metadata.k", "a string", 400},
    {"{'input':'x','service_tier':'best'}", "service_tier", "best", 400},
    {"{'input':'x','text':{'verbosity':'some'}}", "text.verbosity", "some", 400},
    {"{'input':'x','reasoning':{'summary':'long'}}", "reasoning.summary", "long", 400},
    {"{'input':'x','max_output_tokens':0}", "max_output_tokens", "from 1", 400},
    {"{'input':'x','top_logprobs':21}", "top_logprobs", "20", 400},
    {"{'input':'x','reasoning':{'effort':'huge'}}", "reasoning.effort", "huge", 400},
    {"{'input':'x','reasoning':{'summary':5}}", "reasoning.summary", "auto", 400},
    {"{'input':'x','text':'y'}", "text", "an object", 400},
    {"{'input':'x','text':{'format':{'type':'xml'}}}", "text.format.type", "xml", 400},
    {"{'input':'x','text':{'format':{'type':'json_schema','name':'n'}}}", "text.format.schema",
     "missing", 400},
    {"{'input':'x','text':{'format':{'type':'json_object'}},'grammar':'root ::= \\'a\\''}",
     "grammar", "both", 400},
    {"{'input':'x','tools':{}}", "tools", "an array", 400},
    {"{'input':'x','tools':[5]}", "tools[0]", "an object", 400},
    {"{'input':'x','tools':[{}]}", "tools[0].type", "missing", 400},
    {"{'input':'x','tools':[{'type':'function'}]}", "tools[0].name", "missing", 400},
    {"{'input':'x','tools':[{'type':'function','name':'a b'}]}", "tools[0].name", "a b", 400},
    {"{'input':'x','tools':[{'type':'function','name':'f','parameters':{'type':'array'}}]}",
     "tools[0].parameters", "object", 400},
    {"{'input':'x','tools':[{'type':'function','name':'f'},{'type':'custom','name':'f'}]}",
     "tools[1].name", "name of its own", 400},
    {"{'input':'x','tool_choice':'required','tools':[{'type':'web_search'}]}", "tool_choice",
     "no 'tools'", 400},
    {"{'input':'x','tool_choice':{'type':'function','name':'g'},'tools':[{'type':'function',"
     "'name':'f'}]}",
     "tool_choice", "tools: there are f.", 400},
    {"{'input':'x','tool_choice':{'type':'custom','name':'q'},'tools':[{'type':'custom',"
     "'name':'p'}]}",
     "tool_choice", "tools: there are p.", 400},
};

static void test_refused(void)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        const bool taken = ask(quoted(refused[i].body));
        if (!CHECK(!taken && refusal.http == refused[i].http &&
                   strcmp(refusal.param, refused[i].param) == 0 &&
                   strstr(refusal.text, refused[i].part)))
            fprintf(stderr, "    %s\n    %d %s: %s\n", refused[i].body, refusal.http, refusal.param,
                    refusal.text);
        forget();
    }
}

static const char tools[] =
    "{'input':'x','tools':[{'type':'namespace','name':'n','tools':[]},{'type':'function','name':'f'"
    ",'description':'d','parameters':{'type':'object','properties':{}},'strict':true},{'type':"
    "'web_search'},{'type':'custom','name':'p','description':'e','format':{'type':'grammar',"
    "'syntax':'lark','definition':'start: X'}}],'tool_choice':'auto','parallel_tool_calls':false,"
    "'max_output_tokens':9,'reasoning':{'effort':'low','summary':'auto'},'text':{'format':{'type':"
    "'json_schema','name':'n','schema':{'type':'object'},'strict':true},'verbosity':'low'},"
    "'include':['reasoning.encrypted_content','message.output_text.logprobs'],'top_logprobs':2,"
    "'metadata':{'k':'v'},'truncation':'auto','user':'u','prompt_cache_key':'c','client_metadata':"
    "{'a':1},'temperature':0.5,'top_p':0.25,'seed':3,'background':false,'service_tier':'auto'}";

static void test_fields(void)
{
    struct json json;
    CHECK(ask(quoted(tools)));
    const struct response *response = form.of_dialect;
    CHECK(job->ask.max_tokens == 9 && job->ask.one_call && job->ask.n_chances == 2);
    CHECK(response->store && response->summary && response->encrypted && response->logprobs);
    CHECK(job->ask.constraint.kind == CONSTRAINT_SCHEMA);
    CHECK_TEXT(job->ask.constraint.path, "text.format.schema");
    CHECK_TEXT(form.constraint, "text.format");
    json_init(&json, 4000);
    value_write(&json, NULL, job->ask.conversation.tools);
    CHECK(buf_add(&json.text, "", 1) == OK);
    CHECK_TEXT((const char *)json.text.p,
               quoted("[{'type':'function','function':{'name':'f','description':'d','parameters':{"
                      "'type':'object','properties':{}},'strict':true}},{'type':'function',"
                      "'function':{'name':'p','description':'e\\nThe input must match this "
                      "grammar:\\nstart: X','parameters':{'type':'object','properties':{'input':{"
                      "'type':'string'}},'required':['input']}}}]"));
    json_free(&json);
    CHECK(bytes_equal_text(buf_view(&response->custom), "\np\n"));
    forget();
}

// Every truncation of a full request: never taken, never a crash.
static void test_truncated(void)
{
    const char *full = quoted(tools);
    char body[4000];
    snprintf(body, sizeof(body), "%s", full);
    for (size_t n = strlen(body); n-- > 0;) {
        body[n] = 0;
        CHECK(!ask(body));
        forget();
    }
}

// ---- answers --------------------------------------------------------------------------------

static struct reply reply;

static void begin(const char *name, const char *body, bool stream)
{
    static int exchange;
    while (sent.n_data > 0)
        buf_free(&sent.data[--sent.n_data]);
    memset(&sent, 0, sizeof(sent));
    if (!CHECK(ask(quoted(body))))
        fprintf(stderr, "    %s\n", refusal.text);
    reply = (struct reply){.api = &api,
                           .exchange = (struct exchange *)&exchange,
                           .dialect = &openai_responses,
                           .stream = stream,
                           .logprobs = form.logprobs,
                           .of_dialect = form.of_dialect,
                           .asked_ms = clock_ms(),
                           .written_ms = clock_ms()};
    snprintf(reply.name, sizeof(reply.name), "%s", name);
    buf_init(&reply.text, ANSWER_BYTES_MOST);
    buf_init(&reply.thinking, ANSWER_BYTES_MOST);
    buf_init(&reply.chances, SIZE_MAX);
    form.of_dialect = NULL;
    forget();
}

static void happens(enum event_kind kind, enum answer_channel channel, const char *id,
                    const char *text)
{
    const size_t n_id = strlen(id), n = strlen(text);
    struct event *event = mem_alloc(sizeof(*event) + n_id + n + 1);
    event->kind = kind;
    event->channel = channel;
    event->n_id = n_id;
    event->n_text = n_id + n;
    event->usage =
        (struct usage){.n_prompt = 10, .n_prompt_cached = 4, .n_generated = 3, .n_thinking = 1};
    memcpy(event->text, id, n_id);
    memcpy(event->text + n_id, text, n);
    reply_event(&reply, event);
    free(event);
}

static void chance(const char *text, float log)
{
    const uint16_t n = (uint16_t)strlen(text);
    struct event *event = mem_alloc(sizeof(*event) + 100);
    event->kind = EVENT_CHANCE;
    memcpy(event->text, &log, sizeof(log));
    memcpy(event->text + 4, &n, sizeof(n));
    memcpy(event->text + 6, text, n);
    event->n_text = 6 + n + sizeof(int32_t); // and an id of 0
    reply_event(&reply, event);
    free(event);
}

static void finishes(enum finish finish)
{
    struct event *event = mem_alloc(sizeof(*event));
    event->kind = EVENT_DONE;
    event->finish = finish;
    event->usage =
        (struct usage){.n_prompt = 10, .n_prompt_cached = 4, .n_generated = 3, .n_thinking = 1};
    reply_event(&reply, event);
    CHECK(!reply.exchange && sent.n_ends == 1);
    reply_clear(&reply);
    free(event);
}

// A member of the n-th JSON sent, by a JSON pointer, as text.
static const char *sent_at(size_t n, const char *pointer)
{
    static char out[4][2000];
    static size_t at;
    char *text = out[at = (at + 1) % COUNT_OF(out)];
    yyjson_doc *doc =
        n < sent.n_data ? yyjson_read((char *)sent.data[n].p, sent.data[n].n, 0) : NULL;
    CHECK(doc != NULL);
    yyjson_val *value = doc ? yyjson_doc_ptr_get(doc, pointer) : NULL;
    char *written = value ? yyjson_val_write(value, 0, NULL) : NULL;
    snprintf(text, sizeof(out[0]), "%s", written ? written : "?");
    free(written);
    for (char *p = text; *p; p++)
        if (*p == '"')
            *p = '\'';
    yyjson_doc_free(doc);
    return text;
}

static void says(bool stop)
{
    happens(EVENT_STARTED, 0, "", "");
    happens(EVENT_TEXT, ANSWER_THINKING, "", "th");
    happens(EVENT_TEXT, ANSWER_THINKING, "", "ink");
    happens(EVENT_TEXT, ANSWER_CONTENT, "", "sa\xc3\xa4");
    happens(EVENT_TEXT, ANSWER_CONTENT, "", "y");
    happens(EVENT_TEXT, ANSWER_TOOL_NAME, "call_1", "f");
    happens(EVENT_TEXT, ANSWER_TOOL_ARGUMENTS, "", "{\"a\":");
    happens(EVENT_TEXT, ANSWER_TOOL_ARGUMENTS, "", "1}");
    happens(EVENT_TEXT, ANSWER_TOOL_NAME, "call_2", "p");
    happens(EVENT_TEXT, ANSWER_TOOL_ARGUMENTS, "", "{\"input\":");
    happens(EVENT_TEXT, ANSWER_TOOL_ARGUMENTS, "", "\"x\\ny\"}");
    finishes(stop ? FINISH_STOP : FINISH_LENGTH);
}

#define TOOLS "'tools':[{'type':'function','name':'f'},{'type':'custom','name':'p'}],'store':false"

static void test_stream(void)
{
    static const char *const names[] = {
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    };
    static const size_t done[] = {8, 15, 20, 24};
    begin("resp_ab", "{'input':'q'," TOOLS "}", true);
    says(true);
    CHECK(sent.n_data == COUNT_OF(names));
    for (size_t i = 0; i < sent.n_data && i < COUNT_OF(names); i++) {
        char number[32], type[80];
        CHECK_TEXT(sent.names[i], names[i]);
        snprintf(type, sizeof(type), "'%s'", names[i]);
        CHECK_TEXT(sent_at(i, "/type"), type);
        snprintf(number, sizeof(number), "%zu", i);
        CHECK_TEXT(sent_at(i, "/sequence_number"), number);
    }
    CHECK_TEXT(sent_at(0, "/response/status"), "'in_progress'");
    CHECK_TEXT(sent_at(0, "/response/output"), "[]");
    CHECK_TEXT(sent_at(0, "/response/usage"), "null");
    CHECK_TEXT(sent_at(2, "/item"),
               "{'id':'rs_ab_1','type':'reasoning','status':'in_progress','summary':[],'content':[]"
               "}");
    CHECK_TEXT(sent_at(3, "/part"), "{'type':'reasoning_text','text':''}");
    CHECK_TEXT(sent_at(5, "/delta"), "'ink'");
    CHECK_TEXT(sent_at(6, "/text"), "'think'");
    CHECK_TEXT(sent_at(9, "/item"), "{'id':'msg_ab_2','type':'message','status':'in_progress',"
                                    "'role':'assistant','content':[]}");
    CHECK_TEXT(sent_at(11, ""), "{'type':'response.output_text.delta','sequence_number':11,"
                                "'item_id':'msg_ab_2','output_index':1,'content_index':0,'delta':"
                                "'sa\xc3\xa4','logprobs':[]}");
    CHECK_TEXT(sent_at(14, "/part"),
               "{'type':'output_text','text':'sa\xc3\xa4y','annotations':[],'logprobs':[]}");
    CHECK_TEXT(sent_at(16, "/item"), "{'id':'fc_ab_3','type':'function_call','status':"
                                     "'in_progress','call_id':'call_1','name':'f','arguments':''}");
    CHECK_TEXT(sent_at(19, "/arguments"), "'{\\'a\\':1}'");
    CHECK_TEXT(sent_at(24, "/item"),
               "{'id':'ctc_ab_4','type':'custom_tool_call','status':'completed','call_id':'call_2',"
               "'name':'p','input':'x\\ny'}");
    for (size_t i = 0; i < COUNT_OF(done); i++) {
        char pointer[40];
        snprintf(pointer, sizeof(pointer), "/response/output/%zu", i);
        CHECK_TEXT(sent_at(25, pointer), sent_at(done[i], "/item"));
    }
    CHECK_TEXT(sent_at(25, "/response/usage"),
               "{'input_tokens':10,'input_tokens_details':{'cached_tokens':4},'output_tokens':3,"
               "'output_tokens_details':{'reasoning_tokens':1},'total_tokens':13}");
    CHECK_TEXT(sent_at(25, "/response/status"), "'completed'");
    CHECK(api.kept->n == 0 && api.kept->n_bytes == 0); // it was not to be stored
}

// What was written of a custom tool's input before the tokens ended, without a half escape.
static void test_cut_input(void)
{
    static const struct {
        const char *arguments, *input;
    } vectors[] = {
        {"{\"input\":\"x\\ny", "'x\\ny'"},
        {"{\"input\":\"x\\", "'x'"},
        {"{\"input\":\"x\\u00e", "'x'"},
        {"{\"input\":\"x\\ud83d\\ude0", "'x'"},
        {"{\"input\":\"x\"", "'x'"},
        {"{\"input\":", "''"},
        {"{\"inp", "''"},
        {"", "''"},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        begin("resp_ab", "{'input':'q'," TOOLS "}", false);
        happens(EVENT_TEXT, ANSWER_TOOL_NAME, "call_2", "p");
        happens(EVENT_TEXT, ANSWER_TOOL_ARGUMENTS, "", vectors[i].arguments);
        finishes(FINISH_LENGTH);
        CHECK_TEXT(sent_at(0, "/output/0/input"), vectors[i].input);
    }
}

// A tool that is wanted is named as tools of its kind are.
static void test_custom_choice(void)
{
    CHECK(ask(quoted("{'input':'x'," TOOLS ",'tool_choice':{'type':'custom','name':'p'}}")));
    CHECK(job->ask.must_call && bytes_equal_text(job->ask.must_call_tool, "p"));
    forget();
}

// A whole answer has the items of the stream; one that is cut off says so.
static void test_whole(void)
{
    char output[2000];
    begin("resp_ab", "{'input':'q'," TOOLS "}", true);
    says(true);
    snprintf(output, sizeof(output), "%s", sent_at(25, "/response/output"));
    begin("resp_ab", "{'input':'q'," TOOLS "}", false);
    says(true);
    CHECK(sent.n_data == 1 && sent.http == 200);
    CHECK_TEXT(sent_at(0, "/output"), output);
    CHECK_TEXT(sent_at(0, "/object"), "'response'");
    begin("resp_ab", "{'input':'q'," TOOLS "}", false);
    says(false);
    CHECK_TEXT(sent_at(0, "/status"), "'incomplete'");
    CHECK_TEXT(sent_at(0, "/incomplete_details"), "{'reason':'max_output_tokens'}");
    CHECK_TEXT(sent_at(0, "/output/2/status"), "'completed'");
    CHECK_TEXT(sent_at(0, "/output/3/status"), "'incomplete'");
}

// A thought as a summary, sealed; log-probabilities; what the answer repeats of its request.
static void test_extras(void)
{
    begin("resp_cd", tools, true);
    happens(EVENT_STARTED, 0, "", "");
    happens(EVENT_TEXT, ANSWER_THINKING, "", "t");
    chance("a", -0.5f);
    happens(EVENT_TEXT, ANSWER_CONTENT, "", "a");
    chance("b", -1.0f);
    happens(EVENT_TEXT, ANSWER_CONTENT, "", "b");
    finishes(FINISH_STOP);
    const size_t last = sent.n_data - 1;
    CHECK_TEXT(sent.names[3], "response.reasoning_summary_part.added");
    CHECK_TEXT(sent.names[4], "response.reasoning_summary_text.delta");
    CHECK_TEXT(sent.names[5], "response.reasoning_summary_text.done");
    CHECK_TEXT(sent.names[6], "response.reasoning_summary_part.done");
    CHECK_TEXT(sent_at(4, "/summary_index"), "0");
    CHECK_TEXT(sent_at(7, "/item"), "{'id':'rs_cd_1','type':'reasoning','status':'completed',"
                                    "'summary':[{'type':'summary_text','text':'t'}],'content':[],"
                                    "'encrypted_content':'tawny:t'}");
    CHECK_TEXT(sent_at(11, "/logprobs"),
               "[{'token':'b','logprob':-1,'bytes':[98],'top_logprobs':[]}]");
    CHECK_TEXT(sent_at(last, "/response/output/1/content/0/logprobs/0/logprob"), "-0.5");
    CHECK_TEXT(sent_at(last, "/response/output/1/content/0/logprobs/1/token"), "'b'");
    CHECK_TEXT(sent_at(last, "/response/tools/0/type"), "'namespace'");
    CHECK_TEXT(sent_at(last, "/response/tool_choice"), "'auto'");
    CHECK_TEXT(sent_at(last, "/response/text/format/type"), "'json_schema'");
    CHECK_TEXT(sent_at(last, "/response/reasoning"), "{'effort':'low','summary':'auto'}");
    CHECK_TEXT(sent_at(last, "/response/metadata"), "{'k':'v'}");
    CHECK_TEXT(sent_at(last, "/response/temperature"), "0.5");
    CHECK_TEXT(sent_at(last, "/response/parallel_tool_calls"), "false");
    CHECK_TEXT(sent_at(last, "/response/max_output_tokens"), "9");
}

static void test_failures(void)
{
    struct event event = {.kind = EVENT_FAILED};
    begin("resp_ab", "{'input':'q'}", true);
    err_set(&event.err, TOO_LARGE, "too long");
    reply_event(&reply, &event); // before the head: a plain refusal
    CHECK(sent.http == 400 && sent.n_data == 1);
    CHECK_TEXT(sent_at(0, "/error/code"), "'context_length_exceeded'");
    CHECK_TEXT(sent_at(0, "/error/param"), "'input'");
    reply_clear(&reply);
    begin("resp_ab", "{'input':'q'}", true);
    happens(EVENT_STARTED, 0, "", "");
    happens(EVENT_TEXT, ANSWER_CONTENT, "", "a");
    err_set(&event.err, BROKEN, "no number");
    reply_event(&reply, &event);
    CHECK_TEXT(sent.names[sent.n_data - 2], "error");
    CHECK_TEXT(sent_at(sent.n_data - 2, "/message"), "'no number'");
    CHECK_TEXT(sent.names[sent.n_data - 1], "response.failed");
    CHECK_TEXT(sent_at(sent.n_data - 1, "/response/status"), "'failed'");
    CHECK_TEXT(sent_at(sent.n_data - 1, "/response/error"),
               "{'code':'model_broken','message':'no number'}");
    reply_clear(&reply);
    // an answer that is over what is told again ends with a failure
    char *text = mem_alloc((1 << 20) + 1);
    memset(text, 'x', 1 << 20);
    begin("resp_ab", "{'input':'q'}", false);
    for (int i = 0; i < 3 && reply.exchange; i++)
        happens(EVENT_TEXT, ANSWER_CONTENT, "", text);
    CHECK(!reply.exchange && sent.n_cancels == 1 && sent.http == 500);
    CHECK(strstr(sent_at(0, "/error/message"), "too long"));
    reply_clear(&reply);
    free(text);
    CHECK(api.kept->n == 0);
}

// Sign of life: the state again, with the next number.
static void test_alive(void)
{
    begin("resp_ab", "{'input':'q'}", true);
    reply_tick(&reply, reply.asked_ms + HEAD_MS);
    CHECK(sent.n_data == 2 && sent.http == 200);
    reply_tick(&reply, reply.written_ms + HEARTBEAT_MS);
    CHECK(sent.n_data == 3);
    CHECK_TEXT(sent.names[2], "response.in_progress");
    CHECK_TEXT(sent_at(2, "/sequence_number"), "2");
    finishes(FINISH_STOP);
    kept_close(api.kept);
    api.kept = kept_open();
}

// ---- what is kept ---------------------------------------------------------------------------

static void answer(const char *name, const char *body)
{
    begin(name, body, false);
    happens(EVENT_TEXT, ANSWER_CONTENT, "", name);
    finishes(FINISH_STOP);
}

static void test_kept(void)
{
    answer("resp_a1", "{'input':'one','instructions':'i'}");
    answer("resp_a2", "{'input':'two','previous_response_id':'resp_a1'}");
    CHECK(api.kept->n == 2);
    CHECK_TEXT(
        conversation("{'input':'three','previous_response_id':'resp_a2','instructions':'j'}"),
        "system:j|user:one|assistant:resp_a1|user:two|assistant:resp_a2|user:three");
    CHECK_TEXT(conversation("{'previous_response_id':'resp_a1'}"), "user:one|assistant:resp_a1");
    // two ways on from one response
    CHECK_TEXT(conversation("{'input':[{'type':'item_reference','id':'msg_a2_0'},{'id':'msg_a1_1'}"
                            ",{'role':'user','content':'x'}]}"),
               "user:two|assistant:resp_a1|user:x");
    struct kept_response *first = kept_find(api.kept, 0, bytes_of("resp_a1"));
    CHECK(first && !kept_find(api.kept, 1, bytes_of("resp_a1")));
    CHECK(!kept_find(api.kept, 0, bytes_of("resp_a")));
    // what follows a response outlives it
    kept_remove(api.kept, first);
    CHECK(!kept_find(api.kept, 0, bytes_of("resp_a1")));
    CHECK_TEXT(conversation("{'input':'three','previous_response_id':'resp_a2'}"),
               "user:one|assistant:resp_a1|user:two|assistant:resp_a2|user:three");
    // time
    kept_find(api.kept, 0, bytes_of("resp_a2"))->until_ms = 0;
    CHECK(!kept_find(api.kept, 0, bytes_of("resp_a2")));
    CHECK(api.kept->n == 0 && api.kept->n_bytes == 0);
}

// References that would have much read again and again are refused.
static void test_look_ups(void)
{
    const size_t n_text = 1 << 20, n_most = RESPONSE_LOOK_UPS / n_text;
    char *text = mem_alloc(n_text + 64), *body = mem_alloc(64 * (n_most + 2));
    size_t n = (size_t)snprintf(body, 64, "{\"input\":[");
    memset(text, 'x', n_text);
    memcpy(text, "\"", 1);
    text[n_text - 1] = '"';
    struct buf object;
    buf_init(&object, SIZE_MAX);
    CHECK(buf_add(&object, "{}", 2) == OK);
    struct kept_items *input =
        kept_items_make(api.kept, NULL, bytes_of("{\"role\":\"user\",\"content\":\"u\"}"), 1);
    char both[] = "{\"role\":\"assistant\",\"content\":\"a\"},";
    char *all = mem_alloc(sizeof(both) + n_text);
    memcpy(all, both, sizeof(both) - 1);
    memcpy(all + sizeof(both) - 1, text, n_text);
    kept_add(api.kept, 0, "resp_b1",
             kept_items_make(api.kept, input,
                             (struct bytes){(const uint8_t *)all, sizeof(both) - 1 + n_text}, 2),
             object);
    for (size_t i = 0; i < n_most; i++) // the last is too much
        n += (size_t)snprintf(body + n, 64, "%s{\"id\":\"msg_b1_1\"}", i ? "," : "");
    snprintf(body + n, 64, "]}");
    CHECK(!ask(body) && refusal.http == 400 && strstr(refusal.text, "references up to"));
    forget();
    free(text);
    free(body);
    free(all);
    kept_remove(api.kept, kept_find(api.kept, 0, bytes_of("resp_b1")));
}

static void test_room(void)
{
    char name[32];
    const size_t n_text = 1 << 20, n_most = RESPONSES_KEPT_BYTES / n_text;
    char *text = mem_alloc(n_text);
    memset(text, 'x', n_text);
    for (size_t i = 0; i < n_most + 20; i++) {
        struct buf object;
        buf_init(&object, SIZE_MAX);
        CHECK(buf_add(&object, "{}", 2) == OK);
        struct kept_items *input =
            kept_items_make(api.kept, NULL, (struct bytes){(const uint8_t *)text, n_text}, 1);
        snprintf(name, sizeof(name), "resp_%zu", i);
        kept_add(api.kept, 0, name, kept_items_make(api.kept, input, bytes_of("{}"), 1), object);
        CHECK(kept_find(api.kept, 0, bytes_of("resp_0"))); // used all the time
        CHECK(api.kept->n_bytes <= RESPONSES_KEPT_BYTES);
    }
    CHECK(api.kept->n >= n_most - 2 && !kept_find(api.kept, 0, bytes_of("resp_1")));
    CHECK(kept_find(api.kept, 0, bytes_of(name)));
    free(text);
    for (size_t i = 0; i < RESPONSES_KEPT_MOST + 5; i++) {
        struct buf object;
        buf_init(&object, SIZE_MAX);
        struct kept_items *input = kept_items_make(api.kept, NULL, bytes_of("{}"), 1);
        kept_add(api.kept, 0, "resp_x", kept_items_make(api.kept, input, bytes_of("{}"), 1),
                 object);
    }
    CHECK(api.kept->n == RESPONSES_KEPT_MOST);
}

int main(void)
{
    api.kept = kept_open();
    test_input();
    test_refused();
    test_fields();
    test_truncated();
    test_stream();
    test_cut_input();
    test_custom_choice();
    test_whole();
    kept_close(api.kept);
    api.kept = kept_open();
    test_extras();
    kept_close(api.kept);
    api.kept = kept_open();
    test_failures();
    test_alive();
    test_kept();
    test_look_ups();
    test_room();
    kept_close(api.kept);
    return check_done("api_responses");
}
