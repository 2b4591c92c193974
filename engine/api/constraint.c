// constraint.c - the fields that say what an answer must be: OpenAI's response_format, and what
// llama-server (grammar, json_schema) and vLLM (guided_..., structured_outputs) call the same.
//
// Only what is written is read here; the engine makes a grammar of it, and refuses what it cannot
// honour before anything is generated. Two of them at once are refused: none could be obeyed alone.
#include "fields.h"

#include <string.h>

// The one that counts. False: there is one already.
static struct constraint *only_one_of(struct reading *r, const char *name)
{
    if (r->form->constraint) {
        (void)refuse(r->refusal, 400, "invalid_value", name,
                     "'%s' and '%s' both say what the answer must be; send one of them.",
                     r->form->constraint, name);
        return NULL;
    }
    for (const struct field *field = constraint_fields; field->name; field++)
        if (strcmp(field->name, name) == 0)
            r->form->constraint = field->name; // the request's own text goes away
    r->ask->constraint.path = r->form->constraint;
    return &r->ask->constraint;
}

// path: how sentences call it; NULL: as the field is called.
static bool take_schema(struct reading *r, const char *name, yyjson_val *json, const char *path)
{
    struct constraint *c = only_one_of(r, name);
    if (!c)
        return false;
    if (!yyjson_is_obj(json) && !yyjson_is_bool(json))
        return wrong_kind(r, path ? path : name, "a JSON schema", json);
    struct value *schema = arena_take(r->arena, sizeof(*schema));
    if (!schema)
        return no_room(r);
    c->kind = CONSTRAINT_SCHEMA;
    c->schema = schema;
    c->path = path ? path : c->path;
    return take_value(r, c->path, json, schema);
}

// Some servers take the schema beside the type, or have it named `schema`.
static bool read_response_format(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_val *type = yyjson_obj_get(value, "type"), *schema = yyjson_obj_get(value, "schema");
    if (!yyjson_is_str(type))
        return wrong_kind(r, "response_format.type", "a string", type);
    if (yyjson_equals_str(type, "text"))
        return true;
    if (yyjson_equals_str(type, "json_object") && schema && !yyjson_is_null(schema))
        return take_schema(r, name, schema, "response_format.schema");
    if (yyjson_equals_str(type, "json_object")) {
        struct constraint *c = only_one_of(r, name);
        if (c)
            c->kind = CONSTRAINT_JSON;
        return c;
    }
    if (!yyjson_equals_str(type, "json_schema"))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'response_format.type' is not known; it must be text, json_object or "
                      "json_schema.");
    yyjson_val *inner = yyjson_obj_get(value, "json_schema");
    if (!inner && schema)
        return take_schema(r, name, schema, "response_format.schema");
    if (!yyjson_is_obj(inner))
        return wrong_kind(r, "response_format.json_schema", "an object", inner);
    schema = yyjson_obj_get(inner, "schema");
    if (!schema || yyjson_is_null(schema)) { // OpenAI's says that it may be left out
        struct constraint *c = only_one_of(r, name);
        if (c)
            c->kind = CONSTRAINT_JSON;
        return c;
    }
    return take_schema(r, name, schema, "response_format.json_schema.schema");
}

static bool read_json_schema(struct reading *r, const char *name, yyjson_val *value)
{
    return take_schema(r, name, value, NULL);
}

static bool take_constraint_text(struct reading *r, const char *name, yyjson_val *value,
                                 enum constraint_kind kind)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    if (yyjson_get_len(value) == 0) // as good as absent
        return true;
    struct constraint *c = only_one_of(r, name);
    if (!c)
        return false;
    c->kind = kind;
    return take_text(r, value, &c->text);
}

static bool read_grammar(struct reading *r, const char *name, yyjson_val *value)
{
    return take_constraint_text(r, name, value, CONSTRAINT_GBNF);
}

static bool read_regex(struct reading *r, const char *name, yyjson_val *value)
{
    return take_constraint_text(r, name, value, CONSTRAINT_REGEX);
}

static bool read_choice(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_arr_size(value);
    if (!yyjson_is_arr(value) || n == 0)
        return wrong_kind(r, name, "an array of strings", value);
    struct constraint *c = only_one_of(r, name);
    struct bytes *choices = arena_take(r->arena, n * sizeof(*choices));
    if (!c)
        return false;
    if (!choices)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *item = yyjson_arr_get(value, i);
        if (!yyjson_is_str(item))
            return wrong_kind(r, name, "an array of strings", item);
        if (!take_text(r, item, &choices[i]))
            return false;
    }
    c->kind = CONSTRAINT_CHOICES;
    c->choices = choices;
    c->n_choices = n;
    return true;
}

// vLLM's newer spelling: one member, named like one of the others.
static bool read_structured(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct field members[] = {
        {"json", read_json_schema},
        {"regex", read_regex},
        {"grammar", read_grammar},
        {"choice", read_choice},
    };
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        yyjson_val *member = yyjson_obj_get(value, members[i].name);
        if (member && !yyjson_is_null(member) && !members[i].read(r, name, member))
            return false;
    }
    return true;
}

const struct field constraint_fields[] = {
    {"response_format", read_response_format},
    {"grammar", read_grammar},
    {"json_schema", read_json_schema},
    {"guided_json", read_json_schema},
    {"guided_regex", read_regex},
    {"guided_grammar", read_grammar},
    {"guided_choice", read_choice},
    {"structured_outputs", read_structured},
    {NULL, NULL},
};
