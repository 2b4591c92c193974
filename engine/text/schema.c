// schema.c - a JSON schema into rules: which schemas a value must obey, what alternatives it has,
// and which kinds of values are left.
//
// A rule is made for a set of facts (schema.h). First $ref and allOf are followed until nothing is
// added; then anyOf or oneOf makes a rule of each alternative, with the facts it adds; when none is
// left the set is plain, and each kind of value that all its facts allow adds its edges. What is
// not enforced is noted. Nothing recurses: rules that are asked for wait in a line.
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 64 << 20 };

// ---- sets of facts ------------------------------------------------------------------------------

void facts_add(struct schema_maker *m, struct facts *facts, const struct value *schema,
               const struct spot *spot, size_t because)
{
    for (size_t i = 0; i < facts->n; i++) {
        if (facts->fact[i].schema != schema)
            continue;
        for (size_t from = because; from; from = facts->fact[from - 1].because)
            if (from - 1 == i)
                schema_fail(m, BAD_INPUT, spot, NULL, "it refers to itself and nothing else");
        return;
    }
    if (schema->kind == VALUE_BOOL) {
        facts->impossible = facts->impossible || !schema->yes;
        return;
    }
    if (schema->kind != VALUE_DICT)
        schema_fail(m, BAD_INPUT, spot, NULL, "a schema must be an object or a boolean, not %s",
                    value_kind_name(schema->kind));
    else if (schema->dict.n == 0)
        return; // it says nothing
    else if (facts->n == FACTS_MOST)
        schema_fail(m, TOO_LARGE, spot, NULL, "more than %d schemas are joined for one value",
                    FACTS_MOST);
    else
        facts->fact[facts->n++] = (struct fact){schema, spot, 0, (uint16_t)because};
}

static size_t facts_slot(const struct schema_maker *m, const struct facts *facts)
{
    uint64_t hash = facts->n;
    for (size_t i = 0; i < facts->n; i++) {
        hash ^= (uint64_t)(uintptr_t)facts->fact[i].schema + facts->fact[i].done;
        hash *= 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    size_t at = hash % (2 * SETS_MOST);
    for (; m->made[at]; at = (at + 1) % (2 * SETS_MOST)) {
        const struct pending *p = m->made[at];
        bool same = p->n == facts->n;
        for (size_t i = 0; same && i < p->n; i++)
            same = p->fact[i].schema == facts->fact[i].schema &&
                   p->fact[i].done == facts->fact[i].done;
        if (same)
            break;
    }
    return at;
}

uint32_t facts_rule(struct schema_maker *m, const struct facts *facts)
{
    if (facts->impossible || schema_failed(m))
        return 0;
    if (facts->n == 0)
        return plain_any(m->g);
    size_t at = facts_slot(m, facts);
    if (m->made[at])
        return m->made[at]->rule;
    struct pending *p = NULL;
    if (m->n_made < SETS_MOST)
        p = arena_take(&m->arena, sizeof(*p) + facts->n * sizeof(p->fact[0]));
    if (!p) {
        schema_fail(m, TOO_LARGE, m->root_spot, NULL,
                    "it is too large: more than %d different schemas", SETS_MOST);
        return 0;
    }
    memcpy(p->fact, facts->fact, facts->n * sizeof(p->fact[0]));
    p->n = facts->n;
    p->rule = automaton_rule(m->g);
    m->made[at] = p;
    m->n_made++;
    *m->end = p;
    m->end = &p->next;
    return p->rule;
}

// ---- references ---------------------------------------------------------------------------------

// One step of a pointer: %41 and ~1 ~0 are decoded, into the arena.
static struct bytes decode_step(struct schema_maker *m, struct bytes step)
{
    uint8_t *out = arena_take(&m->arena, step.n + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < step.n; i++) {
        unsigned byte;
        char digits[3] = {0};
        if (step.p[i] == '%' && i + 2 < step.n) {
            memcpy(digits, step.p + i + 1, 2);
            char *end;
            byte = (unsigned)strtoul(digits, &end, 16);
            out[n++] = *end ? '%' : (uint8_t)byte;
            i += *end ? 0 : 2;
        } else {
            out[n++] = step.p[i];
        }
    }
    size_t kept = 0;
    for (size_t i = 0; out && i < n; i++) {
        bool escaped = out[i] == '~' && i + 1 < n && (out[i + 1] == '0' || out[i + 1] == '1');
        out[kept++] = escaped ? (out[i + 1] == '0' ? '~' : '/') : out[i];
        i += escaped;
    }
    return (struct bytes){out, out ? kept : 0};
}

static const struct value *step_into(const struct value *value, struct bytes step, size_t *index)
{
    if (value->kind == VALUE_DICT) {
        for (size_t i = value->dict.n; i > 0; i--)
            if (bytes_equal(value->dict.members[i - 1].name, step))
                return &value->dict.members[i - 1].value;
        return NULL;
    }
    *index = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (step.p[i] < '0' || step.p[i] > '9' || i > 8)
            return NULL;
        *index = *index * 10 + (size_t)(step.p[i] - '0');
    }
    bool there = value->kind == VALUE_LIST && step.n && *index < value->list.n;
    return there ? &value->list.items[*index] : NULL;
}

static const struct value *resolve(struct schema_maker *m, const struct fact *fact,
                                   const struct value *ref, const struct spot **spot)
{
    const struct value *at = m->root;
    *spot = m->root_spot;
    if (ref->kind != VALUE_TEXT || ref->text.n == 0 || ref->text.p[0] != '#' ||
        (ref->text.n > 1 && ref->text.p[1] != '/')) {
        schema_fail(m, UNSUPPORTED, fact->spot, "$ref",
                    "only references within the schema are followed: #/...");
        return NULL;
    }
    for (size_t i = 1; i < ref->text.n;) {
        size_t from = i + 1, index = 0;
        for (i = from; i < ref->text.n && ref->text.p[i] != '/';)
            i++;
        const struct bytes step = decode_step(m, (struct bytes){ref->text.p + from, i - from});
        const bool list = at->kind == VALUE_LIST;
        at = step.p ? step_into(at, step, &index) : NULL;
        if (!at) {
            char name[NAME_TEXT];
            schema_fail(m, BAD_INPUT, fact->spot, "$ref", "the schema has no %s",
                        name_text(name, ref->text));
            return NULL;
        }
        *spot = list ? spot_item(m, *spot, index) : spot_name(m, *spot, step);
    }
    return at;
}

// Follows $ref and allOf of all facts, those they add included.
static void flatten(struct schema_maker *m, struct facts *facts)
{
    for (size_t i = 0; i < facts->n && !schema_failed(m); i++) {
        struct fact *fact = &facts->fact[i];
        const struct value *ref = schema_get(fact, "$ref"), *all = schema_get(fact, "allOf");
        if (ref && !(fact->done & FACT_REF)) {
            const struct spot *spot;
            const struct value *target = resolve(m, fact, ref, &spot);
            fact->done |= FACT_REF;
            if (target)
                facts_add(m, facts, target, spot, i + 1);
        }
        if (all && !(fact->done & FACT_ALL)) {
            const struct spot *spot = spot_name(m, fact->spot, bytes_of("allOf"));
            fact->done |= FACT_ALL;
            if (all->kind != VALUE_LIST)
                schema_fail(m, BAD_INPUT, fact->spot, "allOf", "it must be an array");
            for (size_t k = 0; all->kind == VALUE_LIST && k < all->list.n; k++)
                facts_add(m, facts, &all->list.items[k], spot_item(m, spot, k), i + 1);
        }
    }
}

// ---- alternatives -------------------------------------------------------------------------------

// Types of a schema behind its references.
static int types_behind(struct schema_maker *m, const struct value *schema, const struct spot *spot)
{
    struct facts facts = {.n = 0};
    int types = TYPE_ANY_BITS;
    facts_add(m, &facts, schema, spot, 0);
    flatten(m, &facts);
    for (size_t i = 0; i < facts.n; i++)
        types &= schema_types(m, &facts.fact[i]);
    return types;
}

// The value that a required property must have; NULL: there is none.
static const struct value *fixed_property(const struct value *schema, struct bytes name)
{
    const struct value *properties = value_get(schema, "properties"),
                       *required = value_get(schema, "required");
    bool is_required = false;
    for (size_t i = 0; required && required->kind == VALUE_LIST && i < required->list.n; i++)
        is_required = is_required || (required->list.items[i].kind == VALUE_TEXT &&
                                      bytes_equal(required->list.items[i].text, name));
    for (size_t i = 0;
         is_required && properties && properties->kind == VALUE_DICT && i < properties->dict.n;
         i++) {
        const struct value *property = &properties->dict.members[i].value,
                           *list = value_get(property, "enum");
        if (!bytes_equal(properties->dict.members[i].name, name))
            continue;
        if (list && list->kind == VALUE_LIST && list->list.n == 1)
            return &list->list.items[0];
        return value_get(property, "const");
    }
    return NULL;
}

static bool never_both(struct schema_maker *m, const struct value *a, const struct value *b,
                       const struct spot *spot)
{
    if (!(types_behind(m, a, spot) & types_behind(m, b, spot)))
        return true;
    const struct value *properties = value_get(a, "properties");
    for (size_t i = 0; properties && properties->kind == VALUE_DICT && i < properties->dict.n;
         i++) {
        const struct bytes name = properties->dict.members[i].name;
        const struct value *x = fixed_property(a, name), *y = fixed_property(b, name);
        if (x && y && !value_same(x, y))
            return true;
    }
    return false;
}

static void note_overlap(struct schema_maker *m, const struct value *list, const struct spot *spot)
{
    enum { COMPARED_MOST = 24 };
    bool apart = list->list.n <= COMPARED_MOST;
    for (size_t i = 0; apart && i < list->list.n; i++)
        for (size_t k = 0; apart && k < i; k++)
            apart = never_both(m, &list->list.items[i], &list->list.items[k], spot);
    if (!apart)
        schema_note(m, spot, NULL, "several alternatives may match at once");
}

// Makes a rule of each alternative of the first fact that has some. False: none has.
static bool alternatives(struct schema_maker *m, const struct facts *facts, uint32_t from,
                         uint32_t to)
{
    static const struct {
        const char *name;
        uint16_t bit;
    } keywords[] = {{"anyOf", FACT_ANY}, {"oneOf", FACT_ONE}};
    for (size_t i = 0; i < facts->n; i++) {
        for (size_t k = 0; k < COUNT_OF(keywords); k++) {
            const struct fact *fact = &facts->fact[i];
            const struct value *list = schema_get(fact, keywords[k].name);
            if (!list || fact->done & keywords[k].bit)
                continue;
            if (list->kind != VALUE_LIST || list->list.n == 0) {
                schema_fail(m, BAD_INPUT, fact->spot, keywords[k].name,
                            "it must be an array that is not empty");
                return true;
            }
            const struct spot *spot = spot_name(m, fact->spot, bytes_of(keywords[k].name));
            if (keywords[k].bit == FACT_ONE)
                note_overlap(m, list, spot);
            for (size_t n = 0; n < list->list.n && !schema_failed(m); n++) {
                struct facts one = *facts;
                one.fact[i].done |= keywords[k].bit;
                facts_add(m, &one, &list->list.items[n], spot_item(m, spot, n), i + 1);
                automaton_call(m->g, from, facts_rule(m, &one), to);
            }
            return true;
        }
    }
    return false;
}

// ---- kinds of values ----------------------------------------------------------------------------

static int type_bits(struct schema_maker *m, const struct fact *fact, const struct value *name)
{
    static const struct {
        const char *name;
        int bits;
    } types[] = {
        {"null", TYPE_NULL_BIT},       {"boolean", TYPE_BOOL_BIT},
        {"integer", TYPE_INTEGER_BIT}, {"number", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
        {"string", TYPE_STRING_BIT},   {"array", TYPE_ARRAY_BIT},
        {"object", TYPE_OBJECT_BIT},   {"any", TYPE_ANY_BITS},
    };
    if (name->kind == VALUE_TEXT && bytes_equal_text(name->text, "any"))
        schema_note(m, fact->spot, "type", "\"any\" is no type: every value is allowed");
    for (size_t i = 0; name->kind == VALUE_TEXT && i < COUNT_OF(types); i++)
        if (bytes_equal_text(name->text, types[i].name))
            return types[i].bits;
    schema_fail(m, BAD_INPUT, fact->spot, "type",
                "it must be null, boolean, integer, number, string, array or object, or an array "
                "of these");
    return 0;
}

// What keywords say where `type` says nothing: only values that they are about.
static int implied_types(const struct fact *fact)
{
    static const struct {
        const char *keyword;
        int bits;
    } implied[] = {
        {"properties", TYPE_OBJECT_BIT},
        {"required", TYPE_OBJECT_BIT},
        {"additionalProperties", TYPE_OBJECT_BIT},
        {"patternProperties", TYPE_OBJECT_BIT},
        {"minProperties", TYPE_OBJECT_BIT},
        {"items", TYPE_ARRAY_BIT},
        {"prefixItems", TYPE_ARRAY_BIT},
        {"minItems", TYPE_ARRAY_BIT},
        {"maxItems", TYPE_ARRAY_BIT},
        {"pattern", TYPE_STRING_BIT},
        {"format", TYPE_STRING_BIT},
        {"minLength", TYPE_STRING_BIT},
        {"maxLength", TYPE_STRING_BIT},
        {"minimum", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
        {"maximum", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
        {"exclusiveMinimum", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
        {"exclusiveMaximum", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
        {"multipleOf", TYPE_INTEGER_BIT | TYPE_REAL_BIT},
    };
    int bits = 0;
    for (size_t i = 0; i < COUNT_OF(implied); i++)
        if (schema_get(fact, implied[i].keyword))
            bits |= implied[i].bits;
    return bits ? bits : TYPE_ANY_BITS;
}

int schema_types(struct schema_maker *m, const struct fact *fact)
{
    const struct value *type = schema_get(fact, "type"), *nullable = schema_get(fact, "nullable");
    int bits = 0;
    if (!type)
        return implied_types(fact);
    if (type->kind == VALUE_LIST)
        for (size_t i = 0; i < type->list.n; i++)
            bits |= type_bits(m, fact, &type->list.items[i]);
    else
        bits = type_bits(m, fact, type);
    if (nullable && nullable->kind == VALUE_BOOL && nullable->yes)
        bits |= TYPE_NULL_BIT;
    return bits;
}

static void note_unenforced(struct schema_maker *m, const struct fact *fact)
{
    static const char *const keywords[] = {"not",
                                           "if",
                                           "contains",
                                           "propertyNames",
                                           "dependentRequired",
                                           "dependentSchemas",
                                           "dependencies",
                                           "unevaluatedItems",
                                           "$dynamicRef",
                                           "$recursiveRef"};
    const struct value *unique = schema_get(fact, "uniqueItems");
    for (size_t i = 0; i < COUNT_OF(keywords); i++)
        if (schema_get(fact, keywords[i]))
            schema_note(m, fact->spot, keywords[i], "not enforced");
    if (unique && unique->kind == VALUE_BOOL && unique->yes)
        schema_note(m, fact->spot, "uniqueItems", "not enforced");
}

static void plain_set(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to)
{
    struct grammar *g = m->g;
    int types = TYPE_ANY_BITS;
    for (size_t i = 0; i < facts->n; i++) {
        types &= schema_types(m, &facts->fact[i]);
        note_unenforced(m, &facts->fact[i]);
    }
    if (schema_failed(m) || schema_fixed(m, facts, types, from, to))
        return;
    if (types == 0)
        schema_dead(m, facts->fact[0].spot, NULL, "no type is left that all of it allows");
    if (types & TYPE_NULL_BIT)
        automaton_text(g, from, bytes_of("null"), to);
    if (types & TYPE_BOOL_BIT) {
        automaton_text(g, from, bytes_of("true"), to);
        automaton_text(g, from, bytes_of("false"), to);
    }
    if (types & TYPE_INTEGER_BIT)
        schema_number(m, facts, !(types & TYPE_REAL_BIT), from, to);
    if (types & TYPE_STRING_BIT)
        schema_string(m, facts, from, to);
    if (types & TYPE_ARRAY_BIT)
        schema_array(m, facts, from, to);
    if (types & TYPE_OBJECT_BIT)
        schema_object(m, facts, from, to);
}

static void make(struct schema_maker *m, const struct pending *p)
{
    const uint32_t from = m->g->rules[p->rule].start, to = m->g->rules[p->rule].end;
    struct facts facts = {.n = p->n};
    memcpy(facts.fact, p->fact, p->n * sizeof(p->fact[0]));
    flatten(m, &facts);
    if (facts.impossible)
        schema_dead(m, facts.fact[0].spot, NULL, "false allows no value");
    if (facts.impossible || schema_failed(m) || alternatives(m, &facts, from, to))
        return;
    plain_set(m, &facts, from, to);
}

// ---- the whole ----------------------------------------------------------------------------------

void schema_maker_open(struct schema_maker **out, struct grammar *g, bool lenient,
                       struct notes *notes)
{
    struct schema_maker *m = mem_alloc(sizeof(*m));
    m->g = g;
    m->lenient = lenient;
    m->notes = notes;
    m->end = &m->first;
    m->made = mem_array(2 * SETS_MOST, sizeof(struct pending *));
    arena_init(&m->arena, ARENA_BYTES);
    *out = m;
}

void schema_maker_close(struct schema_maker *maker)
{
    arena_free(&maker->arena);
    free(maker->made);
    free(maker);
}

static void begin(struct schema_maker *m, const struct value *schema, const char *path)
{
    m->until_ms = clock_ms() + MADE_MS_MOST;
    m->root = schema;
    m->root_spot = NULL;
    m->root_spot = spot_root(m, path);
}

// The rule of a part of the schema that was begun with.
static enum status part_rule(struct schema_maker *m, const struct value *schema,
                             const struct spot *spot, uint32_t *rule, struct err *err)
{
    struct facts facts = {.n = 0};
    facts_add(m, &facts, schema, spot, 0);
    if (facts.impossible)
        schema_dead(m, spot, NULL, "false allows no value");
    *rule = facts_rule(m, &facts);
    for (; m->first && !schema_failed(m); m->first = m->first->next)
        make(m, m->first);
    if (!m->first)
        m->end = &m->first;
    if (m->err.status != OK) {
        *err = m->err;
        return err->status;
    }
    return OK;
}

enum status schema_rule(struct schema_maker *maker, const struct value *schema, const char *path,
                        uint32_t *rule, struct err *err)
{
    begin(maker, schema, path);
    return part_rule(maker, schema, maker->root_spot, rule, err);
}

enum status schema_property(struct schema_maker *maker, const struct value *schema,
                            const struct member *property, const char *path, uint32_t *rule,
                            struct err *err)
{
    begin(maker, schema, path);
    const struct spot *spot = spot_name(maker, maker->root_spot, bytes_of("properties"));
    return part_rule(maker, &property->value, spot_name(maker, spot, property->name), rule, err);
}

enum status grammar_compile_schema(struct grammar **out, const struct value *schema,
                                   const struct grammar_options *options, struct notes *notes,
                                   struct err *err)
{
    struct grammar *g;
    struct schema_maker *m;
    uint32_t rule, loops;
    automaton_open(&g);
    schema_maker_open(&m, g, options->lenient, notes);
    enum status status = schema_rule(m, schema, options->path, &rule, err);
    if (status == OK) {
        status = automaton_finish(g, automaton_spaced(g, rule), &loops, err);
        if (status == BAD_INPUT && g->rules[rule].fails)
            status = schema_blame(m, options->path, err);
        else if (status != OK)
            (void)err_prefix(err, "%s", options->path);
    }
    schema_maker_close(m);
    if (status == OK)
        *out = g;
    else
        grammar_close(g);
    return status;
}
