// sampling.c - the fields that say how tokens are drawn, beyond those that every dialect has: by
// OpenAI's names (logit_bias), llama-server's and Ollama's (typical_p, mirostat, dry_... ) and
// vLLM's (min_tokens, repetition_penalty).
#include "fields.h"

#include <math.h>
#include <stdlib.h>
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
    {"repeat_last_n", AT(repeat_last_n), true, 0, 65536},
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

static bool wrong_bias(struct reading *r, const char *name)
{
    return refuse(
        r->refusal, 400, "invalid_value", name,
        "'%s' must be an object of token ids and numbers from -100 to 100, or an array of "
        "such pairs.",
        name);
}

// false, as llama-server takes it: never.
static bool take_bias(yyjson_val *value, float *out)
{
    if (yyjson_is_false(value)) {
        *out = -INFINITY;
        return true;
    }
    const double number = yyjson_get_num(value);
    *out = (float)number;
    return yyjson_is_num(value) && number >= -100 && number <= 100;
}

static bool take_id(const char *text, int32_t *out)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    const long long number = strtoll(text, &end, 10);
    *out = (int32_t)number;
    return *end == 0 && number <= INT32_MAX;
}

static bool read_logit_bias(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_get_len(value);
    size_t i, most, kept = 0;
    yyjson_val *key, *item;
    bool good = yyjson_is_obj(value) || yyjson_is_arr(value);
    if (!good)
        return wrong_bias(r, name);
    if (n > BIASES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; at most %d are taken.", name, n, BIASES_MOST);
    struct token_bias *biases = arena_take(r->arena, (n + 1) * sizeof(*biases));
    if (!biases)
        return no_room(r);
    if (yyjson_is_obj(value)) {
        yyjson_obj_foreach(value, i, most, key, item)
        {
            good = good && take_id(yyjson_get_str(key), &biases[kept].id) &&
                   take_bias(item, &biases[kept].bias);
            kept++;
        }
    } else {
        yyjson_arr_foreach(value, i, most, item)
        {
            yyjson_val *id = yyjson_arr_get(item, 0);
            good = good && yyjson_arr_size(item) == 2 && yyjson_is_uint(id) &&
                   yyjson_get_uint(id) <= INT32_MAX &&
                   take_bias(yyjson_arr_get(item, 1), &biases[kept].bias);
            biases[kept++].id = (int32_t)yyjson_get_uint(id);
        }
    }
    r->ask->sampling.biases = biases;
    r->ask->sampling.n_biases = kept;
    return good ? true : wrong_bias(r, name);
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
        const int step = step_of(yyjson_arr_get(value, i));
        if (step == -2 || (step >= 0 && seen[step]))
            return refuse(r->refusal, 400, "invalid_value", name,
                          "'%s' must name each of top_n_sigma, top_k, typ_p, top_p, min_p, xtc and "
                          "temperature at most once; penalties and dry always come first.",
                          name);
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
