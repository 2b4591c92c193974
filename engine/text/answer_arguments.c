// answer_arguments.c - the arguments of a tool's call in a grammar, as its form writes them: one
// JSON object that obeys the tool's schema, or parameters one behind the other, by the schema's
// order, those that are required all there, and no others unless the schema asks for them.
//
// A parameter's value between marks stands there as it is when it is a string, and as JSON when it
// is anything else; the parser reads it back by the same types (answer_types). Of a string that
// stands bare what is enforced is enum and const; of a value in a form's own quotes its type, and
// what is in lists and objects is any such value.
#include "answer_inside.h"
#include "schema.h"

#include <stdlib.h>
#include <string.h>

static const struct grammar_rule *rule_at(const struct answer_maker *m, uint32_t rule)
{
    return &m->g->rules[rule];
}

// ---- values -------------------------------------------------------------------------------------

static uint32_t text_rule(struct answer_maker *m)
{
    if (m->text_rule == 0) {
        const char *end = m->form->values == AS_QUOTED ? m->form->quote : m->form->argument_close;
        const uint32_t rule = m->text_rule = automaton_rule(m->g);
        maker_text_without(m, rule_at(m, rule)->start, &end, 1, false, rule_at(m, rule)->end);
    }
    return m->text_rule;
}

// A text between the form's quotes; fixed: this one, NULL: any.
static void write_quoted(struct answer_maker *m, uint32_t from, const struct bytes *fixed,
                         uint32_t to)
{
    const struct bytes quote = bytes_of(m->form->quote);
    const uint32_t opened = automaton_state(m->g), closing = automaton_state(m->g);
    automaton_mark(m->g, from, quote, m->tokenizer, opened);
    if (fixed)
        automaton_text(m->g, opened, *fixed, closing);
    else
        automaton_call(m->g, opened, text_rule(m), closing);
    automaton_mark(m->g, closing, quote, m->tokenizer, to);
}

enum { NAME_WRITTEN_MOST = 64 }; // of a parameter that the schema does not name

static void write_name(struct answer_maker *m, uint32_t from, uint32_t to)
{
    static const uint8_t ranges[][2] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'_', '_'}, {'-', '-'}};
    for (int n = 0; n < NAME_WRITTEN_MOST; n++) {
        const uint32_t next = automaton_state(m->g);
        for (size_t i = 0; i < COUNT_OF(ranges); i++)
            automaton_bytes(m->g, from, ranges[i][0], ranges[i][1], next);
        automaton_skip(m->g, next, to);
        from = next;
    }
}

// open, items with commas between, close.
static void write_items(struct answer_maker *m, uint32_t from, const char *brackets, uint32_t item,
                        uint32_t to)
{
    struct grammar *g = m->g;
    const uint32_t opened = automaton_state(g), behind = automaton_state(g),
                   next = automaton_state(g), space = plain_space(g);
    automaton_bytes(g, from, (uint8_t)brackets[0], (uint8_t)brackets[0], opened);
    automaton_bytes(g, opened, (uint8_t)brackets[1], (uint8_t)brackets[1], to);
    automaton_call(g, opened, item, behind);
    automaton_bytes(g, behind, ',', ',', next);
    const uint32_t spaced = automaton_state(g);
    automaton_call(g, next, space, spaced);
    automaton_call(g, spaced, item, behind);
    automaton_bytes(g, behind, (uint8_t)brackets[1], (uint8_t)brackets[1], to);
}

static void make_quoted(struct answer_maker *m)
{
    struct grammar *g = m->g;
    const uint32_t any = automaton_rule(g), list = automaton_rule(g), dict = automaton_rule(g),
                   member = automaton_rule(g), start = rule_at(m, any)->start,
                   end = rule_at(m, any)->end, colon = automaton_state(g),
                   value = automaton_state(g);
    struct bytes words[] = {bytes_of("true"), bytes_of("false"), bytes_of("null")};
    write_name(m, rule_at(m, member)->start, colon);
    automaton_bytes(g, colon, ':', ':', value);
    automaton_call(g, value, any, rule_at(m, member)->end);
    write_quoted(m, start, NULL, end);
    automaton_call(g, start, plain_number(g), end);
    automaton_any_of(g, start, words, COUNT_OF(words), end);
    write_items(m, rule_at(m, list)->start, "[]", any, rule_at(m, list)->end);
    write_items(m, rule_at(m, dict)->start, "{}", member, rule_at(m, dict)->end);
    automaton_call(g, start, list, end);
    automaton_call(g, start, dict, end);
    m->quoted_any = any;
    m->quoted_list = list;
    m->quoted_dict = dict;
}

// Lists and objects whose strings are in the form's quotes, and any value.
static void write_nested(struct answer_maker *m, uint32_t from, unsigned types, uint32_t to)
{
    if (m->quoted_any == 0)
        make_quoted(m);
    if (types == 0)
        automaton_call(m->g, from, m->quoted_any, to);
    if (types & IS_LIST)
        automaton_call(m->g, from, m->quoted_list, to);
    if (types & IS_DICT)
        automaton_call(m->g, from, m->quoted_dict, to);
}

// 'text', as Python writes it.
static uint32_t python_rule(struct answer_maker *m)
{
    struct grammar *g = m->g;
    if (m->python_rule)
        return m->python_rule;
    const uint32_t rule = m->python_rule = automaton_rule(g), inside = automaton_state(g),
                   slash = automaton_state(g);
    automaton_bytes(g, rule_at(m, rule)->start, '\'', '\'', inside);
    automaton_range(g, inside, 0x20, '\'' - 1, inside);
    automaton_range(g, inside, '\'' + 1, '\\' - 1, inside);
    automaton_range(g, inside, '\\' + 1, LETTER_LAST, inside);
    automaton_bytes(g, inside, '\\', '\\', slash);
    for (const char *p = "\\'\"ntr"; *p; p++)
        automaton_bytes(g, slash, (uint8_t)*p, (uint8_t)*p, inside);
    automaton_bytes(g, inside, '\'', '\'', rule_at(m, rule)->end);
    return rule;
}

// The only values that a string may have; NULL: any.
static const struct value *fixed_of(const struct value *schema, struct value *one)
{
    const struct value *list = value_get(schema, "enum"), *constant = value_get(schema, "const");
    if (constant && constant->kind == VALUE_TEXT) {
        *one = (struct value){.kind = VALUE_LIST, .list = {constant, 1}};
        return one;
    }
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->list.n; i++)
        if (list->list.items[i].kind != VALUE_TEXT)
            return NULL;
    return list && list->kind == VALUE_LIST && list->list.n > 0 ? list : NULL;
}

// A string as the form writes it: bare, in its own quotes, or between '.
static void write_string(struct answer_maker *m, uint32_t from, const struct value *schema,
                         uint32_t to)
{
    struct value one;
    const struct value *fixed = answer_types(schema) == IS_STRING ? fixed_of(schema, &one) : NULL;
    const bool quoted = m->form->values == AS_QUOTED, python = m->form->values == AS_PYTHON;
    for (size_t i = 0; fixed && i < fixed->list.n; i++) {
        const uint32_t opened = automaton_state(m->g), closing = automaton_state(m->g);
        if (quoted) {
            write_quoted(m, from, &fixed->list.items[i].text, to);
            continue;
        }
        automaton_text(m->g, from, bytes_of(python ? "'" : ""), opened);
        automaton_text(m->g, opened, fixed->list.items[i].text, closing);
        automaton_text(m->g, closing, bytes_of(python ? "'" : ""), to);
    }
    if (fixed)
        return;
    if (quoted)
        write_quoted(m, from, NULL, to);
    else
        automaton_call(m->g, from, python ? python_rule(m) : text_rule(m), to);
}

// ---- parameters ---------------------------------------------------------------------------------

struct parameter {
    struct bytes name;             // n == 0: any
    const struct member *property; // NULL: the schema does not name it
    bool required;
};

static const struct value *schema_of(const struct parameter *p)
{
    static const struct value anything = {.kind = VALUE_BOOL, .yes = true};
    return p->property ? &p->property->value : &anything;
}

// Its value as JSON.
static uint32_t json_rule(struct answer_maker *m, const struct tool_rule *tool,
                          const struct parameter *p)
{
    const struct value *parameters = value_get(tool->function, "parameters");
    uint32_t rule = 0;
    if (m->loose || !p->property)
        return plain_any(m->g);
    if (m->err.status == OK)
        (void)schema_property(m->schemas, parameters, p->property, tool->path, &rule, &m->err);
    return rule;
}

enum parts { PART_STRING = 1, PART_OTHER = 2 };

// Which of the two ways to write a value are open to it. What hides its type behind a reference is
// JSON, so that the reference is obeyed; a bare text is all that it may be.
static int parts_of(const struct answer_maker *m, const struct parameter *p)
{
    const struct value *schema = schema_of(p);
    const unsigned types = answer_types(schema);
    const bool hidden = types == 0 && (value_get(schema, "$ref") || value_get(schema, "allOf"));
    if (hidden && !m->loose)
        return PART_OTHER | (m->form->values == AS_PYTHON ? PART_STRING : 0);
    const int parts = (types == 0 || types & IS_STRING ? PART_STRING : 0) |
                      (types == 0 || types & ~(unsigned)IS_STRING ? PART_OTHER : 0);
    if (m->form->values == AS_TEXT && !m->form->types[0] && parts & PART_STRING)
        return PART_STRING;
    return m->form->values == AS_PYTHON ? parts | PART_OTHER : parts;
}

static void write_value(struct answer_maker *m, const struct tool_rule *tool,
                        const struct parameter *p, int parts, uint32_t from, uint32_t to)
{
    struct bytes python[] = {bytes_of("True"), bytes_of("False")};
    const unsigned types = answer_types(schema_of(p));
    if (parts & PART_STRING)
        write_string(m, from, schema_of(p), to);
    if (!(parts & PART_OTHER))
        return;
    const bool nested = types == 0 || types & (IS_LIST | IS_DICT);
    if (m->form->values == AS_QUOTED && nested)
        write_nested(m, from, types & ~(unsigned)(IS_STRING | IS_LIST | IS_DICT) ? 0 : types, to);
    if (m->form->values != AS_QUOTED || !nested)
        automaton_call(m->g, from, json_rule(m, tool, p), to);
    if (m->form->values == AS_PYTHON && (types == 0 || types & IS_TRUTH))
        automaton_any_of(m->g, from, python, COUNT_OF(python), to);
    if (m->form->values == AS_PYTHON && (types == 0 || types & IS_NOTHING))
        automaton_text(m->g, from, bytes_of("None"), to);
}

// A parameter whole, with its name and its marks.
static void write_parameter(struct answer_maker *m, const struct tool_rule *tool,
                            const struct parameter *p, uint32_t from, uint32_t to)
{
    const int parts = parts_of(m, p), ways[] = {PART_STRING, PART_OTHER};
    struct slots slots = {.name = p->name};
    if (p->name.n == 0) {
        slots.name_rule = automaton_rule(m->g);
        write_name(m, rule_at(m, slots.name_rule)->start, rule_at(m, slots.name_rule)->end);
    }
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const int way = m->form->types[0] ? parts & ways[i] : i == 0 ? parts : 0;
        if (way == 0)
            continue;
        slots.types = m->form->types[i];
        slots.value = automaton_rule(m->g);
        write_value(m, tool, p, way, rule_at(m, slots.value)->start, rule_at(m, slots.value)->end);
        maker_write(m, from, m->form->parameter, &slots, to);
    }
}

// Whether the form can write such a name.
static bool can_be_named(const struct answer_form *form, struct bytes name)
{
    bool plain = name.n > 0 && name.n <= NAME_MOST;
    for (size_t i = 0; i < name.n; i++) {
        const uint8_t c = name.p[i], letter = c | 0x20;
        const bool word =
            (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z') || c == '_' || c == '-';
        plain = plain && c > ' ' && (word || form->values == AS_TEXT);
    }
    return plain && bytes_find(name, form->argument_name_end) == name.n;
}

static bool is_required(const struct value *parameters, struct bytes name)
{
    const struct value *list = value_get(parameters, "required");
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->list.n; i++)
        if (list->list.items[i].kind == VALUE_TEXT && bytes_equal(list->list.items[i].text, name))
            return true;
    return false;
}

// Whether parameters may come that the schema does not name.
static bool takes_more(const struct value *parameters, size_t n_named)
{
    const struct value *more = value_get(parameters, "additionalProperties");
    if (!parameters)
        return false; // as OpenAI reads a function without parameters
    if (more && more->kind != VALUE_NULL)
        return more->kind == VALUE_DICT || (more->kind == VALUE_BOOL && more->yes);
    return n_named == 0 && !value_get(parameters, "properties");
}

enum { PARAMETERS_MOST = 1000 };

// The tool's parameters into list; false: *m says why not.
static bool list_parameters(struct answer_maker *m, const struct tool_rule *tool,
                            struct parameter *list, size_t *n)
{
    const struct value *parameters = value_get(tool->function, "parameters"),
                       *properties = value_get(parameters, "properties");
    *n = 0;
    for (size_t i = 0; properties && properties->kind == VALUE_DICT && i < properties->dict.n;
         i++) {
        const struct member *property = &properties->dict.members[i];
        const bool required = is_required(parameters, property->name);
        char shown[NAME_TEXT];
        if (*n < PARAMETERS_MOST && can_be_named(m->form, property->name))
            list[(*n)++] = (struct parameter){property->name, property, required};
        else if (required)
            return err_set(&m->err, UNSUPPORTED,
                           "%s.properties.%s: the model's form of calls cannot name it", tool->path,
                           name_text(shown, property->name)) == OK;
    }
    return true;
}

static void write_parameters(struct answer_maker *m, const struct tool_rule *tool,
                             const struct parameter *list, size_t n, uint32_t from, uint32_t to)
{
    struct grammar *g = m->g;
    const char *between = m->form->between ? m->form->between : "";
    const struct parameter any = {.required = false};
    const bool more = takes_more(value_get(tool->function, "parameters"), n);
    uint32_t before = automaton_state(g); // the next parameter may begin
    size_t last = 0;                      // from here on none is required
    for (size_t i = 0; i < n; i++)
        last = list[i].required ? i + 1 : last;
    automaton_skip(g, from, before);
    if (last == 0)
        automaton_skip(g, from, to);
    for (size_t i = 0; i < n + more && !g->full && m->err.status == OK; i++) {
        const uint32_t next = i < n ? automaton_state(g) : before, behind = automaton_state(g);
        const struct parameter *p = i < n ? &list[i] : &any;
        write_parameter(m, tool, p, before, behind);
        if (!p->required)
            automaton_skip(g, before, next);
        maker_write(m, behind, between, &(struct slots){0}, next);
        if (i + 1 >= last)
            automaton_skip(g, behind, to);
        before = next;
    }
}

static void write_tagged(struct answer_maker *m, const struct tool_rule *tool, uint32_t from,
                         uint32_t to)
{
    struct parameter *list = mem_array(PARAMETERS_MOST, sizeof(*list));
    size_t n;
    if (list_parameters(m, tool, list, &n))
        write_parameters(m, tool, list, n, from, to);
    free(list);
}

// ---- the whole ----------------------------------------------------------------------------------

static const struct member nothing_more[] = {
    {{(const uint8_t *)"type", 4}, {.kind = VALUE_TEXT, .text = {(const uint8_t *)"object", 6}}},
    {{(const uint8_t *)"additionalProperties", 20}, {.kind = VALUE_BOOL, .yes = false}},
};
static const struct value no_arguments = {.kind = VALUE_DICT,
                                          .dict = {nothing_more, COUNT_OF(nothing_more)}};

static void write_object(struct answer_maker *m, const struct tool_rule *tool, uint32_t from,
                         uint32_t to)
{
    const struct value *parameters = value_get(tool->function, "parameters");
    uint32_t rule = plain_object(m->g);
    if (!parameters || parameters->kind != VALUE_DICT)
        parameters = &no_arguments; // as OpenAI reads a function without parameters
    if (!m->loose && parameters->dict.n > 0)
        (void)schema_rule(m->schemas, parameters, tool->path, &rule, &m->err);
    automaton_call(m->g, from, rule, to);
}

bool maker_arguments(struct answer_maker *m, struct tool_rule *tool)
{
    const char *done = m->form->done ? m->form->done : "";
    const uint32_t behind = automaton_state(m->g);
    tool->arguments = automaton_rule(m->g);
    const uint32_t from = rule_at(m, tool->arguments)->start, to = rule_at(m, tool->arguments)->end;
    if (m->form->parameter)
        write_tagged(m, tool, from, behind);
    else
        write_object(m, tool, from, behind);
    maker_write(m, behind, done, &(struct slots){0}, to);
    return m->err.status == OK;
}
