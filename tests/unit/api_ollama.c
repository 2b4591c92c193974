// api_ollama.c - the bodies of Ollama's requests: what is taken, each refusal with a part of its
// sentence, which call a tool's answer belongs to, and `context` there and back.
//
// Also every truncation of a full request (never accepted, never a crash under ASan) and a few
// thousand seeded mutations of it, and of a context.
#include "../../engine/api/ollama.h"
#include "check.h"

#include <stdlib.h>

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"u\"}]"
#define TOOL                                                                                       \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{"   \
    "\"type\":\"object\",\"properties\":{}}}}"

// What Home Assistant 2026 sends, with what else there is.
static const char full[] =
    "{\"model\":\"m:latest\",\"stream\":true,\"options\":{\"num_ctx\":8192,\"num_predict\":7,"
    "\"temperature\":0.5,\"top_k\":5,\"top_p\":0.25,\"min_p\":0.125,\"typical_p\":0.75,\"tfs_z\":1,"
    "\"seed\":42,\"stop\":[\"a\",\"bc\"],\"repeat_penalty\":1.5,\"repeat_last_n\":33,"
    "\"presence_penalty\":1.5,\"frequency_penalty\":1,\"mirostat\":2,\"mirostat_tau\":4,"
    "\"mirostat_eta\":0.5,\"num_keep\":5,\"penalize_newline\":true,\"numa\":false,\"num_batch\":2,"
    "\"num_gpu\":1,\"main_gpu\":0,\"use_mmap\":true,\"num_thread\":8,\"draft_num_predict\":4,"
    "\"unknown\":[]},\"keep_alive\":-1,\"think\":false,\"format\":null,\"logprobs\":true,"
    "\"top_logprobs\":3,\"truncate\":true,\"shift\":false,\"tools\":[" TOOL "],\"messages\":["
    "{\"role\":\"system\",\"content\":\"s\",\"images\":null},{\"role\":\"user\",\"content\":[{"
    "\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"two\"}],\"images\":[]},"
    "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{"
    "\"name\":\"f\",\"arguments\":{\"a\":1}}},{\"function\":{\"index\":1,\"name\":\"g\","
    "\"arguments\":\"{\\\"b\\\":[2]}\"}}]},{\"role\":\"tool\",\"content\":\"of g\",\"tool_name\":"
    "\"g\"},{\"role\":\"tool\",\"content\":\"of f\"}]}";

static bool reads_as(const struct dialect *dialect, struct bytes body, struct job *job,
                     struct form *form, struct refusal *refusal)
{
    *refusal = (struct refusal){0};
    return ask_read(dialect, body, job, form, refusal);
}

// A body that must be taken; the job is the caller's to close.
static struct job *taken(const struct dialect *dialect, const char *body, struct form *form)
{
    struct job *job = job_open();
    struct refusal refusal;
    if (!CHECK(reads_as(dialect, bytes_of(body), job, form, &refusal)))
        fprintf(stderr, "    %s\n    %s\n", body, refusal.text);
    return job;
}

static const char *messages_of(const struct job *job)
{
    static char text[2000];
    struct json json;
    json_init(&json, sizeof(text));
    if (job->ask.conversation.messages)
        value_write(&json, NULL, job->ask.conversation.messages);
    snprintf(text, sizeof(text), "%.*s", (int)json.text.n, (const char *)json.text.p);
    json_free(&json);
    return text;
}

static void test_full(void)
{
    struct form form;
    struct job *job = taken(&ollama_chat, full, &form);
    const struct sampling *p = &job->ask.sampling;
    const struct ollama_ask *asked = form.asked;
    CHECK(job->ask.chat && form.stream && bytes_equal_text(form.model, "m:latest"));
    CHECK(bytes_equal_text(asked->model, "m:latest") && asked->n_ctx == 8192);
    CHECK(!asked->nothing && !asked->generate);
    CHECK(job->ask.max_tokens == 7 && p->seed == 42 && p->top_k == 5 && p->repeat_last_n == 33);
    CHECK(p->temperature == 0.5f && p->top_p == 0.25f && p->min_p == 0.125f);
    CHECK(p->typical_p == 0.75f && p->repeat_penalty == 1.5f && p->presence_penalty == 1.5f);
    CHECK(p->frequency_penalty == 1.0f && p->mirostat == 2 && p->mirostat_tau == 4.0f);
    CHECK(job->ask.n_stops == 2 && bytes_equal_text(job->ask.stops[1], "bc"));
    CHECK(form.thinks == SAID_NO && form.logprobs && job->ask.n_chances == 3);
    CHECK(job->ask.conversation.tools && job->ask.conversation.tools->list.n == 1);
    CHECK_TEXT(messages_of(job),
               "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
               "\"one\\ntwo\"},{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":"
               "\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}},"
               "\"type\":\"function\",\"id\":\"call00000\"},{\"function\":{\"name\":\"g\","
               "\"arguments\":{\"b\":[2]}},\"type\":\"function\",\"id\":\"call00001\"}]},{\"role\":"
               "\"tool\",\"content\":\"of g\",\"name\":\"g\",\"tool_call_id\":\"call00001\"},{"
               "\"role\":\"tool\",\"content\":\"of f\",\"name\":\"f\",\"tool_call_id\":"
               "\"call00000\"}]");
    job_close(job);
}

// Ids that a client has are kept; an answer to no call stays as it is.
static void test_ids(void)
{
    struct form form;
    struct job *job = taken(
        &ollama_chat,
        "{\"messages\":[{\"role\":\"user\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"x\","
        "\"function\":{\"name\":\"f\",\"arguments\":{}}}]},{\"role\":\"tool\",\"tool_call_id\":"
        "\"x\",\"content\":\"1\"},{\"role\":\"tool\",\"content\":\"2\"},{\"role\":\"tool\","
        "\"tool_name\":\"h\",\"content\":\"3\"}]}",
        &form);
    CHECK_TEXT(messages_of(job),
               "[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":\"\","
               "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}},\"type\":"
               "\"function\",\"id\":\"x\"}]},{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":"
               "\"x\",\"name\":\"f\"},{\"role\":\"tool\",\"content\":\"2\"},{\"role\":\"tool\","
               "\"content\":\"3\",\"name\":\"h\"}]");
    job_close(job);
}

static void test_good(void)
{
    static const struct {
        const struct dialect *dialect;
        const char *body;
        bool nothing, unload;
    } vectors[] = {
        {&ollama_chat, "{}", true, false},
        {&ollama_chat, "{\"messages\":[]}", true, false},
        {&ollama_chat, "{\"messages\":[],\"keep_alive\":0}", true, true},
        {&ollama_chat, "{\"messages\":[],\"keep_alive\":\"0s\"}", true, true},
        {&ollama_chat, "{\"messages\":[],\"keep_alive\":\"0\"}", true, true},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"5m\"}", false, false},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"-1s\"}", false, false},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"1h30m\"}", false, false},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"10ms\"}", false, false},
        {&ollama_chat, "{" USER ",\"keep_alive\":1.5,\"format\":\"\",\"options\":null}", false,
         false},
        {&ollama_chat,
         "{" USER ",\"options\":{\"num_predict\":-2,\"seed\":-1,\"top_k\":null,"
         "\"stop\":\"x\"},\"think\":\"max\",\"tools\":null}",
         false, false},
        {&ollama_generate, "{\"prompt\":\"\"}", true, false},
        {&ollama_generate, "{\"keep_alive\":0}", true, true},
        {&ollama_generate,
         "{\"prompt\":\"x\",\"suffix\":\"\",\"template\":\"\",\"system\":\"\","
         "\"images\":[],\"context\":[],\"raw\":false,\"stream\":false}",
         false, false},
        {&ollama_generate, "{\"prompt\":\"x\",\"raw\":true,\"format\":{\"type\":\"object\"}}",
         false, false},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct form form;
        struct job *job = taken(vectors[i].dialect, vectors[i].body, &form);
        const struct ollama_ask *asked = form.asked;
        if (!CHECK(asked->nothing == vectors[i].nothing &&
                   (job->ask.keep_s == 0) == vectors[i].unload))
            fprintf(stderr, "    %s\n", vectors[i].body);
        CHECK(job->ask.max_tokens == 0);
        job_close(job);
    }
}

static void test_constraints(void)
{
    struct form form;
    struct job *job = taken(&ollama_chat, "{" USER ",\"format\":\"json\"}", &form);
    CHECK(job->ask.constraint.kind == CONSTRAINT_JSON && form.constraint);
    CHECK_TEXT(form.constraint, "format");
    CHECK_TEXT(job->ask.constraint.path, "format");
    job_close(job);
    job = taken(&ollama_generate, "{\"prompt\":\"x\",\"format\":{\"type\":\"null\"}}", &form);
    CHECK(job->ask.constraint.kind == CONSTRAINT_SCHEMA &&
          value_get(job->ask.constraint.schema, "type"));
    CHECK_TEXT(job->ask.constraint.path, "format");
    job_close(job);
}

// A gap is no conversation; nothing before it is as good as something.
static void test_gap(void)
{
    struct form form;
    struct job *job =
        taken(&ollama_generate, "{\"prompt\":\"a\",\"suffix\":\"\\u00fc\",\"system\":\"\"}", &form);
    const struct ollama_ask *asked = form.asked;
    const struct infill *infill = job->ask.infill;
    if (CHECK(infill && !asked->nothing && !job->ask.chat)) {
        CHECK(bytes_equal_text(infill->before, "a"));
        CHECK(bytes_equal_text(infill->behind, "\xc3\xbc") && infill->n_files == 0);
        CHECK_TEXT(infill->path, "suffix");
    }
    job_close(job);
    job = taken(&ollama_generate, "{\"suffix\":\"b\"}", &form);
    asked = form.asked;
    CHECK(job->ask.infill && !asked->nothing && job->ask.infill->before.n == 0);
    job_close(job);
    job = taken(&ollama_generate, "{\"prompt\":\"a\",\"suffix\":\"\"}", &form);
    CHECK(!job->ask.infill && job->ask.chat);
    job_close(job);
}

static void test_refused(void)
{
    static const struct {
        const struct dialect *dialect;
        const char *body, *words;
    } vectors[] = {
        {&ollama_chat, "{" USER ",\"keep_alive\":\"5x\"}", "a time like"},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"\"}", "a time like"},
        {&ollama_chat, "{" USER ",\"keep_alive\":\"5 m\"}", "a time like"},
        {&ollama_chat, "{" USER ",\"keep_alive\":true}", "not a boolean"},
        {&ollama_chat, "{" USER ",\"think\":3}", "'think' must be true or false"},
        {&ollama_chat, "{" USER ",\"think\":\"much\"}", "'think' is \"much\""},
        {&ollama_chat, "{" USER ",\"format\":\"xml\"}", "\"json\" or a JSON schema"},
        {&ollama_chat, "{" USER ",\"format\":3}", "'format' must be a JSON schema"},
        {&ollama_chat, "{" USER ",\"options\":[]}", "'options' must be an object"},
        {&ollama_chat, "{" USER ",\"options\":{\"temperature\":5}}", "'temperature' is 5"},
        {&ollama_chat, "{" USER ",\"options\":{\"num_predict\":-3}}", "'num_predict' is -3"},
        {&ollama_chat, "{" USER ",\"options\":{\"num_ctx\":\"8k\"}}", "'num_ctx' must be"},
        {&ollama_chat, "{" USER ",\"options\":{\"mirostat\":3}}", "'mirostat' is 3"},
        {&ollama_chat, "{" USER ",\"truncate\":1}", "'truncate' must be true or false"},
        {&ollama_chat, "{" USER ",\"top_logprobs\":21}", "from 0 to 20"},
        {&ollama_chat,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":[\"iVBO\"]}]}",
         "'messages[0].images' is not supported: this model reads text only"},
        {&ollama_chat, "{\"messages\":[{\"role\":\"bot\"}]}", "\"bot\""},
        {&ollama_chat, "{\"messages\":5}", "'messages' must be an array"},
        {&ollama_chat, "{" USER ",\"tools\":[{\"type\":\"x\"}]}", "\"function\""},
        {&ollama_generate, "{\"prompt\":5}", "'prompt' must be a string"},
        {&ollama_generate, "{\"prompt\":\"x\",\"suffix\":5}", "'suffix' must be a string"},
        {&ollama_generate, "{\"suffix\":\"y\",\"raw\":true}", "without 'raw'"},
        {&ollama_generate, "{\"suffix\":\"y\",\"system\":\"s\"}", "'suffix' is not supported"},
        {&ollama_generate, "{\"prompt\":\"x\",\"template\":\"{{ .Prompt }}\"}", "\"raw\": true"},
        {&ollama_generate, "{\"prompt\":\"x\",\"images\":[\"iVBO\"]}", "reads text only"},
        {&ollama_generate, "{\"prompt\":\"x\",\"raw\":true,\"system\":\"s\"}", "'raw' says"},
        {&ollama_generate, "{\"prompt\":\"x\",\"raw\":true,\"context\":[1]}", "'raw' says"},
        {&ollama_generate, "{\"prompt\":\"x\",\"context\":[1,2,3]}", "'context' is not what"},
        {&ollama_generate, "{\"prompt\":\"x\",\"context\":[-1]}", "'context' is -1"},
        {&ollama_generate, "{\"prompt\":\"x\",\"context\":\"y\"}", "an array of numbers"},
        {&ollama_generate, "{\"prompt\":\"x\",\"model\":7}", "'model' must be a string"},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct job *job = job_open();
        struct form form;
        struct refusal refusal;
        const bool good =
            reads_as(vectors[i].dialect, bytes_of(vectors[i].body), job, &form, &refusal);
        if (!CHECK(!good && refusal.http == 400 && strstr(refusal.text, vectors[i].words)))
            fprintf(stderr, "    %s\n    %d %s\n", vectors[i].body, refusal.http, refusal.text);
        job_close(job);
    }
}

// ---- context --------------------------------------------------------------------------------

// The array after an answer, as text.
static char *context_after(const struct form *form, const char *answer)
{
    const struct ollama_ask *asked = form->asked;
    struct json json;
    json_init(&json, 1 << 20);
    json_object(&json, NULL);
    ollama_context_write(&json, asked->said, bytes_of(answer));
    json_end(&json);
    CHECK(json_done(&json) == OK);
    char *text = mem_alloc(json.text.n + 1);
    const size_t n = sizeof("{\"context\":") - 1;
    memcpy(text, json.text.p + n, json.text.n - n - 1);
    json_free(&json);
    return text;
}

static void test_context(void)
{
    char body[2000];
    struct form form;
    struct job *job =
        taken(&ollama_generate, "{\"prompt\":\"a\\u00fc\",\"system\":\"be short\"}", &form);
    char *first = context_after(&form, "b");
    CHECK_TEXT(messages_of(job), "[{\"role\":\"system\",\"content\":\"be short\"},{\"role\":"
                                 "\"user\",\"content\":\"a\xc3\xbc\"}]");
    job_close(job);
    snprintf(body, sizeof(body), "{\"context\":%s,\"prompt\":\"c\"}", first);
    job = taken(&ollama_generate, body, &form);
    char *second = context_after(&form, "");
    CHECK_TEXT(messages_of(job),
               "[{\"role\":\"system\",\"content\":\"be short\"},{\"role\":\"user\",\"content\":"
               "\"a\xc3\xbc\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\","
               "\"content\":\"c\"}]");
    job_close(job);
    // another system message takes the place of the first
    snprintf(body, sizeof(body), "{\"context\":%s,\"prompt\":\"e\",\"system\":\"S\"}", second);
    job = taken(&ollama_generate, body, &form);
    CHECK_TEXT(messages_of(job),
               "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":"
               "\"a\xc3\xbc\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\","
               "\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\","
               "\"content\":\"e\"}]");
    job_close(job);
    free(first);
    free(second);
}

// ---- what is broken -------------------------------------------------------------------------

static bool reads(const struct dialect *dialect, const char *text, size_t n)
{
    char *exact = mem_alloc(n + 1); // ASan sees a read behind it
    struct job *job = job_open();
    struct form form;
    struct refusal refusal;
    char *own = realloc(exact, n > 0 ? n : 1);
    memcpy(own, text, n);
    const bool good =
        reads_as(dialect, (struct bytes){(const uint8_t *)own, n}, job, &form, &refusal);
    CHECK(good || (refusal.http >= 400 && refusal.text[0]));
    free(own);
    job_close(job);
    return good;
}

static void test_broken(void)
{
    uint32_t seed = 7;
    char text[sizeof(full)];
    for (size_t n = 0; n < sizeof(full) - 1; n++)
        if (!CHECK(!reads(&ollama_chat, full, n)))
            fprintf(stderr, "    its first %zu bytes\n", n);
    for (int i = 0; i < 4000; i++) {
        memcpy(text, full, sizeof(full));
        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[seed % (sizeof(full) - 1)] = (char)(seed >> 24);
        }
        (void)reads(&ollama_chat, text, sizeof(full) - 1);
    }
}

static void test_broken_context(void)
{
    struct form form;
    struct job *job = taken(&ollama_generate, "{\"prompt\":\"what is it\"}", &form);
    char *context = context_after(&form, "this"), body[1000];
    uint32_t seed = 11;
    job_close(job);
    for (int i = 0; i < 4000; i++) {
        const int n = snprintf(body, sizeof(body), "{\"prompt\":\"x\",\"context\":%s}", context);
        for (int k = 0; k < 2; k++) {
            seed = seed * 1664525u + 1013904223u;
            body[25 + seed % (size_t)(n - 27)] = (char)('0' + (seed >> 24) % 10);
        }
        (void)reads(&ollama_generate, body, (size_t)n);
    }
    free(context);
}

static void test_names(void)
{
    char text[OLLAMA_TIME];
    CHECK(bytes_equal_text(model_name_meant(bytes_of("m:latest")), "m"));
    CHECK(bytes_equal_text(model_name_meant(bytes_of("m:7b")), "m:7b"));
    CHECK(bytes_equal_text(model_name_meant(bytes_of(":latest")), ":latest"));
    CHECK(bytes_equal_text(model_name_meant(bytes_of("")), ""));
    CHECK_TEXT(ollama_time(text, 1700000000123456789), "2023-11-14T22:13:20.123456789Z");
    CHECK_TEXT(ollama_time(text, 5), "1970-01-01T00:00:00.000000005Z");
}

int main(void)
{
    test_full();
    test_ids();
    test_good();
    test_constraints();
    test_gap();
    test_refused();
    test_context();
    test_broken();
    test_broken_context();
    test_names();
    return check_done("api_ollama");
}
