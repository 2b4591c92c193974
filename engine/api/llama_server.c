// llama_server.c - llama-server's own dialect: POST /completion (and /completions), /tokenize and
// /detokenize. What it shares with the others (sampling, grammars, stop strings) is read by them.
//
// A stream is server-sent events without names, one a piece of text, each with "stop": false; the
// last has "stop": true and all that a whole answer has. There is no [DONE]. A piece's
// probabilities and token ids are those of the tokens that its text is the first to be part of.
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENIZE_BYTES_MOST = 512 << 10, PIECES_MOST = 4096 };

struct llama { // of a request, until its answer is complete
    bool pieces, tokens, timed;
    int32_t n_probs, n_predict;
    struct usage usage; // so far
    struct sampling sampling;
};

static struct llama *llama_of(struct reading *r)
{
    return r->form->of_dialect;
}

static bool llama_begin(struct reading *r)
{
    r->form->of_dialect = mem_alloc(sizeof(struct llama));
    return true;
}

// ---- prompts, and texts to be tokenized -----------------------------------------------------

static const char PIECES[] = "a string, or an array of strings and token ids";

static bool take_piece(struct reading *r, const char *name, yyjson_val *value, struct text_ask *out)
{
    int64_t id;
    *out = (struct text_ask){{NULL, 0}, NULL, 0};
    if (yyjson_is_str(value))
        return take_text(r, value, &out->text);
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, PIECES, value);
    int32_t *ids = arena_take(r->arena, sizeof(*ids));
    if (!ids)
        return no_room(r);
    if (!take_whole(r, name, value, 0, INT32_MAX, &id))
        return false;
    *ids = (int32_t)id;
    out->ids = ids;
    out->n_ids = 1;
    return true;
}

static bool is_ids(yyjson_val *array)
{
    size_t at, n;
    yyjson_val *item;
    yyjson_arr_foreach(array, at, n, item)
    {
        if (!yyjson_is_num(item))
            return false;
    }
    return true;
}

static bool are_texts(yyjson_val *array)
{
    size_t at, n;
    yyjson_val *item;
    yyjson_arr_foreach(array, at, n, item)
    {
        if (!yyjson_is_str(item))
            return false;
    }
    return true;
}

// A string; an array of ids; or one of both, a piece each.
static bool take_pieces(struct reading *r, const char *name, yyjson_val *value)
{
    const bool many = yyjson_is_arr(value), ids = many && is_ids(value);
    const size_t n = !many || ids ? 1 : yyjson_arr_size(value);
    if (!many && !yyjson_is_str(value))
        return wrong_kind(r, name, PIECES, value);
    if (n > PIECES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu pieces; at most %d are taken.", name, n, PIECES_MOST);
    struct text_ask *pieces = arena_take(r->arena, n * sizeof(*pieces));
    if (!pieces)
        return no_room(r);
    r->ask->texts = pieces;
    r->ask->n_texts = n;
    if (ids)
        return take_ids(r, name, value, &pieces[0]);
    for (size_t i = 0; i < n; i++)
        if (!take_piece(r, name, many ? yyjson_arr_get(value, i) : value, &pieces[i]))
            return false;
    return true;
}

// llama-server takes several prompts, as an array of texts or of arrays.
static bool read_prompt(struct reading *r, const char *name, yyjson_val *value)
{
    yyjson_val *first = yyjson_arr_get_first(value);
    if (yyjson_is_arr(first)) {
        if (yyjson_arr_size(value) > 1)
            return not_supported(r, name, "one prompt a request is answered");
        return take_pieces(r, name, first);
    }
    if (yyjson_is_obj(value))
        return not_supported(r, name, "prompts with images are not taken");
    if (yyjson_arr_size(value) > 1 && are_texts(value))
        return not_supported(r, name, "one prompt a request is answered");
    return take_pieces(r, name, value);
}

// ---- fields of /completion ------------------------------------------------------------------

static bool read_n_predict(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, -2, INT32_MAX, &n))
        return false;
    if (n == 0)
        return not_supported(r, name, "an answer has one token at least; send 1, or -1: no limit");
    llama_of(r)->n_predict = (int32_t)n;
    r->ask->max_tokens = n > 0 ? (int32_t)n : 0; // -1, -2: up to the end of the context
    return true;
}

static bool read_n_probs(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 0, CHANCES_MOST, &n))
        return false;
    llama_of(r)->n_probs = (int32_t)n;
    return true;
}

static bool read_return_tokens(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &llama_of(r)->tokens);
}

static bool read_timings_per_token(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &llama_of(r)->timed);
}

static bool only_false(struct reading *r, const char *name, yyjson_val *value)
{
    return yyjson_is_false(value) || not_supported(r, name, "leave it away");
}

static bool only_zero(struct reading *r, const char *name, yyjson_val *value)
{
    return (yyjson_is_num(value) && yyjson_get_num(value) <= 0) ||
           not_supported(r, name, "leave it away");
}

static bool only_empty(struct reading *r, const char *name, yyjson_val *value)
{
    return (yyjson_is_arr(value) && yyjson_arr_size(value) == 0) ||
           not_supported(r, name, "leave it away");
}

static const struct field completion_fields[] = {
    {"prompt", read_prompt},
    {"n_predict", read_n_predict},
    {"n_probs", read_n_probs},
    {"return_tokens", read_return_tokens},
    {"timings_per_token", read_timings_per_token},
    {"post_sampling_probs", only_false},
    {"t_max_predict_ms", only_zero},
    {"image_data", only_empty},
    {"lora", only_empty},
    {"response_fields", only_empty},
    {NULL, NULL},
};

static bool completion_finish(struct reading *r)
{
    struct llama *llama = llama_of(r);
    if (r->ask->n_texts == 0)
        return field_missing(r, "prompt");
    if (llama->n_predict == 0)
        llama->n_predict = r->ask->max_tokens > 0 ? r->ask->max_tokens : -1;
    llama->sampling = r->ask->sampling; // of which only numbers are written
    r->form->logprobs = llama->n_probs > 0 || llama->tokens;
    if (r->form->logprobs)
        r->ask->n_chances = llama->n_probs;
    return true;
}

// ---- answers of /completion -----------------------------------------------------------------

static void write_bytes(struct json *json, struct bytes text)
{
    json_array(json, "bytes");
    for (size_t i = 0; i < text.n; i++)
        json_whole(json, NULL, text.p[i]);
    json_end(json);
}

static void write_token(struct json *json, const struct chance *chance)
{
    json_object(json, NULL);
    json_whole(json, "id", chance->id);
    json_text(json, "token", chance->text);
    write_bytes(json, chance->text);
    json_exact(json, "logprob", chance->log);
}

static void write_probabilities(struct json *json, struct bytes left)
{
    json_array(json, "completion_probabilities");
    while (left.n > 0) {
        const uint8_t n = chance_count(&left);
        const struct chance taken = chance_take(&left);
        write_token(json, &taken);
        json_array(json, "top_logprobs");
        for (uint8_t i = 1; i < n; i++) {
            const struct chance other = chance_take(&left);
            write_token(json, &other);
            json_end(json);
        }
        json_end(json);
        json_end(json);
    }
    json_end(json);
}

static void write_ids(struct json *json, struct bytes left)
{
    json_array(json, "tokens");
    while (left.n > 0) {
        const uint8_t n = chance_count(&left);
        json_whole(json, NULL, chance_take(&left).id);
        for (uint8_t i = 1; i < n; i++)
            (void)chance_take(&left);
    }
    json_end(json);
}

// What every object of an answer begins with.
static void piece_begin(struct json *json, const struct reply *reply, struct bytes text, bool stop)
{
    const struct llama *llama = reply->of_dialect;
    const struct bytes chances = buf_view(&reply->chances);
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_whole(json, "index", 0);
    json_text(json, "content", text);
    write_ids(json, llama->tokens ? chances : (struct bytes){NULL, 0});
    if (llama->n_probs > 0)
        write_probabilities(json, chances);
    json_bool(json, "stop", stop);
    json_whole(json, "id_slot", -1);
}

void llama_settings(struct json *json, const struct sampling *s, int32_t n_predict, bool stream)
{
    json_whole(json, "n_predict", n_predict);
    json_bool(json, "stream", stream);
    json_whole(json, "seed", (int64_t)(s->seed & INT64_MAX));
    json_exact(json, "temperature", (double)s->temperature);
    json_exact(json, "dynatemp_range", (double)s->dynatemp_range);
    json_exact(json, "dynatemp_exponent", (double)s->dynatemp_exponent);
    json_whole(json, "top_k", s->top_k);
    json_exact(json, "top_p", (double)s->top_p);
    json_exact(json, "min_p", (double)s->min_p);
    json_exact(json, "top_n_sigma", (double)s->top_n_sigma);
    json_exact(json, "xtc_probability", (double)s->xtc_probability);
    json_exact(json, "xtc_threshold", (double)s->xtc_threshold);
    json_exact(json, "typical_p", (double)s->typical_p);
    json_whole(json, "repeat_last_n", s->repeat_last_n);
    json_exact(json, "repeat_penalty", (double)s->repeat_penalty);
    json_exact(json, "presence_penalty", (double)s->presence_penalty);
    json_exact(json, "frequency_penalty", (double)s->frequency_penalty);
    json_exact(json, "dry_multiplier", (double)s->dry_multiplier);
    json_exact(json, "dry_base", (double)s->dry_base);
    json_whole(json, "dry_allowed_length", s->dry_allowed_length);
    json_whole(json, "dry_penalty_last_n", s->dry_last_n);
    json_whole(json, "mirostat", s->mirostat);
    json_exact(json, "mirostat_tau", (double)s->mirostat_tau);
    json_exact(json, "mirostat_eta", (double)s->mirostat_eta);
    json_bool(json, "ignore_eos", s->ignore_eos);
    json_whole(json, "min_tokens", s->min_tokens);
}

// The rest of the last object.
static void last_end(struct json *json, const struct reply *reply, enum finish finish,
                     const struct usage *usage)
{
    const struct llama *llama = reply->of_dialect;
    json_string(json, "model", reply_model(reply));
    json_whole(json, "tokens_predicted", usage->n_generated);
    json_whole(json, "tokens_evaluated", usage->n_prompt);
    json_whole(json, "tokens_cached", usage->n_prompt + usage->n_generated);
    json_bool(json, "truncated", false);
    llama_stop_write(json, reply, finish);
    json_object(json, "generation_settings");
    llama_settings(json, &llama->sampling, llama->n_predict, reply->stream);
    json_whole(json, "n_probs", llama->n_probs);
    json_end(json);
    timings_write(json, usage);
    json_end(json);
}

static void piece(struct reply *reply, struct bytes text)
{
    const struct llama *llama = reply->of_dialect;
    struct json json;
    piece_begin(&json, reply, text, false);
    json_whole(&json, "tokens_predicted", llama->usage.n_generated);
    json_whole(&json, "tokens_evaluated", llama->usage.n_prompt);
    if (llama->timed)
        timings_write(&json, &llama->usage);
    reply->chances.n = 0;
    json_end(&json);
    reply_data(reply, &json);
}

static void completion_begin(struct reply *reply)
{
    (void)reply; // a stream has no first words
}

static void completion_text(struct reply *reply, const struct event *event)
{
    struct llama *llama = reply->of_dialect;
    llama->usage = event->usage;
    piece(reply, (struct bytes){event->text, event->n_text});
}

static void completion_alive(struct reply *reply)
{
    piece(reply, bytes_of(""));
}

static void completion_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    struct json json;
    piece_begin(&json, reply, bytes_of(""), true);
    last_end(&json, reply, finish, usage);
    reply_data(reply, &json);
}

static void completion_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    reply_data(reply, &json);
}

static void completion_whole(const struct reply *reply, struct json *json, enum finish finish,
                             const struct usage *usage)
{
    piece_begin(json, reply, buf_view(&reply->text), true);
    last_end(json, reply, finish, usage);
}

static const struct writer completion_writer = {
    .begin = completion_begin,
    .text = completion_text,
    .alive = completion_alive,
    .end = completion_end,
    .fail = completion_fail,
    .whole = completion_whole,
};

const struct dialect llama_completion = {
    .id_prefix = "completion-",
    .input = "prompt",
    .fields = {shared_fields, constraint_fields, sampling_fields, completion_fields},
    .begin = llama_begin,
    .finish = completion_finish,
    .writer = &completion_writer,
};

void completion_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &llama_completion);
}

// ---- /tokenize and /detokenize --------------------------------------------------------------

static bool read_content(struct reading *r, const char *name, yyjson_val *value)
{
    return take_pieces(r, name, value);
}

static bool read_add_special(struct reading *r, const char *name, yyjson_val *value)
{
    bool adds;
    if (!take_flag(r, name, value, &adds))
        return false;
    r->ask->without_bos = !adds;
    return true;
}

static bool read_parse_special(struct reading *r, const char *name, yyjson_val *value)
{
    bool parses;
    if (!take_flag(r, name, value, &parses))
        return false;
    r->ask->plain = !parses;
    return true;
}

static bool read_with_pieces(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &llama_of(r)->pieces);
}

static const struct field tokenize_fields[] = {
    {"model", read_model},
    {"content", read_content},
    {"add_special", read_add_special},
    {"parse_special", read_parse_special},
    {"with_pieces", read_with_pieces},
    {NULL, NULL},
};

static bool tokenize_begin(struct reading *r)
{
    r->ask->only_ids = r->ask->without_bos = true;
    return llama_begin(r);
}

static bool tokenize_finish(struct reading *r)
{
    size_t n = 0;
    if (r->ask->n_texts == 0)
        return field_missing(r, "content");
    for (size_t i = 0; i < r->ask->n_texts; i++)
        n += r->ask->texts[i].text.n + r->ask->texts[i].n_ids;
    return n <= TOKENIZE_BYTES_MOST ||
           refuse(r->refusal, 413, "request_too_large", "content",
                  "'content' has %zu bytes; at most %d are tokenized at once.", n,
                  TOKENIZE_BYTES_MOST);
}

// Text that is no UTF-8 by itself is told as its bytes.
static void write_piece(struct json *json, int32_t id, struct bytes text)
{
    json_object(json, NULL);
    json_whole(json, "id", id);
    if (utf8_valid(text)) {
        json_text(json, "piece", text);
    } else {
        json_array(json, "piece");
        for (size_t i = 0; i < text.n; i++)
            json_whole(json, NULL, text.p[i]);
        json_end(json);
    }
    json_end(json);
}

static void tokenize_whole(const struct reply *reply, struct json *json, enum finish finish,
                           const struct usage *usage)
{
    const struct llama *llama = reply->of_dialect;
    struct bytes left = buf_view(&reply->text);
    (void)finish, (void)usage;
    json_init(json, 16 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_array(json, "tokens");
    while (left.n > 0) { // as the engine tells ids
        int32_t id;
        uint16_t n;
        memcpy(&id, left.p, sizeof(id));
        memcpy(&n, left.p + sizeof(id), sizeof(n));
        const struct bytes text = {left.p + sizeof(id) + sizeof(n), n};
        if (llama->pieces)
            write_piece(json, id, text);
        else
            json_whole(json, NULL, id);
        left.p = text.p + n;
        left.n -= sizeof(id) + sizeof(n) + n;
    }
    json_end(json);
    json_end(json);
}

static const struct writer tokenize_writer = {.whole = tokenize_whole}; // it is never streamed

const struct dialect llama_tokenize = {
    .id_prefix = "tokens-",
    .input = "content",
    .fields = {tokenize_fields},
    .begin = tokenize_begin,
    .finish = tokenize_finish,
    .writer = &tokenize_writer,
};

void tokenize_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &llama_tokenize);
}

static bool read_tokens(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_arr(value) || !is_ids(value))
        return wrong_kind(r, name, "an array of token ids", value);
    return take_pieces(r, name, value);
}

static const struct field detokenize_fields[] = {
    {"model", read_model},
    {"tokens", read_tokens},
    {NULL, NULL},
};

static bool detokenize_finish(struct reading *r)
{
    r->ask->only_text = true;
    return r->ask->n_texts > 0 || field_missing(r, "tokens");
}

static void detokenize_whole(const struct reply *reply, struct json *json, enum finish finish,
                             const struct usage *usage)
{
    (void)finish, (void)usage;
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_text(json, "content", buf_view(&reply->text));
    json_end(json);
}

static const struct writer detokenize_writer = {.whole = detokenize_whole};

const struct dialect llama_detokenize = {
    .id_prefix = "text-",
    .input = "tokens",
    .fields = {detokenize_fields},
    .finish = detokenize_finish,
    .writer = &detokenize_writer,
};

void detokenize_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &llama_detokenize);
}
