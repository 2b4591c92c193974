// ollama_options.c - the object `options` of Ollama's requests: how tokens are drawn, and how many.
//
// Most of its members are fields that other dialects have too, and are read by the same readers.
// What concerns how Ollama loads or batches a model is taken and does nothing: here the settings
// say it. So does tfs_z, which Ollama itself no longer has. As in Ollama an unknown name is
// ignored, and null means "not given".
#include "ollama.h"

#include <string.h>

// -1, -2 (and 0, as Ollama takes it): no limit but the context's end.
static bool read_num_predict(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, -2, INT32_MAX, &n))
        return false;
    r->ask->max_tokens = n > 0 ? (int32_t)n : 0;
    return true;
}

static bool read_num_ctx(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 0, INT32_MAX, &n))
        return false;
    ollama_asked(r)->n_ctx = (int32_t)n;
    return true;
}

static field_reader *reader_in(const struct field *fields, const char *name)
{
    while (fields->name && strcmp(fields->name, name) != 0)
        fields++;
    return fields->read;
}

// One of those that all dialects share, or of sampling.c.
static bool read_shared(struct reading *r, const char *name, yyjson_val *value)
{
    field_reader *read = reader_in(shared_fields, name);
    read = read ? read : reader_in(sampling_fields, name);
    if (!read)
        die("option %s has no reader", name);
    return read(r, name, value);
}

// -1: any.
static bool read_option_seed(struct reading *r, const char *name, yyjson_val *value)
{
    return (yyjson_is_num(value) && yyjson_get_num(value) < 0) || read_shared(r, name, value);
}

static const struct field options[] = {
    {"num_predict", read_num_predict},
    {"num_ctx", read_num_ctx},
    {"seed", read_option_seed},
    {"temperature", read_shared},
    {"top_k", read_shared},
    {"top_p", read_shared},
    {"min_p", read_shared},
    {"typical_p", read_shared},
    {"repeat_penalty", read_shared},
    {"repeat_last_n", read_shared},
    {"presence_penalty", read_shared},
    {"frequency_penalty", read_shared},
    {"mirostat", read_shared},
    {"mirostat_tau", read_shared},
    {"mirostat_eta", read_shared},
    {"stop", read_stop},
    {NULL, NULL},
};

bool ollama_read_options(struct reading *r, const char *name, yyjson_val *value)
{
    size_t at, n;
    yyjson_val *key, *member;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_obj_foreach(value, at, n, key, member)
    {
        field_reader *read = reader_in(options, yyjson_get_str(key));
        if (read && !yyjson_is_null(member) && !read(r, yyjson_get_str(key), member))
            return false;
    }
    return true;
}
