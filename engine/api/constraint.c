// constraint.c - the fields that say what an answer must be: OpenAI's response_format, and what
// llama-server (grammar, json_schema), vLLM (guided_..., structured_outputs) and Ollama (format)
// call the same.
//
// Only what is written is read here; the engine makes a grammar of it, and refuses what it cannot
// honour before anything is generated. Two of them at once are refused: none could be obeyed alone.
#include "fields.h"

#include <stdio.h>
#include <string.h>

// Where Anthropic's clients put it.
static const char *const formats[] = {"output_config", "output_format"};

// The one that counts. NULL: there is one already. name: a field's, or the path of a member as it
// stands in this file.
static struct constraint *only_one_of(struct reading *r, const char *name)
{
    if (r->form->constraint) {
        (void)refuse(r->refusal, 400, "invalid_value", name,
                     "'%s' and '%s' both say what the answer must be; send one of them.",
                     r->ask->constraint.path, name);
        return NULL;
    }
    static const struct field *const tables[] = {constraint_fields, ollama_format_fields};
    const size_t n = strcspn(name, ".");
    if (n == 4 && memcmp(name, "text", n) == 0)
        r->form->constraint = "text.format";
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        for (const struct field *field = tables[i]; field->name; field++)
            if (strlen(field->name) == n && memcmp(field->name, name, n) == 0)
                r->form->constraint = field->name; // the request's own text goes away
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (strlen(formats[i]) == n && memcmp(formats[i], name, n) == 0)
            r->form->constraint = formats[i];
    r->ask->constraint.path = name[n] ? name : r->form->constraint;
    return &r->ask->constraint;
}

static bool is_schema(const struct value *value)
{
    return value->kind == VALUE_DICT || value->kind == VALUE_BOOL;
}

// A schema that was sent as text, as vLLM and llama-server's own clients do.
static bool read_schema_text(struct reading *r, const char *path, yyjson_val *json,
                             struct value *out)
{
    const struct bytes text = string_of(json);
    struct err err;
    enum status status = value_read(out, r->arena, text, &err);
    if (status == NO_ROOM)
        return no_room(r);
    if (status != OK)
        return refuse(r->refusal, 400, "invalid_value", path,
                      "'%s' is a text that is no JSON schema: %s.", path, err.text);
    return is_schema(out) ? true
                          : refuse(r->refusal, 400, "invalid_value", path,
                                   "'%s' is a text that holds %s; it must hold a JSON schema.",
                                   path, value_kind_name(out->kind));
}

// path: how sentences call it; NULL: as the field is called.
static bool take_schema(struct reading *r, const char *name, yyjson_val *json, const char *path)
{
    struct constraint *c = only_one_of(r, name);
    if (!c)
        return false;
    const bool as_text = !path && yyjson_is_str(json);
    if (!yyjson_is_obj(json) && !yyjson_is_bool(json) && !as_text)
        return wrong_kind(r, path ? path : name, "a JSON schema", json);
    struct value *schema = arena_take(r->arena, sizeof(*schema));
    if (!schema)
        return no_room(r);
    c->kind = CONSTRAINT_SCHEMA;
    c->schema = schema;
    c->path = path ? path : c->path;
    return as_text ? read_schema_text(r, c->path, json, schema)
                   : take_value(r, c->path, json, schema);
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
        return refuse(
            r->refusal, 400, "invalid_value", "response_format.type",
            "'response_format.type' is \"%.40s\"; it must be \"text\", \"json_object\" or "
            "\"json_schema\".",
            yyjson_get_str(type));
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

// The Responses dialect has the schema beside the type, in `text.format`.
bool read_text_format(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_val *type = yyjson_obj_get(value, "type"), *schema = yyjson_obj_get(value, "schema");
    if (!yyjson_is_str(type))
        return wrong_kind(r, "text.format.type", "a string", type);
    if (yyjson_equals_str(type, "text"))
        return true;
    if (yyjson_equals_str(type, "json_object")) {
        struct constraint *c = only_one_of(r, "text.format");
        if (c)
            c->kind = CONSTRAINT_JSON;
        return c;
    }
    if (yyjson_equals_str(type, "json_schema"))
        return take_schema(r, "text.format.schema", schema, "text.format.schema");
    return refuse(r->refusal, 400, "invalid_value", "text.format.type",
                  "'text.format.type' is \"%.40s\"; it must be \"text\", \"json_object\" or "
                  "\"json_schema\".",
                  yyjson_get_str(type));
}

bool read_output_format(struct reading *r, const char *name, yyjson_val *value)
{
    const bool inside = strcmp(name, "output_format") != 0;
    const char *type_path = inside ? "output_config.format.type" : "output_format.type";
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_val *type = yyjson_obj_get(value, "type");
    if (!yyjson_equals_str(type, "json_schema"))
        return refuse(r->refusal, 400, "invalid_value", type_path, "'%s' must be \"json_schema\".",
                      type_path);
    return take_schema(r, inside ? "output_config" : "output_format",
                       yyjson_obj_get(value, "schema"),
                       inside ? "output_config.format.schema" : "output_format.schema");
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
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of strings", value);
    if (n == 0)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is empty; it must have at least one string to choose from.", name);
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

static bool read_any_object(struct reading *r, const char *name, yyjson_val *value)
{
    bool wanted;
    if (!take_flag(r, name, value, &wanted))
        return false;
    struct constraint *c = wanted ? only_one_of(r, name) : NULL;
    if (c)
        c->kind = CONSTRAINT_JSON;
    return !wanted || c;
}

// vLLM's newer spelling: one member, named like one of the others. What it may hold beside that and
// is not false would change the answer, so it is refused.
static bool read_structured(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct field members[] = {
        {"structured_outputs.json", read_json_schema},
        {"structured_outputs.regex", read_regex},
        {"structured_outputs.grammar", read_grammar},
        {"structured_outputs.choice", read_choice},
        {"structured_outputs.json_object", read_any_object},
    };
    const char *before = r->form->constraint;
    size_t at, n;
    yyjson_val *key, *member;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_obj_foreach(value, at, n, key, member)
    {
        const struct field *field = NULL;
        char path[80];
        snprintf(path, sizeof(path), "%s.%.40s", name, yyjson_get_str(key));
        for (size_t i = 0; i < COUNT_OF(members); i++)
            if (strcmp(members[i].name, path) == 0)
                field = &members[i];
        if (yyjson_is_null(member) || (!field && yyjson_is_false(member)))
            continue;
        if (!field)
            return not_supported(r, path, "send json, regex, grammar, choice or json_object");
        if (!field->read(r, field->name, member))
            return false;
    }
    return r->form->constraint != before
               ? true
               : refuse(r->refusal, 400, "invalid_value", name,
                        "'%s' says nothing; it must have json, regex, grammar, choice or "
                        "json_object.",
                        name);
}

// Ollama's spelling: "json", a schema, or "" for none.
static bool read_format(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return take_schema(r, name, value, "format");
    if (yyjson_get_len(value) == 0)
        return true;
    if (!yyjson_equals_str(value, "json"))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is \"%.40s\"; it must be \"json\" or a JSON schema.", name,
                      yyjson_get_str(value));
    struct constraint *c = only_one_of(r, name);
    if (c)
        c->kind = CONSTRAINT_JSON;
    return c;
}

const struct field ollama_format_fields[] = {
    {"format", read_format},
    {NULL, NULL},
};

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
