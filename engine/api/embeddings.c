// embeddings.c - the dialects of models that embed or rank: OpenAI's POST /v1/embeddings, Ollama's
// /api/embed and /api/embeddings, and /v1/rerank as Jina's and Cohere's clients send it.
//
// A text becomes a vector of length 1 here; `dimensions` keeps its first numbers and brings them to
// length 1 again (what models trained for it allow). A rerank's score of one number goes through a
// sigmoid, so that every relevance lies between 0 and 1, as these clients expect; `raw_scores`
// leaves it. Where a model gives several (yes, no), the first is the relevance.
//
// An answer is never a stream. Its size is bounded before any work is done: NUMBERS_MOST.
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXTS_MOST = 2048,      // of one request: OpenAI's limit
    NUMBERS_MOST = 3 << 19, // of one answer: 17 MB as text, which one client's share holds
    ANSWER_MOST = 22 << 20, // bytes of one
    DECIMALS = 8,           // half of the last is 5e-9: below a float's error at length 1
};

// ---- texts in -------------------------------------------------------------------------------

static const char INPUTS[] = "a string, an array of strings, or token ids";

// An array of whole numbers.
bool take_ids(struct reading *r, const char *name, yyjson_val *array, struct text_ask *out)
{
    const size_t n = yyjson_arr_size(array);
    int32_t *ids = arena_take(r->arena, (n ? n : 1) * sizeof(*ids));
    int64_t id = 0;
    size_t at, n_items;
    yyjson_val *item;
    if (!ids)
        return no_room(r);
    yyjson_arr_foreach(array, at, n_items, item)
    {
        if (!take_whole(r, name, item, 0, INT32_MAX, &id))
            return false;
        ids[at] = (int32_t)id;
    }
    *out = (struct text_ask){{NULL, 0}, ids, n};
    return true;
}

static bool take_one(struct reading *r, const char *name, yyjson_val *value, struct text_ask *out)
{
    *out = (struct text_ask){{NULL, 0}, NULL, 0};
    if (yyjson_is_str(value))
        return take_text(r, value, &out->text);
    if (yyjson_is_arr(value))
        return take_ids(r, name, value, out);
    return wrong_kind(r, name, INPUTS, value);
}

static struct text_ask *texts_of(struct reading *r, const char *name, size_t n)
{
    if (n == 0 || n > TEXTS_MOST) {
        (void)refuse(r->refusal, 400, "invalid_value", name,
                     "'%s' has %zu texts; it must have 1 to %d.", name, n, TEXTS_MOST);
        return NULL;
    }
    struct text_ask *texts = arena_take(r->arena, n * sizeof(*texts));
    if (!texts)
        (void)no_room(r);
    r->ask->texts = texts;
    r->ask->n_texts = texts ? n : 0;
    return texts;
}

static bool read_input(struct reading *r, const char *name, yyjson_val *value)
{
    const bool list = yyjson_is_arr(value) && !yyjson_is_num(yyjson_arr_get_first(value));
    struct text_ask *texts = texts_of(r, name, list ? yyjson_arr_size(value) : 1);
    size_t at, n;
    yyjson_val *item;
    if (!texts)
        return false;
    if (!list)
        return take_one(r, name, value, &texts[0]);
    yyjson_arr_foreach(value, at, n, item)
    {
        if (!take_one(r, name, item, &texts[at]))
            return false;
    }
    return true;
}

// Documents: strings, or objects with one.
static bool read_documents(struct reading *r, const char *name, yyjson_val *value)
{
    size_t at, n;
    yyjson_val *item;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of strings", value);
    struct text_ask *texts = texts_of(r, name, yyjson_arr_size(value));
    if (!texts)
        return false;
    yyjson_arr_foreach(value, at, n, item)
    {
        yyjson_val *text = yyjson_is_obj(item) ? yyjson_obj_get(item, "text") : item;
        texts[at] = (struct text_ask){{NULL, 0}, NULL, 0};
        if (!yyjson_is_str(text))
            return wrong_kind(r, name, "an array of strings, or of objects with a \"text\"", item);
        if (!take_text(r, text, &texts[at].text))
            return false;
    }
    return true;
}

static bool read_query(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, &r->ask->query);
}

// ---- how it is answered ---------------------------------------------------------------------

static bool read_encoding_format(struct reading *r, const char *name, yyjson_val *value)
{
    r->form->vectors.base64 = yyjson_equals_str(value, "base64");
    if (r->form->vectors.base64 || yyjson_equals_str(value, "float"))
        return true;
    return not_supported(r, name, "\"float\" and \"base64\" are");
}

static bool read_dimensions(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 1, INT32_MAX, &n))
        return false;
    r->form->vectors.n_dims = (int32_t)n;
    return true;
}

static bool read_top_n(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 1, INT32_MAX, &n))
        return false;
    r->form->vectors.top_n = (int32_t)n;
    return true;
}

static bool read_return_documents(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->vectors.documents);
}

static bool read_raw_scores(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->vectors.raw);
}

static bool read_truncate(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->ask->truncates);
}

static bool no_stream(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_false(value))
        return true;
    return not_supported(r, name, "vectors and scores come whole");
}

static const struct field embeddings_fields[] = {
    {"model", read_model},
    {"input", read_input},
    {"encoding_format", read_encoding_format},
    {"dimensions", read_dimensions},
    {"stream", no_stream},
    {NULL, NULL},
};
static const struct field ollama_fields[] = {
    {"model", read_model},           {"input", read_input},       {"prompt", read_input},
    {"dimensions", read_dimensions}, {"truncate", read_truncate}, {NULL, NULL},
};
static const struct field rerank_fields[] = {
    {"model", read_model},
    {"query", read_query},
    {"documents", read_documents},
    {"top_n", read_top_n},
    {"return_documents", read_return_documents},
    {"raw_scores", read_raw_scores},
    {"stream", no_stream},
    {NULL, NULL},
};

static bool embeddings_finish(struct reading *r)
{
    return r->ask->n_texts ? true : field_missing(r, r->form->dialect->input);
}

// Ollama cuts what is too long unless told not to.
static bool ollama_begin(struct reading *r)
{
    r->ask->truncates = true;
    return true;
}

static bool ollama_finish(struct reading *r)
{
    if (r->form->dialect == &ollama_embeddings && r->ask->n_texts > 1)
        return not_supported(r, "prompt", "one text a request is; /api/embed takes several");
    return embeddings_finish(r);
}

static bool rerank_finish(struct reading *r)
{
    r->ask->rank = true;
    if (!r->ask->query.p)
        return field_missing(r, "query");
    return r->ask->n_texts ? true : field_missing(r, "documents");
}

bool vectors_fit(const struct model_info *model, const struct job *job, const struct form *form,
                 struct refusal *refusal)
{
    const size_t n = job->ask.n_texts, most = (size_t)(NUMBERS_MOST / model->n_vector);
    if (form->vectors.n_dims > model->n_vector)
        return refuse(refusal, 400, "invalid_value", "dimensions",
                      "'dimensions' is %d; a vector of '%s' has %d numbers.",
                      (int)form->vectors.n_dims, model->id, (int)model->n_vector);
    if (n > most)
        return refuse(refusal, 400, "invalid_value", form->dialect->input,
                      "'%s' has %zu texts; with vectors of %d numbers a request may have %zu.",
                      form->dialect->input, n, (int)model->n_vector, most);
    return true;
}

// ---- answers --------------------------------------------------------------------------------

// Text i's vector as it is answered: of length 1, n numbers.
static float *vector_of(const struct reply *reply, size_t i, int32_t *n)
{
    const int32_t n_vector = reply->n_vector, n_dims = reply->form.n_dims;
    float *vector = reply->vectors + i * (size_t)n_vector;
    *n = n_dims > 0 && n_dims < n_vector ? n_dims : n_vector;
    vector_normalise(vector, *n);
    return vector;
}

static void write_numbers(struct json *json, const char *name, const float *vector, int32_t n)
{
    json_array(json, name);
    for (int32_t i = 0; i < n; i++)
        json_real(json, NULL, (double)vector[i], DECIMALS);
    json_end(json);
}

// Float32, little endian (RFC 4648).
static void write_base64(struct json *json, const char *name, const float *vector, int32_t n)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t n_bytes = (size_t)n * sizeof(*vector);
    uint8_t *bytes = mem_alloc(n_bytes + 2), *text = mem_alloc((n_bytes + 2) / 3 * 4), *to = text;
    memcpy(bytes, vector, n_bytes); // the two behind them are 0
    for (size_t i = 0; i < n_bytes; i += 3) {
        const uint32_t three =
            (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *to++ = (uint8_t)DIGITS[three >> shift & 63];
    }
    for (size_t i = n_bytes; i % 3 != 0; i++)
        to[-1 - (ptrdiff_t)(2 - i % 3)] = '=';
    json_text(json, name, (struct bytes){text, (size_t)(to - text)});
    free(bytes);
    free(text);
}

static void write_usage(struct json *json, const struct usage *usage)
{
    json_object(json, "usage");
    json_whole(json, "prompt_tokens", usage->n_prompt);
    json_whole(json, "total_tokens", usage->n_prompt);
    json_end(json);
}

static void embeddings_whole(const struct reply *reply, struct json *json, enum finish finish,
                             const struct usage *usage)
{
    (void)finish;
    json_init(json, ANSWER_MOST);
    json_object(json, NULL);
    json_string(json, "object", "list");
    json_array(json, "data");
    for (size_t i = 0; i < reply->n_vectors; i++) {
        int32_t n;
        const float *vector = vector_of(reply, i, &n);
        json_object(json, NULL);
        json_string(json, "object", "embedding");
        json_whole(json, "index", (int64_t)i);
        (reply->form.base64 ? write_base64 : write_numbers)(json, "embedding", vector, n);
        json_end(json);
    }
    json_end(json);
    json_string(json, "model", reply_model(reply));
    write_usage(json, usage);
    json_end(json);
}

static void ollama_whole(const struct reply *reply, struct json *json, enum finish finish,
                         const struct usage *usage)
{
    (void)finish;
    json_init(json, ANSWER_MOST);
    json_object(json, NULL);
    json_string(json, "model", reply_model(reply));
    json_array(json, "embeddings");
    for (size_t i = 0; i < reply->n_vectors; i++) {
        int32_t n;
        const float *vector = vector_of(reply, i, &n);
        write_numbers(json, NULL, vector, n);
    }
    json_end(json);
    json_whole(json, "total_duration", (int64_t)(usage->queue_us + usage->prompt_us) * 1000);
    json_whole(json, "load_duration", 0);
    json_whole(json, "prompt_eval_count", usage->n_prompt);
    json_end(json);
}

// The older form: one text, and nothing but its vector.
static void ollama_old_whole(const struct reply *reply, struct json *json, enum finish finish,
                             const struct usage *usage)
{
    int32_t n;
    const float *vector = vector_of(reply, 0, &n);
    (void)finish, (void)usage;
    json_init(json, ANSWER_MOST);
    json_object(json, NULL);
    write_numbers(json, "embedding", vector, n);
    json_end(json);
}

struct ranked {
    size_t index;
    double score;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1; // of equal ones the earlier first
}

static void rerank_whole(const struct reply *reply, struct json *json, enum finish finish,
                         const struct usage *usage)
{
    const size_t n = reply->n_vectors, n_vector = (size_t)reply->n_vector,
                 top = reply->form.top_n > 0 ? (size_t)reply->form.top_n : n;
    struct ranked *all = mem_array(n, sizeof(*all));
    (void)finish;
    for (size_t i = 0; i < n; i++) {
        const double score = (double)reply->vectors[i * n_vector];
        all[i] =
            (struct ranked){i, n_vector > 1 || reply->form.raw ? score : 1 / (1 + exp(-score))};
    }
    qsort(all, n, sizeof(*all), by_score);
    json_init(json, ANSWER_MOST);
    json_object(json, NULL);
    json_string(json, "id", reply->name);
    json_string(json, "object", "list");
    json_string(json, "model", reply_model(reply));
    json_array(json, "results");
    for (size_t i = 0; i < n && i < top; i++) {
        json_object(json, NULL);
        json_whole(json, "index", (int64_t)all[i].index);
        json_real(json, "relevance_score", all[i].score, DECIMALS);
        if (reply->documents) {
            json_object(json, "document");
            json_text(json, "text", reply->documents[all[i].index]);
            json_end(json);
        }
        json_end(json);
    }
    json_end(json);
    write_usage(json, usage);
    json_end(json);
    free(all);
}

struct bytes *documents_copy(const struct ask *ask)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < ask->n_texts; i++)
        n_bytes += ask->texts[i].text.n;
    struct bytes *documents = mem_alloc(ask->n_texts * sizeof(*documents) + n_bytes + 1);
    uint8_t *to = (uint8_t *)(documents + ask->n_texts);
    for (size_t i = 0; i < ask->n_texts; i++) {
        const struct bytes text = ask->texts[i].text;
        documents[i] = (struct bytes){to, text.n};
        if (text.n > 0)
            memcpy(to, text.p, text.n);
        to += text.n;
    }
    return documents;
}

static const struct writer embeddings_writer = {.whole = embeddings_whole};
static const struct writer ollama_writer = {.whole = ollama_whole};
static const struct writer ollama_old_writer = {.whole = ollama_old_whole};
static const struct writer rerank_writer = {.whole = rerank_whole};

const struct dialect openai_embeddings = {
    .kind = JOB_EMBED,
    .id_prefix = "embd-",
    .input = "input",
    .fields = {embeddings_fields},
    .finish = embeddings_finish,
    .writer = &embeddings_writer,
};
const struct dialect ollama_embed = {
    .kind = JOB_EMBED,
    .id_prefix = "embd-",
    .input = "input",
    .fields = {ollama_fields},
    .begin = ollama_begin,
    .finish = ollama_finish,
    .writer = &ollama_writer,
    .errors = ERRORS_OLLAMA,
};
const struct dialect ollama_embeddings = {
    .kind = JOB_EMBED,
    .id_prefix = "embd-",
    .input = "prompt",
    .fields = {ollama_fields},
    .begin = ollama_begin,
    .finish = ollama_finish,
    .writer = &ollama_old_writer,
    .errors = ERRORS_OLLAMA,
};
const struct dialect jina_rerank = {
    .kind = JOB_EMBED,
    .id_prefix = "rerank-",
    .input = "documents",
    .fields = {rerank_fields},
    .finish = rerank_finish,
    .writer = &rerank_writer,
};
