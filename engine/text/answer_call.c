// answer_call.c - a call's arguments, from their first byte to the end of the call, as JSON.
//
// A value passes through answer_json.c as it comes. Parameters between marks become members by the
// tool's schema: what is a string streams, what may be something else waits for its end. Keyword
// arguments are values with a name. What turns out to be no JSON after the call has begun is passed
// on as it is: the client sees what the model wrote, and can say so to it.
#include "answer_inside.h"

#include <stdlib.h>
#include <string.h>

static void take(struct answer_parser *a, size_t n)
{
    a->at += n;
}

static void tell(struct answer_parser *a, struct bytes text)
{
    answer_tell(a, ANSWER_TOOL_ARGUMENTS, text);
}

static void tell_text(struct answer_parser *a, const char *text)
{
    tell(a, bytes_of(text));
}

static void tell_scratch(struct answer_parser *a)
{
    tell(a, buf_view(&a->scratch));
    a->scratch.n = 0;
}

// ---- the schema of a parameter ------------------------------------------------------------------

static unsigned types_of(const struct value *schema, int depth);

static unsigned type_named(const struct value *name)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {{"string", IS_STRING}, {"number", IS_NUMBER}, {"integer", IS_NUMBER},
                 {"boolean", IS_TRUTH}, {"array", IS_LIST},    {"object", IS_DICT},
                 {"null", IS_NOTHING}};
    for (size_t i = 0; name->kind == VALUE_TEXT && i < COUNT_OF(types); i++)
        if (bytes_equal_text(name->text, types[i].name))
            return types[i].type;
    return 0;
}

static unsigned type_of(const struct value *value)
{
    static const unsigned types[] = {
        [VALUE_NULL] = IS_NOTHING, [VALUE_BOOL] = IS_TRUTH,  [VALUE_WHOLE] = IS_NUMBER,
        [VALUE_REAL] = IS_NUMBER,  [VALUE_TEXT] = IS_STRING, [VALUE_LIST] = IS_LIST,
        [VALUE_DICT] = IS_DICT};
    return types[value->kind];
}

// The union over a list; 0, which stands for any type, makes all of it 0.
static unsigned types_of_all(const struct value *list, unsigned (*of)(const struct value *))
{
    unsigned types = 0;
    for (size_t i = 0; i < list->list.n; i++) {
        const unsigned one = of(&list->list.items[i]);
        if (one == 0)
            return 0;
        types |= one;
    }
    return types;
}

static unsigned types_of_choices(const struct value *list, int depth)
{
    unsigned types = 0;
    for (size_t i = 0; i < list->list.n; i++) {
        const unsigned one = types_of(&list->list.items[i], depth + 1);
        if (one == 0)
            return 0;
        types |= one;
    }
    return types;
}

// 0: any
static unsigned types_of(const struct value *schema, int depth)
{
    static const char *const choices[] = {"anyOf", "oneOf"};
    const struct value *type = value_get(schema, "type"), *values = value_get(schema, "enum");
    if (type && type->kind == VALUE_LIST)
        return types_of_all(type, type_named);
    if (type)
        return type_named(type);
    if (values && values->kind == VALUE_LIST)
        return types_of_all(values, type_of);
    for (size_t i = 0; i < COUNT_OF(choices) && depth < VALUE_DEPTH; i++) {
        const struct value *list = value_get(schema, choices[i]);
        if (list && list->kind == VALUE_LIST)
            return types_of_choices(list, depth);
    }
    return 0;
}

unsigned answer_types(const struct value *schema)
{
    return types_of(schema, 0);
}

static const struct value *properties_of(const struct value *tool)
{
    static const char *const names[] = {"parameters", "input_schema"};
    const struct value *properties = NULL;
    for (size_t i = 0; i < COUNT_OF(names) && !properties; i++)
        properties = value_get(value_get(tool, names[i]), "properties");
    return properties && properties->kind == VALUE_DICT ? properties : NULL;
}

static unsigned types_of_parameter(const struct answer_parser *a, struct bytes name)
{
    for (size_t i = 0; a->schema && i < a->schema->dict.n; i++)
        if (bytes_equal(a->schema->dict.members[i].name, name))
            return types_of(&a->schema->dict.members[i].value, 0);
    return 0;
}

// ---- beginning ----------------------------------------------------------------------------------

// Of "{\"a\": 1}" as a string, in scratch, its inside.
static void tell_inside(struct answer_parser *a)
{
    struct arena arena;
    struct value value;
    arena_init(&arena, SIZE_MAX);
    const enum status status = value_read(&value, &arena, buf_view(&a->scratch), NULL);
    tell(a, status == OK && value.kind == VALUE_TEXT ? value.text : buf_view(&a->scratch));
    a->scratch.n = 0;
    arena_free(&arena);
}

// Arguments that stood before the name.
static void tell_before(struct answer_parser *a, struct bytes value)
{
    struct answer_json json;
    answer_json_init(&json, NULL);
    (void)answer_json_feed(&json, value, true, &a->scratch);
    if (*value.p == '"')
        tell_inside(a);
    else
        tell_scratch(a);
}

void answer_begin(struct answer_parser *a, struct bytes in, const struct head *head)
{
    answer_call(a, head->name, head->id);
    a->schema = properties_of(answer_tool(a, head->name));
    a->n_parameters = 0;
    a->n_levels = head->n_levels;
    a->listed = a->listed || head->listed;
    a->state = head->state;
    answer_json_init(&a->json, a->form->quote);
    const struct bytes before = {in.p + head->from, head->to - head->from};
    if (head->to > 0)
        tell_before(a, before);
    else if (head->state == IN_REST)
        tell_text(a, "{}");
    take(a, head->n);
}

// ---- one value ----------------------------------------------------------------------------------

static void value_ends(struct answer_parser *a)
{
    if (a->state == IN_KEYWORD)
        a->state = IN_KEYWORDS;
    else
        a->state = IN_REST;
}

static bool value_step(struct answer_parser *a)
{
    const size_t n = answer_json_feed(&a->json, answer_rest(a), a->final, &a->scratch);
    take(a, n);
    tell_scratch(a);
    if (a->json.state == JSON_DONE)
        value_ends(a);
    else if (a->json.state == JSON_BAD)
        a->state = IN_BROKEN;
    return n > 0 || a->json.state != JSON_MORE;
}

// The string is gathered, and told when it is whole, or as far as it came.
static bool string_step(struct answer_parser *a)
{
    take(a, answer_json_feed(&a->json, answer_rest(a), a->final, &a->scratch));
    if (a->json.state == JSON_MORE && !a->final)
        return false;
    if (a->json.state == JSON_DONE) {
        tell_inside(a);
    } else if (a->scratch.n > 0) {
        tell(a, bytes_from(buf_view(&a->scratch), 1));
        a->scratch.n = 0;
    }
    a->state = IN_REST;
    return true;
}

// Up to the next mark.
static bool broken_step(struct answer_parser *a)
{
    const struct answer_form *form = a->form;
    const char *const marks[] = {form->call_close, form->close[0], form->close[1], form->open[0]};
    const struct bytes rest = answer_rest(a);
    size_t end = rest.n, open = 0;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        const size_t found = bytes_find(rest, marks[i]), part = bytes_open_end(rest, marks[i]);
        end = found < end ? found : end;
        open = part > open ? part : open;
    }
    const bool found = end < rest.n;
    if (!found && !a->final)
        end -= open;
    tell(a, (struct bytes){rest.p, end});
    take(a, end);
    if (found)
        answer_call_ends(a);
    return found;
}

// ---- what follows it ----------------------------------------------------------------------------

// The rest of the object around the arguments. True: *n bytes of it, all there is.
static bool object_rest(const struct answer_parser *a, struct bytes in, size_t *n)
{
    int n_levels = a->n_levels;
    size_t at = 0;
    while (n_levels > 0) {
        at += bytes_blank(bytes_from(in, at));
        if (at == in.n)
            return false;
        if (in.p[at] == '}') {
            n_levels--;
            at++;
        } else if (in.p[at] == ',' || in.p[at] == ':') {
            at++;
        } else {
            enum json_state state;
            const size_t skipped = answer_json_skip(bytes_from(in, at), NULL, false, &state);
            if (skipped == 0 && state == JSON_MORE)
                return false;
            if (skipped == 0)
                break; // no object any more: the call ends here
            at += skipped;
        }
    }
    *n = at;
    return true;
}

static bool rest_step(struct answer_parser *a)
{
    const char *const ends[] = {"```", a->form->shape == SHAPE_NAMED ? a->form->call_close : NULL};
    struct bytes rest = answer_rest(a);
    if (a->n_levels > 0) {
        size_t n = rest.n;
        const bool whole = object_rest(a, rest, &n);
        if (!whole && !a->final && rest.n <= HEAD_MOST)
            return false;
        take(a, n <= HEAD_MOST || a->final ? n : 0);
        a->n_levels = 0;
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(ends) && a->form->shape == SHAPE_NAMED; i++) {
        const size_t blank = bytes_blank(rest);
        const struct bytes at = bytes_from(rest, blank);
        if (ends[i] && !a->final && (at.n == 0 || bytes_may_begin(at, ends[i])))
            return false;
        if (bytes_begin(at, ends[i])) {
            take(a, blank + strlen(ends[i]));
            rest = answer_rest(a);
        }
    }
    answer_call_ends(a);
    return true;
}

// ---- parameters between marks -------------------------------------------------------------------

static void member_begins(struct answer_parser *a, struct bytes name)
{
    tell_text(a, a->n_parameters++ > 0 ? ", " : "{");
    if (buf_json(&a->scratch, name) != OK || buf_format(&a->scratch, ": ") != OK)
        die("out of memory");
    tell_scratch(a);
}

static void parameters_end(struct answer_parser *a)
{
    tell_text(a, a->n_parameters > 0 ? "}" : "{}");
    answer_call_ends(a);
}

// Takes a parameter's name and all that stands before its value; false: it is not all there.
static bool parameter_begins(struct answer_parser *a, struct bytes rest)
{
    const struct answer_form *form = a->form;
    const struct bytes behind = bytes_from(rest, strlen(form->argument_open));
    const size_t n = bytes_find(behind, form->argument_name_end);
    size_t at = n + strlen(form->argument_name_end);
    const size_t n_open = n < behind.n ? 0 : bytes_open_end(behind, form->argument_name_end);
    if (n - n_open > NAME_MOST) {
        a->state = IN_BROKEN; // no name is so long
        return true;
    }
    if (n == behind.n)
        return false;
    const struct bytes name = {behind.p, n};
    a->types = types_of_parameter(a, name);
    if (form->says_string) {
        const size_t end = bytes_find(bytes_from(behind, at), ">");
        if (at + end == behind.n)
            return false;
        const struct bytes said = bytes_from(behind, at);
        a->types = bytes_begin(said, "true") || bytes_begin(said, "string") ? IS_STRING : 0;
        at += end + 1;
    }
    if (form->value_open) {
        at += bytes_blank(bytes_from(behind, at));
        const struct bytes value = bytes_from(behind, at);
        if (value.n == 0 || bytes_may_begin(value, form->value_open))
            return false;
        at += bytes_begin(value, form->value_open) ? strlen(form->value_open) : 0;
    }
    member_begins(a, name);
    a->is_string = a->types == IS_STRING;
    a->begun = false;
    a->n_searched = 0;
    take(a, rest.n - behind.n + at);
    a->state = IN_PARAMETER;
    return true;
}

static bool parameters_step(struct answer_parser *a)
{
    const struct answer_form *form = a->form;
    const struct bytes rest = answer_rest(a);
    const size_t blank = bytes_blank(rest);
    const struct bytes next = bytes_from(rest, blank);
    if (next.n == 0)
        return false;
    if (bytes_begin(next, form->argument_open)) {
        take(a, blank);
        return parameter_begins(a, next) || blank > 0;
    }
    if (bytes_begin(next, form->call_close)) {
        take(a, blank + strlen(form->call_close));
        parameters_end(a);
        return true;
    }
    if (bytes_may_begin(next, form->argument_open) || bytes_may_begin(next, form->call_close))
        return false;
    take(a, blank);
    parameters_end(a); // its mark was forgotten
    return true;
}

static struct bytes without_lines(const struct answer_parser *a, struct bytes value)
{
    if (!a->form->trims_line)
        return value;
    if (value.n > 0 && *value.p == '\n')
        value = bytes_from(value, 1);
    if (value.n > 0 && value.p[value.n - 1] == '\n')
        value.n--;
    return value;
}

static void add_string(struct answer_parser *a, struct bytes text)
{
    if (buf_add(&a->scratch, "\"", 1) != OK)
        die("out of memory");
    answer_json_escape(&a->scratch, text);
    if (buf_add(&a->scratch, "\"", 1) != OK)
        die("out of memory");
}

// A whole value of which the schema does not say that it is a string: JSON when it is of a type
// that the schema takes, Python's literals too; else a string.
static void value_whole(struct answer_parser *a, struct bytes text)
{
    struct arena arena;
    struct value value;
    struct answer_json json;
    arena_init(&arena, SIZE_MAX);
    answer_json_init(&json, NULL);
    const size_t blank = bytes_blank(text);
    const size_t n = answer_json_feed(&json, bytes_from(text, blank), true, &a->scratch) + blank;
    const bool whole = json.state == JSON_DONE && n + bytes_blank(bytes_from(text, n)) == text.n;
    const bool quoted = text.n > blank && (text.p[blank] == '"' || text.p[blank] == '\'');
    const bool good = whole && value_read(&value, &arena, buf_view(&a->scratch), NULL) == OK &&
                      (value.kind == VALUE_TEXT ? quoted && a->types == 0
                                                : a->types == 0 || (a->types & type_of(&value)));
    arena_free(&arena);
    if (!good) {
        a->scratch.n = 0;
        add_string(a, without_lines(a, text));
    }
    tell_scratch(a);
}

static bool parameter_step(struct answer_parser *a)
{
    const char *mark = a->form->argument_close;
    const struct bytes rest = answer_rest(a);
    const size_t from = a->is_string ? 0 : a->n_searched;
    size_t end = from + bytes_find(bytes_from(rest, from), mark);
    const bool found = end < rest.n;
    if (!found)
        a->n_searched = rest.n - bytes_open_end(rest, mark);
    if (!a->is_string && (found || a->final)) {
        const struct bytes value = {rest.p, end};
        if (found)
            value_whole(a, value);
        else
            tell(a, without_lines(a, (struct bytes){rest.p, end - bytes_open_end(rest, mark)}));
        take(a, end + (found ? strlen(mark) : 0));
        a->state = IN_PARAMETERS;
        return found;
    }
    if (!a->is_string || (rest.n == 0 && !a->final))
        return false;
    const bool trims = a->form->trims_line;
    const size_t skipped = !a->begun && trims && rest.n > 0 && *rest.p == '\n';
    if (!found)
        end -= bytes_open_end(rest, mark);
    if (!found && trims && end > skipped)
        end -= rest.p[end - 1] == '\n';
    const size_t last = found && trims && end > skipped && rest.p[end - 1] == '\n';
    if (!a->begun && !found && !a->final && end == 0)
        return false; // the line break that may be skipped is not decided
    if (!a->begun)
        tell_text(a, "\"");
    a->begun = true;
    answer_json_escape(&a->scratch, (struct bytes){rest.p + skipped, end - skipped - last});
    tell_scratch(a);
    if (found)
        tell_text(a, "\"");
    take(a, end + (found ? strlen(mark) : 0));
    a->state = found ? IN_PARAMETERS : IN_PARAMETER;
    return found || end > 0;
}

// ---- keyword arguments --------------------------------------------------------------------------

// Bytes of `name =` that `in` begins with; 0: there is none, *more says whether there may be.
static size_t keyword(struct bytes in, struct bytes *name, bool *more)
{
    size_t n = 0;
    while (n < in.n && (in.p[n] == '_' || in.p[n] == '-' || (in.p[n] >= '0' && in.p[n] <= '9') ||
                        ((in.p[n] | 0x20) >= 'a' && (in.p[n] | 0x20) <= 'z')))
        n++;
    *name = (struct bytes){in.p, n};
    const size_t at = n + bytes_blank(bytes_from(in, n));
    *more = at == in.n;
    return n > 0 && at < in.n && in.p[at] == '=' ? at + 1 : 0;
}

static bool keywords_step(struct answer_parser *a)
{
    const struct bytes rest = answer_rest(a);
    size_t at = 0;
    while (at < rest.n && (rest.p[at] == ',' || bytes_blank(bytes_from(rest, at)) > 0))
        at++;
    if (at == rest.n)
        return false;
    if (rest.p[at] == ')') {
        take(a, at + 1);
        parameters_end(a);
        return true;
    }
    struct bytes name;
    bool more;
    const size_t n = keyword(bytes_from(rest, at), &name, &more);
    if (n == 0 && more)
        return false;
    if (n == 0 && (!a->schema || a->n_parameters >= a->schema->dict.n)) {
        a->state = IN_BROKEN;
        return true;
    }
    if (n == 0) // by its place
        name = a->schema->dict.members[a->n_parameters].name;
    member_begins(a, name);
    take(a, at + n);
    answer_json_init(&a->json, NULL);
    a->state = IN_KEYWORD;
    return true;
}

// ---- all of it ----------------------------------------------------------------------------------

bool answer_call_step(struct answer_parser *a)
{
    switch (a->state) {
    case IN_VALUE:
    case IN_KEYWORD:
        return value_step(a);
    case IN_STRING:
        return string_step(a);
    case IN_REST:
        return rest_step(a);
    case IN_PARAMETERS:
        return parameters_step(a);
    case IN_PARAMETER:
        return parameter_step(a);
    case IN_KEYWORDS:
        return keywords_step(a);
    default:
        return broken_step(a);
    }
}
