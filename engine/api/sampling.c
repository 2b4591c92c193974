// sampling.c - the fields that say how tokens are drawn, beyond those that every dialect has: by
// OpenAI's names (logit_bias), llama-server's and Ollama's (typical_p, mirostat, dry_... ) and
// vLLM's (min_tokens, repetition_penalty).
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BIASES_MOST = 1024, BREAKERS_MOST = 32, BREAKER_BYTES_MOST = 64 };

#define AT(member) offsetof(struct sampling, member)

static const struct number_field {
    const char *name;
    size_t offset; // in struct sampling
    bool whole;
    double least, most;
} numbers[] = {
    {"typical_p", AT(typical_p), false, 0, 1},
    {"typ_p", AT(typical_p), false, 0, 1},
    {"top_n_sigma", AT(top_n_sigma), false, -1, 1000},
    {"xtc_probability", AT(xtc_probability), false, 0, 1},
    {"xtc_threshold", AT(xtc_threshold), false, 0, 1},
    {"dynatemp_range", AT(dynatemp_range), false, 0, 10},
    {"dynatemp_exponent", AT(dynatemp_exponent), false, 0, 100},
    {"mirostat", AT(mirostat), true, 0, 2},
    {"mirostat_tau", AT(mirostat_tau), false, 0, 100},
    {"mirostat_eta", AT(mirostat_eta), false, 0, 1},
    {"dry_multiplier", AT(dry_multiplier), false, 0, 100},
    {"dry_base", AT(dry_base), false, 1, 100},
    {"dry_allowed_length", AT(dry_allowed_length), true, 0, 1000000},
    {"dry_penalty_last_n", AT(dry_last_n), true, -1, 1000000},
    {"repetition_penalty", AT(repeat_penalty), false, 0.1, 10},
    {"repeat_last_n", AT(repeat_last_n), true, -1, 65536},
    {"min_tokens", AT(min_tokens), true, 0, 1000000},
};

static bool read_number(struct reading *r, const char *name, yyjson_val *value)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        const struct number_field *number = &numbers[i];
        char *at = (char *)&r->ask->sampling + number->offset;
        int64_t whole;
        if (strcmp(number->name, name) != 0)
            continue;
        if (!number->whole)
            return take_float(r, name, value, number->least, number->most, (float *)(void *)at);
        if (!take_whole(r, name, value, (int64_t)number->least, (int64_t)number->most, &whole))
            return false;
        *(int32_t *)(void *)at = (int32_t)whole;
        return true;
    }
    die("field %s has no entry", name);
}

static bool read_ignore_eos(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->ask->sampling.ignore_eos);
}

// ---- logit_bias ---------------------------------------------------------------------------------

struct bias_list {
    struct token_bias *items;
    size_t n;
};

// path: how sentences call the value. false, as llama-server takes it: never.
static bool add_bias(struct reading *r, const char *name, const char *path, uint64_t id,
                     yyjson_val *value, struct bias_list *list)
{
    float bias = -INFINITY;
    if (!yyjson_is_false(value) && !take_float(r, path, value, -100, 100, &bias))
        return false;
    for (size_t i = 0; i < list->n; i++)
        if ((uint64_t)list->items[i].id == id)
            return refuse(r->refusal, 400, "invalid_value", path, "'%s' has token %d twice.", name,
                          (int)id);
    list->items[list->n++] = (struct token_bias){(int32_t)id, bias};
    return true;
}

// A token's id as it is written, without zeros in front.
static bool id_of(yyjson_val *key, uint64_t *out)
{
    const char *text = yyjson_get_str(key);
    const size_t n = yyjson_get_len(key);
    *out = 0;
    for (size_t i = 0; i < n && i < 10; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return n > 0 && n <= 10 && (text[0] != '0' || n == 1) && *out <= INT32_MAX;
}

static bool biases_of_object(struct reading *r, const char *name, yyjson_val *value,
                             struct bias_list *list)
{
    size_t i, n;
    yyjson_val *key, *item;
    char path[64];
    uint64_t id;
    yyjson_obj_foreach(value, i, n, key, item)
    {
        snprintf(path, sizeof(path), "%s.%.40s", name, yyjson_get_str(key));
        if (!id_of(key, &id))
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s' has an entry for \"%.40s\"; it must be the id of a token, a whole "
                          "number.",
                          name, yyjson_get_str(key));
        if (!add_bias(r, name, path, id, item, list))
            return false;
    }
    return true;
}

static bool biases_of_array(struct reading *r, const char *name, yyjson_val *value,
                            struct bias_list *list)
{
    size_t i, n;
    yyjson_val *item;
    char path[64];
    int64_t id;
    yyjson_arr_foreach(value, i, n, item)
    {
        snprintf(path, sizeof(path), "%s[%zu]", name, i);
        if (!yyjson_is_arr(item) || yyjson_arr_size(item) != 2)
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s' must be a pair: the id of a token and a number.", path);
        snprintf(path, sizeof(path), "%s[%zu][0]", name, i);
        if (!take_whole(r, path, yyjson_arr_get(item, 0), 0, INT32_MAX, &id))
            return false;
        snprintf(path, sizeof(path), "%s[%zu][1]", name, i);
        if (!add_bias(r, name, path, (uint64_t)id, yyjson_arr_get(item, 1), list))
            return false;
    }
    return true;
}

static bool read_logit_bias(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_get_len(value);
    if (!yyjson_is_ctn(value))
        return wrong_kind(r, name, "an object of token ids and numbers, or an array of such pairs",
                          value);
    if (n > BIASES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; at most %d are taken.", name, n, BIASES_MOST);
    struct bias_list list = {arena_take(r->arena, (n + 1) * sizeof(*list.items)), 0};
    if (!list.items)
        return no_room(r);
    if (yyjson_is_obj(value) ? !biases_of_object(r, name, value, &list)
                             : !biases_of_array(r, name, value, &list))
        return false;
    r->ask->sampling.biases = list.items;
    r->ask->sampling.n_biases = list.n;
    return true;
}

// ---- lists of words -----------------------------------------------------------------------------

static bool read_breakers(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_arr_size(value);
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of strings", value);
    if (n > BREAKERS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu strings; at most %d are taken.", name, n, BREAKERS_MOST);
    struct bytes *breakers = arena_take(r->arena, (n + 1) * sizeof(*breakers));
    if (!breakers)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *item = yyjson_arr_get(value, i);
        if (!yyjson_is_str(item))
            return wrong_kind(r, name, "an array of strings", item);
        if (yyjson_get_len(item) > BREAKER_BYTES_MOST)
            return refuse(r->refusal, 400, "invalid_value", name,
                          "A string in '%s' has %zu bytes; at most %d are taken.", name,
                          yyjson_get_len(item), BREAKER_BYTES_MOST);
        if (!take_text(r, item, &breakers[i]))
            return false;
    }
    r->ask->sampling.dry_breakers = breakers;
    r->ask->sampling.n_dry_breakers = n;
    return true;
}

static const struct step_name {
    const char *name;
    int step; // -1: always taken first, wherever it stands
} steps[] = {
    {"penalties", -1},
    {"dry", -1},
    {"top_n_sigma", STEP_TOP_N_SIGMA},
    {"top_k", STEP_TOP_K},
    {"typ_p", STEP_TYPICAL},
    {"typical_p", STEP_TYPICAL},
    {"top_p", STEP_TOP_P},
    {"min_p", STEP_MIN_P},
    {"xtc", STEP_XTC},
    {"temperature", STEP_TEMPERATURE},
};

static int step_of(yyjson_val *name)
{
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        if (yyjson_equals_str(name, steps[i].name))
            return steps[i].step;
    return -2;
}

// An empty list is none: the default order.
static bool read_samplers(struct reading *r, const char *name, yyjson_val *value)
{
    struct sampling *p = &r->ask->sampling;
    const size_t n = yyjson_arr_size(value);
    bool seen[SAMPLER_STEPS] = {false};
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of strings", value);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *item = yyjson_arr_get(value, i);
        const int step = step_of(item);
        char path[32];
        snprintf(path, sizeof(path), "%s[%zu]", name, i);
        if (!yyjson_is_str(item))
            return wrong_kind(r, path, "a string", item);
        if (step == -2)
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s' is \"%.40s\"; it must be top_n_sigma, top_k, typ_p, top_p, min_p, "
                          "xtc, temperature, penalties or dry.",
                          path, yyjson_get_str(item));
        if (step >= 0 && seen[step])
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s' names \"%.40s\" a second time; each is taken once.", path,
                          yyjson_get_str(item));
        if (step < 0)
            continue;
        seen[step] = true;
        p->order[p->n_order++] = (uint8_t)step;
    }
    return true;
}

const struct field sampling_fields[] = {
    {"typical_p", read_number},
    {"typ_p", read_number},
    {"top_n_sigma", read_number},
    {"xtc_probability", read_number},
    {"xtc_threshold", read_number},
    {"dynatemp_range", read_number},
    {"dynatemp_exponent", read_number},
    {"mirostat", read_number},
    {"mirostat_tau", read_number},
    {"mirostat_eta", read_number},
    {"dry_multiplier", read_number},
    {"dry_base", read_number},
    {"dry_allowed_length", read_number},
    {"dry_penalty_last_n", read_number},
    {"dry_sequence_breakers", read_breakers},
    {"repetition_penalty", read_number},
    {"repeat_last_n", read_number},
    {"min_tokens", read_number},
    {"ignore_eos", read_ignore_eos},
    {"logit_bias", read_logit_bias},
    {"samplers", read_samplers},
    {NULL, NULL},
};
