// infill.c - POST /infill as llama-server has it: the text between input_prefix and input_suffix,
// with other files in front (input_extra) and what is known of its beginning behind (prompt).
//
// The answer has llama-server's own shape: one object, or a stream of them, of which each holds a
// piece and the last says why it ended and what it took.
#include "fields.h"

#include <stdio.h>

enum { FILES_MOST = 256 };

// ---- fields ---------------------------------------------------------------------------------

// What was read of it so far; on the job's arena, so it may be written to.
static struct infill *of(struct reading *r)
{
    struct infill *infill = r->form->of_arena;
    if (!infill)
        (void)no_room(r);
    return infill;
}

static bool infill_begin(struct reading *r)
{
    struct infill *infill = arena_take(r->arena, sizeof(*infill));
    if (!infill)
        return no_room(r);
    *infill = (struct infill){.before = bytes_of(""), .behind = bytes_of("")};
    infill->path = "input_suffix";
    r->form->of_arena = infill;
    r->ask->infill = infill;
    return true;
}

static bool take_string(struct reading *r, const char *name, yyjson_val *value, struct bytes *out)
{
    return yyjson_is_str(value) ? take_text(r, value, out) : wrong_kind(r, name, "a string", value);
}

static bool read_before(struct reading *r, const char *name, yyjson_val *value)
{
    return of(r) && take_string(r, name, value, &of(r)->before);
}

static bool read_behind(struct reading *r, const char *name, yyjson_val *value)
{
    return of(r) && take_string(r, name, value, &of(r)->behind);
}

static bool read_begun(struct reading *r, const char *name, yyjson_val *value)
{
    return of(r) && take_string(r, name, value, &of(r)->begun);
}

static bool read_file(struct reading *r, size_t at, yyjson_val *file, struct infill_file *out)
{
    char path[64];
    yyjson_val *name = yyjson_obj_get(file, "filename"), *text = yyjson_obj_get(file, "text");
    snprintf(path, sizeof(path), "input_extra[%zu]", at);
    if (!yyjson_is_obj(file))
        return wrong_kind(r, path, "an object", file);
    snprintf(path, sizeof(path), "input_extra[%zu].text", at);
    if (!take_string(r, path, text, &out->text))
        return false;
    out->name = bytes_of("tmp");
    snprintf(path, sizeof(path), "input_extra[%zu].filename", at);
    return !name || yyjson_is_null(name) || take_string(r, path, name, &out->name);
}

static bool read_extra(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_arr_size(value);
    size_t i, n_all;
    yyjson_val *file;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of files", value);
    if (n > FILES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu files; at most %d are allowed.", name, n, FILES_MOST);
    struct infill_file *files = arena_take(r->arena, (n + 1) * sizeof(*files));
    if (!files || !of(r))
        return no_room(r);
    yyjson_arr_foreach(value, i, n_all, file)
    {
        if (!read_file(r, i, file, &files[i]))
            return false;
    }
    of(r)->files = files;
    of(r)->n_files = n;
    return true;
}

// What is below 0 is no limit.
static bool read_n_predict(struct reading *r, const char *name, yyjson_val *value)
{
    return (yyjson_is_num(value) && yyjson_get_num(value) < 0) || read_max_tokens(r, name, value);
}

static const struct field infill_fields[] = {
    {"input_prefix", read_before}, {"input_suffix", read_behind}, {"input_extra", read_extra},
    {"prompt", read_begun},        {"n_predict", read_n_predict}, {NULL, NULL},
};

static bool infill_finish(struct reading *r)
{
    if (of(r)->before.n > 0 || of(r)->behind.n > 0)
        return true;
    return refuse(r->refusal, 400, "missing_required_parameter", "input_prefix",
                  "'input_prefix' and 'input_suffix' are missing; one of them at least must hold "
                  "text.");
}

// ---- answers --------------------------------------------------------------------------------

static void object(struct json *json, const struct reply *reply, struct bytes text, bool stop)
{
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_whole(json, "index", 0);
    json_text(json, "content", text);
    json_array(json, "tokens");
    json_end(json);
    json_whole(json, "id_slot", 0);
    json_bool(json, "stop", stop);
    json_string(json, "model", reply_model(reply));
}

// Why it ended, in llama-server's words.
void llama_stop_write(struct json *json, const struct reply *reply, enum finish finish)
{
    json_string(json, "stop_type",
                finish == FINISH_LENGTH ? "limit"
                : reply->stop.n > 0     ? "word"
                                        : "eos");
    json_text(json, "stopping_word", reply->stop);
}

static void last(struct json *json, const struct reply *reply, enum finish finish,
                 const struct usage *usage)
{
    json_whole(json, "tokens_predicted", usage->n_generated);
    json_whole(json, "tokens_evaluated", usage->n_prompt);
    json_whole(json, "tokens_cached", usage->n_prompt_cached);
    json_bool(json, "truncated", false);
    llama_stop_write(json, reply, finish);
    timings_write(json, usage);
    json_end(json);
}

static void nothing(struct reply *reply)
{
    (void)reply;
}

static void infill_text(struct reply *reply, const struct event *event)
{
    struct json json;
    object(&json, reply, (struct bytes){event->text, event->n_text}, false);
    json_end(&json);
    reply_data(reply, &json);
}

static void infill_alive(struct reply *reply)
{
    struct json json;
    object(&json, reply, bytes_of(""), false);
    json_end(&json);
    reply_data(reply, &json);
}

static void infill_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    struct json json;
    object(&json, reply, bytes_of(""), true);
    last(&json, reply, finish, usage);
    reply_data(reply, &json);
}

static void infill_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    reply_data(reply, &json);
}

static void infill_whole(const struct reply *reply, struct json *json, enum finish finish,
                         const struct usage *usage)
{
    object(json, reply, buf_view(&reply->text), true);
    last(json, reply, finish, usage);
}

static const struct writer writer = {
    .begin = nothing,
    .text = infill_text,
    .alive = infill_alive,
    .end = infill_end,
    .fail = infill_fail,
    .whole = infill_whole,
};

const struct dialect llama_infill = {
    .id_prefix = "infill-",
    .input = "input_prefix",
    .fields = {shared_fields, constraint_fields, sampling_fields, infill_fields},
    .begin = infill_begin,
    .finish = infill_finish,
    .writer = &writer,
};
