// defaults.c - how a model draws its tokens where a request says nothing about it, and with what
// context a request loads it.
//
// The fields are read by the readers of the dialects themselves, when they are set (defaults_set.c)
// and again for each request, before its own: so nothing is kept here that a request could not say,
// and what it says counts. What there is stands in /v1/models (`defaults`).
#include "defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the fields -----------------------------------------------------------------------------

static bool read_as_chats_do(struct reading *r, const char *name, yyjson_val *value)
{
    return field_reader_of(&openai_chat, name)(r, name, value);
}

static bool read_ctx(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n_ctx;
    if (!take_whole(r, name, value, 256, 1 << 20, &n_ctx))
        return false;
    r->ask->n_ctx = (int32_t)n_ctx;
    return true;
}

static const struct field default_fields[] = {
    {"model", read_model},
    {"ctx", read_ctx},
    {"keep_alive", read_as_chats_do},
    {"temperature", read_as_chats_do},
    {"top_p", read_as_chats_do},
    {"top_k", read_as_chats_do},
    {"min_p", read_as_chats_do},
    {"typical_p", read_as_chats_do},
    {"top_n_sigma", read_as_chats_do},
    {"repeat_penalty", read_as_chats_do},
    {"repeat_last_n", read_as_chats_do},
    {"presence_penalty", read_as_chats_do},
    {"frequency_penalty", read_as_chats_do},
    {"xtc_probability", read_as_chats_do},
    {"xtc_threshold", read_as_chats_do},
    {"dry_multiplier", read_as_chats_do},
    {"dry_base", read_as_chats_do},
    {"dry_allowed_length", read_as_chats_do},
    {"dry_penalty_last_n", read_as_chats_do},
    {"max_tokens", read_as_chats_do},
    {"stop", read_as_chats_do},
    {NULL, NULL},
};

static bool finish(struct reading *r)
{
    (void)r;
    return true;
}

const struct dialect model_defaults = {.fields = {default_fields}, .finish = finish};

// ---- what is kept ---------------------------------------------------------------------------

const struct model_default *defaults_find(const struct api *api, const char *name)
{
    for (const struct model_default *one = api->defaults; one; one = one->next)
        if (strcmp(one->name, name) == 0)
            return one;
    return NULL;
}

static void member_write(struct json *json, const char *name, yyjson_val *value)
{
    size_t i, n;
    yyjson_val *item;
    if (yyjson_is_num(value))
        json_exact(json, name, yyjson_get_num(value));
    else if (yyjson_is_str(value))
        json_text(json, name, string_of(value));
    if (!yyjson_is_arr(value))
        return;
    json_array(json, name);
    yyjson_arr_foreach(value, i, n, item)
    {
        member_write(json, NULL, item);
    }
    json_end(json);
}

void defaults_members(struct json *json, yyjson_val *old, yyjson_val *said)
{
    for (const struct field *field = default_fields + 1; field->name; field++) {
        yyjson_val *value = yyjson_obj_get(said, field->name);
        if (!value)
            value = yyjson_obj_get(old, field->name);
        member_write(json, field->name, value);
    }
}

void defaults_write(struct json *json, const struct api *api, const char *model)
{
    const struct model_default *one = defaults_find(api, model);
    if (!one)
        return;
    json_object(json, "defaults");
    defaults_members(json, yyjson_doc_get_root(one->doc), NULL);
    json_end(json);
}

// All that says how a text is asked for, before the request's own fields are read.
bool defaults_read(const struct api *api, yyjson_val *model, struct reading *r)
{
    const struct bytes name = string_of(model);
    const struct store_model *found = NULL;
    const struct model_default *one = NULL;
    struct refusal none;
    size_t i, n;
    yyjson_val *key, *value;
    if (!api->defaults)
        return true;
    if (name.p && name.n > 0)
        (void)model_find(api, name, &found, &none);
    else
        found = model_of_start(api);
    one = found ? defaults_find(api, found->name) : NULL;
    if (!one)
        return true;
    yyjson_obj_foreach(yyjson_doc_get_root(one->doc), i, n, key, value)
    {
        const char *field = yyjson_get_str(key);
        if (strcmp(field, "ctx") != 0 && !read_as_chats_do(r, field, value))
            return false;
    }
    r->max_seen = false;
    return true;
}

int32_t defaults_context(const struct api *api, const char *model)
{
    const struct model_default *one = defaults_find(api, model);
    return one ? (int32_t)yyjson_get_int(yyjson_obj_get(yyjson_doc_get_root(one->doc), "ctx")) : 0;
}

void defaults_drop(struct api *api, const char *name)
{
    for (struct model_default **at = &api->defaults; *at; at = &(*at)->next) {
        struct model_default *one = *at;
        if (strcmp(one->name, name) != 0)
            continue;
        *at = one->next;
        yyjson_doc_free(one->doc);
        free(one);
        return;
    }
}

void defaults_keep(struct api *api, const char *name, yyjson_doc *doc)
{
    defaults_drop(api, name);
    if (yyjson_obj_size(yyjson_doc_get_root(doc)) == 0) {
        yyjson_doc_free(doc);
        return;
    }
    struct model_default *one = mem_alloc(sizeof(*one));
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->doc = doc;
    one->next = api->defaults;
    api->defaults = one;
}

void defaults_close(struct api *api)
{
    while (api->defaults)
        defaults_drop(api, api->defaults->name);
}
