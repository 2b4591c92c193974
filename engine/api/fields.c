// fields.c - the fields that all dialects share, and how a value becomes a number, a text, a flag.
//
// What is said of a number is what was sent: integers are printed as integers, with the range that
// is really taken.
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- refusals -------------------------------------------------------------------------------

static const char *kind_of(yyjson_val *value)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_NULL:
        return "null";
    case YYJSON_TYPE_BOOL:
        return "a boolean";
    case YYJSON_TYPE_NUM:
        return "a number";
    case YYJSON_TYPE_STR:
        return "a string";
    case YYJSON_TYPE_ARR:
        return yyjson_arr_size(value) == 0 ? "an empty array" : "an array";
    case YYJSON_TYPE_OBJ:
        return "an object";
    default:
        return "missing";
    }
}

bool wrong_kind(struct reading *r, const char *name, const char *expected, yyjson_val *value)
{
    if (!value)
        return refuse(r->refusal, 400, "missing_required_parameter", name,
                      "'%s' is missing; it must be %s.", name, expected);
    return refuse(r->refusal, 400, "invalid_type", name, "'%s' must be %s, not %s.", name, expected,
                  kind_of(value));
}

bool field_missing(struct reading *r, const char *name)
{
    return refuse(r->refusal, 400, "missing_required_parameter", name, "'%s' is missing.", name);
}

bool not_supported(struct reading *r, const char *name, const char *what)
{
    return refuse(r->refusal, 400, "unsupported_value", name, "'%s' is not supported: %s.", name,
                  what);
}

bool no_room(struct reading *r)
{
    return refuse(r->refusal, 413, NULL, NULL, "The request is too large to be worked on.");
}

// ---- values ---------------------------------------------------------------------------------

bool take_text(struct reading *r, yyjson_val *value, struct bytes *out)
{
    struct bytes text = string_of(value);
    *out = bytes_copy(r->arena, text);
    return out->p ? true : no_room(r);
}

static const double EXACT_MOST = 9007199254740992.0; // 2^53: above it not every whole number is one

static const char *number_text(yyjson_val *value, char text[32])
{
    double real = yyjson_get_num(value);
    if (yyjson_is_uint(value))
        snprintf(text, 32, "%llu", (unsigned long long)yyjson_get_uint(value));
    else if (yyjson_is_sint(value))
        snprintf(text, 32, "%lld", (long long)yyjson_get_sint(value));
    else if (real == floor(real) && fabs(real) <= EXACT_MOST)
        snprintf(text, 32, "%.0f", real);
    else if (real == floor(real)) // what was written may have been another number
        snprintf(text, 32, "about %.9g", real);
    else
        snprintf(text, 32, "%.9g", real);
    return text;
}

bool take_float(struct reading *r, const char *name, yyjson_val *value, double least, double most,
                float *out)
{
    char text[32];
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a number", value);
    double number = yyjson_get_num(value);
    if (!(number >= least && number <= most))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %s; it must be a number from %g to %g.", name,
                      number_text(value, text), least, most);
    *out = (float)number;
    return true;
}

// Whether a JSON number is whole and known exactly; 1e3 is, 1e17 may have been another number.
static bool whole_value(yyjson_val *value, int64_t *out)
{
    double real = yyjson_get_real(value);
    if (yyjson_is_sint(value))
        *out = yyjson_get_sint(value);
    else if (yyjson_is_uint(value) && yyjson_get_uint(value) <= INT64_MAX)
        *out = (int64_t)yyjson_get_uint(value);
    else if (yyjson_is_real(value) && real == floor(real) && fabs(real) <= EXACT_MOST)
        *out = (int64_t)real;
    else
        return false;
    return true;
}

bool take_whole(struct reading *r, const char *name, yyjson_val *value, int64_t least, int64_t most,
                int64_t *out)
{
    char text[32];
    int64_t number;
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a whole number", value);
    if (!whole_value(value, &number) || number < least || number > most)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %s; it must be a whole number from %lld to %lld.", name,
                      number_text(value, text), (long long)least, (long long)most);
    *out = number;
    return true;
}

bool take_flag(struct reading *r, const char *name, yyjson_val *value, bool *out)
{
    if (!yyjson_is_bool(value))
        return wrong_kind(r, name, "true or false", value);
    *out = yyjson_get_bool(value);
    return true;
}

// ---- sampling and length --------------------------------------------------------------------

static bool read_temperature(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 2, &r->ask->sampling.temperature);
}

static bool read_top_p(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 1, &r->ask->sampling.top_p);
}

static bool read_min_p(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 1, &r->ask->sampling.min_p);
}

static bool read_top_k(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t number;
    if (!take_whole(r, name, value, -1, 1000000, &number))
        return false;
    r->ask->sampling.top_k = number > 0 ? (int32_t)number : 0; // -1 and 0: off
    return true;
}

static bool read_repeat_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0.1, 10, &r->ask->sampling.repeat_penalty);
}

static bool read_presence_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, -2, 2, &r->ask->sampling.presence_penalty);
}

static bool read_frequency_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, -2, 2, &r->ask->sampling.frequency_penalty);
}

// Any 64 bits, written with or without a sign: a negative seed is its two's complement.
static bool read_seed(struct reading *r, const char *name, yyjson_val *value)
{
    char text[32];
    int64_t number;
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a whole number", value);
    if (yyjson_is_uint(value))
        r->ask->sampling.seed = yyjson_get_uint(value);
    else if (whole_value(value, &number))
        r->ask->sampling.seed = (uint64_t)number;
    else
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %s; it must be a whole number, its digits written out, from %lld to "
                      "%llu.",
                      name, number_text(value, text), (long long)INT64_MIN,
                      (unsigned long long)UINT64_MAX);
    return true;
}

// -1 means "no limit" to several clients.
bool read_max_tokens(struct reading *r, const char *name, yyjson_val *value)
{
    char text[32];
    int64_t number;
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a whole number", value);
    const bool reads = whole_value(value, &number) && number == 0 &&
                       r->form->dialect == &openai_completions; // chats have no echo to ask for
    if (!whole_value(value, &number) || number < -1 || (number == 0 && !reads) ||
        number > INT32_MAX)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %s; it must be a whole number from 1 to %d, or -1: no limit.", name,
                      number_text(value, text), INT32_MAX);
    int32_t most = number < 0 ? 0 : (int32_t)number;
    if (r->max_seen && most != r->ask->max_tokens)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'max_tokens' and 'max_completion_tokens' are both given, and differ.");
    r->max_seen = true;
    r->ask->max_tokens = most;
    r->ask->only_reads = reads;
    return true;
}

static bool stop_good(struct reading *r, const char *name, yyjson_val *value, struct bytes *out)
{
    size_t n = yyjson_get_len(value);
    if (n == 0 || n > STOP_BYTES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "A string in '%s' has %zu bytes; it must have 1 to %d.", name, n,
                      STOP_BYTES_MOST);
    return take_text(r, value, out);
}

bool read_stop(struct reading *r, const char *name, yyjson_val *value)
{
    bool one = yyjson_is_str(value);
    size_t n = one ? 1 : yyjson_arr_size(value);
    if (!one && !yyjson_is_arr(value))
        return wrong_kind(r, name, "a string or an array of strings", value);
    if (n > STOPS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu strings; at most %d are allowed.", name, n, STOPS_MOST);
    struct bytes *stops = arena_take(r->arena, (n ? n : 1) * sizeof(*stops));
    if (!stops)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *text = one ? value : yyjson_arr_get(value, i);
        if (!yyjson_is_str(text))
            return refuse(r->refusal, 400, "invalid_type", name,
                          "'%s[%zu]' must be a string, not %s.", name, i, kind_of(text));
        if (!stop_good(r, name, text, &stops[i]))
            return false;
    }
    r->ask->stops = stops;
    r->ask->n_stops = n;
    return true;
}

// ---- which model, and how it is answered ----------------------------------------------------

struct bytes model_name_meant(struct bytes name)
{
    (void)bytes_cut_end(&name, ":latest");
    return name;
}

bool read_model(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, &r->form->model);
}

// As Ollama's clients say it: seconds, or a text like "5m"; negative: always.
bool read_keep_alive(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_str(value)) {
        const struct bytes text = string_of(value);
        return duration_read(text, &r->ask->keep_s) ||
               refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' must be a number of seconds, or a time like \"5m\" or \"1h30m\".",
                      name);
    }
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a number of seconds, or a time like \"5m\" or \"1h30m\"",
                          value);
    const double s = yyjson_get_num(value);
    r->ask->keep_s = s < 0 ? KEEP_ALWAYS : s < 1e9 ? (int64_t)s : 1000000000;
    return true;
}

bool read_stream(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->stream);
}

const struct field shared_fields[] = {
    {"model", read_model},
    {"stream", read_stream},
    {"keep_alive", read_keep_alive},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p", read_min_p},
    {"repeat_penalty", read_repeat_penalty},
    {"presence_penalty", read_presence_penalty},
    {"frequency_penalty", read_frequency_penalty},
    {"seed", read_seed},
    {"stop", read_stop},
    {"max_tokens", read_max_tokens},
    {NULL, NULL},
};

// ---- two names of one thing -----------------------------------------------------------------

static yyjson_val *said(yyjson_val *root, const char *path)
{
    const char *dot = strchr(path, '.');
    if (!dot)
        return yyjson_obj_get(root, path);
    return yyjson_obj_get(yyjson_obj_getn(root, path, (size_t)(dot - path)), dot + 1);
}

static bool same(yyjson_val *a, yyjson_val *b)
{
    if (yyjson_is_num(a) && yyjson_is_num(b))
        return !(yyjson_get_num(a) < yyjson_get_num(b)) && !(yyjson_get_num(a) > yyjson_get_num(b));
    return yyjson_equals(a, b);
}

// False: a thing that has two names is said under both, and not the same.
static bool names_agree(struct reading *r, yyjson_val *root)
{
    static const char *const names[][2] = {
        {"repeat_penalty", "repetition_penalty"},
        {"typical_p", "typ_p"},
        {"reasoning_effort", "reasoning.effort"},
        {"enable_thinking", "reasoning.enabled"},
        {"thinking_budget_tokens", "reasoning.max_tokens"},
        {"thinking_budget_tokens", "thinking.budget_tokens"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        yyjson_val *a = said(root, names[i][0]), *b = said(root, names[i][1]);
        if (a && b && !yyjson_is_null(a) && !yyjson_is_null(b) && !same(a, b))
            return refuse(r->refusal, 400, "invalid_value", names[i][1],
                          "'%s' and '%s' are both given, and differ.", names[i][0], names[i][1]);
    }
    return true;
}

// ---- the whole ------------------------------------------------------------------------------

field_reader *field_reader_of(const struct dialect *dialect, const char *name)
{
    for (size_t t = 0; dialect->fields[t]; t++)
        for (const struct field *field = dialect->fields[t]; field->name; field++)
            if (strcmp(name, field->name) == 0)
                return field->read;
    return NULL;
}

bool ask_read(const struct dialect *dialect, struct bytes text, struct job *job, struct form *form,
              struct refusal *refusal)
{
    return ask_read_of(dialect, text, 0, job, form, refusal);
}

bool ask_read_of(const struct dialect *dialect, struct bytes text, size_t prompt_at,
                 struct job *job, struct form *form, struct refusal *refusal)
{
    return ask_read_for(NULL, dialect, text, prompt_at, job, form, refusal);
}

bool ask_read_for(const struct api *api, const struct dialect *dialect, struct bytes text,
                  size_t prompt_at, struct job *job, struct form *form, struct refusal *refusal)
{
    struct body body;
    if (!body_open(&body, text, refusal))
        return false;
    *form = (struct form){.dialect = dialect, .n_prompts = 1, .prompt_at = prompt_at};
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = form, .refusal = refusal};
    random_bytes(&r.ask->sampling.seed, sizeof(r.ask->sampling.seed)); // unless `seed` is given
    bool good = !dialect->begin || dialect->begin(&r);
    size_t at, n;
    yyjson_val *key, *value, *root = yyjson_doc_get_root(body.doc);
    if (api && dialect->kind == JOB_GENERATE)
        good = good && defaults_read(api, yyjson_obj_get(root, "model"), &r);
    yyjson_obj_foreach(root, at, n, key, value)
    {
        field_reader *read =
            good && !yyjson_is_null(value) ? field_reader_of(dialect, yyjson_get_str(key)) : NULL;
        good = good && (!read || read(&r, yyjson_get_str(key), value));
    }
    good =
        good && (dialect->kind != JOB_GENERATE || names_agree(&r, yyjson_doc_get_root(body.doc)));
    body_close(&body);
    return good && dialect->finish(&r);
}
