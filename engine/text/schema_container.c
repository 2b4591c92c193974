// schema_container.c - what a JSON schema says of objects and arrays.
//
// Members come in the schema's order, each at most once; those that are not named come behind them,
// where the schema asks for such (additionalProperties or patternProperties, or no properties at
// all): what it merely does not forbid is left out, for models lose their way in it. The same holds
// for items behind prefixItems.
//
// An object runs through states: behind the comma (or the opening bracket) before member i, and
// behind a member's value with member i to come. Where members are counted there is a layer of
// these states for each count.
#include "schema.h"

#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MOST = 4000, KEYS_MOST = 64, LAYERED_MOST = 100000 };

// ---- which members ------------------------------------------------------------------------------

struct object_member {
    struct bytes name;
    bool required;
    uint32_t rule; // of its value; 0: there is none
};

struct object { // an object's facts taken together
    struct schema_maker *m;
    const struct facts *facts;
    struct object_member *members;
    size_t n_members;
    const struct member *patterns[KEYS_MOST]; // of patternProperties
    const struct fact *pattern_fact[KEYS_MOST];
    struct letters pattern[KEYS_MOST];
    size_t n_patterns;
    bool named;          // a fact names properties
    bool more;           // members that are not named are asked for
    int64_t least, most; // most < 0: no limit
};

static const struct value *dict_of(struct schema_maker *m, const struct fact *fact,
                                   const char *keyword)
{
    const struct value *value = schema_get(fact, keyword);
    if (value && value->kind != VALUE_DICT) {
        schema_fail(m, BAD_INPUT, fact->spot, keyword, "it must be an object");
        return NULL;
    }
    return value;
}

static struct object_member *add_member(struct object *o, struct bytes name)
{
    for (size_t i = 0; i < o->n_members; i++)
        if (bytes_equal(o->members[i].name, name))
            return &o->members[i];
    if (o->n_members == MEMBERS_MOST) {
        schema_fail(o->m, TOO_LARGE, o->facts->fact[0].spot, "properties",
                    "at most %d properties are taken", MEMBERS_MOST);
        return &o->members[0];
    }
    o->members[o->n_members] = (struct object_member){.name = name};
    return &o->members[o->n_members++];
}

static void read_required(struct object *o, const struct fact *fact)
{
    const struct value *required = schema_get(fact, "required");
    if (!required || required->kind == VALUE_BOOL) // a flag of a property in draft 3
        return;
    bool good = required->kind == VALUE_LIST;
    for (size_t i = 0; good && i < required->list.n; i++)
        good = required->list.items[i].kind == VALUE_TEXT;
    if (!good)
        schema_fail(o->m, BAD_INPUT, fact->spot, "required", "it must be an array of strings");
    for (size_t i = 0; good && i < required->list.n; i++)
        add_member(o, required->list.items[i].text)->required = true;
}

static void read_patterns(struct object *o, const struct fact *fact)
{
    const struct value *dict = dict_of(o->m, fact, "patternProperties");
    for (size_t i = 0; dict && i < dict->dict.n; i++) {
        if (o->n_patterns == KEYS_MOST) {
            schema_fail(o->m, TOO_LARGE, fact->spot, "patternProperties",
                        "at most %d patterns are taken", KEYS_MOST);
            return;
        }
        const struct member *member = &dict->dict.members[i];
        if (!schema_pattern(o->m, fact->spot, "patternProperties", member->name,
                            &o->pattern[o->n_patterns]))
            continue;
        o->patterns[o->n_patterns] = member;
        o->pattern_fact[o->n_patterns++] = fact;
    }
}

static void read_fact(struct object *o, const struct fact *fact)
{
    const struct value *properties = dict_of(o->m, fact, "properties"),
                       *more = schema_get(fact, "additionalProperties"),
                       *later = schema_get(fact, "unevaluatedProperties");
    int64_t least = schema_count(o->m, fact, "minProperties"),
            most = schema_count(o->m, fact, "maxProperties");
    for (size_t i = 0; properties && i < properties->dict.n; i++)
        add_member(o, properties->dict.members[i].name);
    o->named = o->named || properties;
    read_patterns(o, fact);
    if (more && more->kind != VALUE_BOOL && more->kind != VALUE_DICT)
        schema_fail(o->m, BAD_INPUT, fact->spot, "additionalProperties",
                    "it must be a schema, true or false");
    o->more = o->more || (more && (more->kind == VALUE_DICT || more->yes)) ||
              (!more && later && (later->kind == VALUE_DICT || later->yes));
    o->least = least > o->least ? least : o->least;
    if (most >= 0 && (o->most < 0 || most < o->most))
        o->most = most;
}

// ---- the schemas of a member --------------------------------------------------------------------

// What one fact says of a member that it does not name and that matches none of its patterns.
static void add_additional(struct object *o, struct facts *facts, const struct fact *fact)
{
    const struct value *more = schema_get(fact, "additionalProperties");
    if (more)
        facts_add(o->m, facts, more, spot_name(o->m, fact->spot, bytes_of("additionalProperties")),
                  0);
}

static void add_pattern(struct object *o, struct facts *facts, size_t pattern)
{
    const struct spot *spot =
        spot_name(o->m, o->pattern_fact[pattern]->spot, bytes_of("patternProperties"));
    facts_add(o->m, facts, &o->patterns[pattern]->value,
              spot_name(o->m, spot, o->patterns[pattern]->name), 0);
}

static uint32_t member_rule(struct object *o, struct bytes name)
{
    struct facts facts = {.n = 0};
    for (size_t i = 0; i < o->facts->n; i++) {
        const struct fact *fact = &o->facts->fact[i];
        const struct value *properties = schema_get(fact, "properties");
        bool known = false;
        for (size_t k = 0; properties && k < properties->dict.n; k++) {
            const struct member *member = &properties->dict.members[k];
            if (!bytes_equal(member->name, name))
                continue;
            const struct spot *spot = spot_name(o->m, fact->spot, bytes_of("properties"));
            facts_add(o->m, &facts, &member->value, spot_name(o->m, spot, name), 0);
            known = true;
        }
        for (size_t k = 0; k < o->n_patterns; k++)
            if (o->pattern_fact[k] == fact && letters_match(&o->pattern[k], name)) {
                add_pattern(o, &facts, k);
                known = true;
            }
        if (!known)
            add_additional(o, &facts, fact);
    }
    return facts_rule(o->m, &facts);
}

// ---- members that are not named -----------------------------------------------------------------

static void write_member(struct grammar *g, uint32_t colon, uint32_t value_rule, uint32_t to)
{
    uint32_t value = automaton_state(g), after = automaton_state(g);
    automaton_bytes(g, colon, ':', ':', after);
    automaton_skip(g, after, value);
    automaton_bytes(g, after, ' ', ' ', value);
    automaton_call(g, value, value_rule, to);
}

// A member whose name `keys` describes, which it frees.
static void write_keys(struct object *o, struct letters *keys, uint32_t value_rule, uint32_t rule)
{
    struct grammar *g = o->m->g;
    uint32_t inside = automaton_state(g), end = automaton_state(g), colon = automaton_state(g);
    if (keys->full)
        schema_fail(o->m, TOO_LARGE, o->facts->fact[0].spot, "patternProperties",
                    "its patterns are too large together");
    else if (value_rule) {
        automaton_bytes(g, g->rules[rule].start, '"', '"', inside);
        letters_write(keys, g, inside, end, true);
        automaton_bytes(g, end, '"', '"', colon);
        write_member(g, colon, value_rule, g->rules[rule].end);
    }
    letters_free(keys);
}

// Names that are not those of the members, and match none of the patterns but one.
static void other_names(struct object *o, size_t but, struct letters *out)
{
    struct letters taken;
    letters_init(&taken);
    for (size_t i = 0; i < o->n_members; i++)
        letters_text(&taken, taken.start, o->members[i].name, taken.end);
    for (size_t k = 0; k < o->n_patterns; k++) {
        if (k == but)
            continue;
        uint32_t base = taken.n_states;
        const struct letters *p = &o->pattern[k];
        for (uint32_t s = 0; s < p->n_states; s++)
            letters_state(&taken);
        for (uint32_t i = 0; i < p->n_edges && !taken.full; i++)
            letters_add(&taken, p->edges[i].from + base, p->edges[i].lo, p->edges[i].hi,
                        p->edges[i].to + base);
        letters_skip(&taken, taken.start, p->start + base);
        letters_skip(&taken, p->end + base, taken.end);
    }
    letters_not(out, &taken);
    letters_free(&taken);
}

// The rule of one member that is not named; 0: there may be none.
static uint32_t other_rule(struct object *o)
{
    const bool all_free = !o->named && o->n_patterns == 0 && !o->more;
    bool forbidden = false, given = false;
    for (size_t i = 0; i < o->facts->n; i++) {
        const struct value *more = schema_get(&o->facts->fact[i], "additionalProperties");
        forbidden = forbidden || (more && more->kind == VALUE_BOOL && !more->yes);
        given = given || more;
    }
    const bool wanted = o->more || (all_free && !given) || (o->least > (int64_t)o->n_members);
    if ((!wanted || forbidden) && o->n_patterns == 0)
        return 0;
    const uint32_t rule = automaton_rule(o->m->g);
    struct letters names, both;
    if (wanted && !forbidden) {
        struct facts facts = {.n = 0};
        for (size_t i = 0; i < o->facts->n; i++)
            add_additional(o, &facts, &o->facts->fact[i]);
        other_names(o, SIZE_MAX, &names);
        write_keys(o, &names, facts_rule(o->m, &facts), rule);
    }
    for (size_t k = 0; k < o->n_patterns && !schema_failed(o->m); k++) {
        struct facts facts = {.n = 0};
        add_pattern(o, &facts, k);
        for (size_t i = 0; i < o->facts->n; i++)
            if (&o->facts->fact[i] != o->pattern_fact[k])
                add_additional(o, &facts, &o->facts->fact[i]);
        other_names(o, k, &names);
        letters_both(&both, &names, &o->pattern[k]);
        letters_free(&names);
        write_keys(o, &both, facts_rule(o->m, &facts), rule);
    }
    return rule;
}

// ---- the states of an object --------------------------------------------------------------------

struct layers {               // of states, by count; one beyond the members in each
    uint32_t *before, *after; // [n_layers][n_members + 1]
    size_t n_layers;
    bool counted;
};

static void write_named(struct object *o, struct layers *l, size_t layer, size_t i)
{
    struct grammar *g = o->m->g;
    const struct object_member *member = &o->members[i];
    const size_t wide = o->n_members + 1, next_layer = layer + 1 < l->n_layers ? layer + 1 : layer;
    const uint32_t before = l->before[layer * wide + i];
    struct json name;
    if (!member->required)
        automaton_skip(g, before, l->before[layer * wide + i + 1]);
    if (!member->rule || (o->most >= 0 && (int64_t)layer >= o->most))
        return;
    json_init(&name, 1 << 20);
    json_text(&name, NULL, member->name);
    uint32_t colon = automaton_state(g);
    automaton_text(g, before, buf_view(&name.text), colon);
    write_member(g, colon, member->rule, l->after[next_layer * wide + i + 1]);
    json_free(&name);
}

// Layer by layer: how many members there are so far, the last counting as "or more".
static void write_layers(struct object *o, struct layers *l, uint32_t other, uint32_t closing)
{
    struct grammar *g = o->m->g;
    const size_t n = o->n_members, wide = n + 1;
    // two members that are not named may have one name, and be one
    const bool others_count = o->most >= 0 || o->least > (int64_t)n;
    if (other && others_count && o->least > 0)
        schema_note(o->m, o->facts->fact[0].spot, "minProperties",
                    "members that are not named may repeat a name");
    for (size_t layer = 0; layer < l->n_layers && !g->full; layer++) {
        const size_t next = layer + 1 < l->n_layers ? layer + 1 : layer;
        const bool room = o->most < 0 || (int64_t)layer < o->most;
        bool rest_optional = true;
        for (size_t i = n + 1; i-- > 0;) {
            const uint32_t after = l->after[layer * wide + i];
            if (i < n)
                write_named(o, l, layer, i);
            rest_optional = rest_optional && (i == n || !o->members[i].required);
            if (rest_optional && (int64_t)layer >= o->least)
                automaton_call(g, after, plain_space(g), closing);
            if (room) {
                uint32_t comma = automaton_state(g);
                automaton_bytes(g, after, ',', ',', comma);
                automaton_call(g, comma, plain_space(g), l->before[layer * wide + i]);
            }
        }
        if (other && room)
            automaton_call(g, l->before[layer * wide + n], other,
                           l->after[(others_count ? next : layer) * wide + n]);
    }
}

static void write_object(struct object *o, uint32_t from, uint32_t to)
{
    struct grammar *g = o->m->g;
    const size_t wide = o->n_members + 1;
    const int64_t counts = o->most >= 0 ? o->most : o->least;
    struct layers l = {.n_layers = counts > 0 || o->most >= 0 ? (size_t)counts + 1 : 1};
    const uint32_t other = other_rule(o);
    if (schema_failed(o->m))
        return;
    if (l.n_layers > LAYERED_MOST / wide) {
        schema_note(o->m, o->facts->fact[0].spot, NULL, "members are too many to be counted");
        o->most = -1;
        o->least = 0;
        l.n_layers = 1;
    }
    l.before = mem_array(l.n_layers * wide, sizeof(*l.before));
    l.after = mem_array(l.n_layers * wide, sizeof(*l.after));
    for (size_t i = 0; i < l.n_layers * wide; i++) {
        l.before[i] = automaton_state(g);
        l.after[i] = automaton_state(g);
    }
    uint32_t opened = automaton_state(g), closing = automaton_state(g);
    automaton_bytes(g, from, '{', '{', opened);
    automaton_call(g, opened, plain_space(g), l.before[0]);
    bool may_be_empty = o->least == 0;
    for (size_t i = 0; i < o->n_members; i++)
        may_be_empty = may_be_empty && !o->members[i].required;
    if (may_be_empty)
        automaton_call(g, opened, plain_space(g), closing);
    write_layers(o, &l, other, closing);
    automaton_bytes(g, closing, '}', '}', to);
    free(l.before);
    free(l.after);
}

void schema_object(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to)
{
    bool plain = true;
    struct object *o = mem_alloc(sizeof(*o));
    *o = (struct object){.m = m, .facts = facts, .most = -1};
    o->members = mem_array(MEMBERS_MOST, sizeof(*o->members));
    for (size_t i = 0; i < facts->n && !schema_failed(m); i++)
        read_fact(o, &facts->fact[i]);
    for (size_t i = 0; i < facts->n && !schema_failed(m); i++)
        read_required(o, &facts->fact[i]);
    for (size_t i = 0; i < facts->n; i++)
        plain = plain && !schema_get(&facts->fact[i], "additionalProperties");
    plain = plain && !o->named && !o->n_members && !o->n_patterns && !o->least && o->most < 0;
    if (plain && !schema_failed(m)) {
        automaton_call(m->g, from, plain_object(m->g), to);
    } else if (!schema_failed(m)) {
        for (size_t i = 0; i < o->n_members && !schema_failed(m); i++) {
            o->members[i].rule = member_rule(o, o->members[i].name);
            if (o->members[i].required && !o->members[i].rule)
                schema_dead(m, facts->fact[0].spot, "required", "one of them is not allowed");
        }
        write_object(o, from, to);
    }
    for (size_t k = 0; k < o->n_patterns; k++)
        letters_free(&o->pattern[k]);
    free(o->members);
    free(o);
}

// ---- arrays -------------------------------------------------------------------------------------

// What the facts say of item i; beyond: of all those behind the ones that are given one by one.
static uint32_t item_rule(struct schema_maker *m, const struct facts *facts, size_t i, bool beyond)
{
    struct facts item = {.n = 0};
    for (size_t k = 0; k < facts->n; k++) {
        const struct fact *fact = &facts->fact[k];
        const char *keyword = "prefixItems", *rest_keyword = "items";
        const struct value *prefix = schema_get(fact, keyword), *rest = schema_get(fact, "items");
        if (rest && rest->kind == VALUE_LIST) { // before 2020-12
            keyword = "items";
            rest_keyword = "additionalItems";
            prefix = rest;
            rest = schema_get(fact, rest_keyword);
        }
        if (prefix && prefix->kind != VALUE_LIST) {
            schema_fail(m, BAD_INPUT, fact->spot, keyword, "it must be an array of schemas");
            return 0;
        }
        if (prefix && !beyond && i < prefix->list.n)
            facts_add(m, &item, &prefix->list.items[i],
                      spot_item(m, spot_name(m, fact->spot, bytes_of(keyword)), i), 0);
        else if (rest)
            facts_add(m, &item, rest, spot_name(m, fact->spot, bytes_of(rest_keyword)), 0);
    }
    return facts_rule(m, &item);
}

struct array {
    size_t n_given; // items given one by one
    bool more;      // others may follow
    int64_t least, most;
};

static struct array read_array(struct schema_maker *m, const struct facts *facts)
{
    struct array a = {.most = -1};
    bool rest_given = false;
    for (size_t i = 0; i < facts->n; i++) {
        const struct fact *fact = &facts->fact[i];
        const struct value *prefix = schema_get(fact, "prefixItems"),
                           *items = schema_get(fact, "items");
        if (items && items->kind == VALUE_LIST) {
            prefix = items;
            items = schema_get(fact, "additionalItems");
        }
        int64_t least = schema_count(m, fact, "minItems"), most = schema_count(m, fact, "maxItems");
        if (prefix && prefix->kind == VALUE_LIST && prefix->list.n > a.n_given)
            a.n_given = prefix->list.n;
        rest_given = rest_given || items;
        if (least > COUNT_MOST)
            schema_fail(m, UNSUPPORTED, fact->spot, "minItems", "at most %d is counted",
                        COUNT_MOST);
        if (most > COUNT_MOST) {
            schema_note(m, fact->spot, "maxItems", "not enforced above 10000");
            most = -1;
        }
        a.least = least > a.least ? least : a.least;
        if (most >= 0 && (a.most < 0 || most < a.most))
            a.most = most;
    }
    a.more = rest_given || a.n_given == 0 || a.least > (int64_t)a.n_given;
    if (!a.more && (a.most < 0 || a.most > (int64_t)a.n_given))
        a.most = (int64_t)a.n_given;
    return a;
}

void schema_array(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to)
{
    struct grammar *g = m->g;
    const struct array a = read_array(m, facts);
    if (schema_failed(m))
        return;
    if (a.most >= 0 && a.least > a.most)
        schema_dead(m, facts->fact[0].spot, "minItems", "it is above the maxItems");
    const uint32_t space = plain_space(g), rest = item_rule(m, facts, 0, true);
    const int64_t counted = a.most >= 0                    ? a.most
                            : a.least > (int64_t)a.n_given ? a.least
                                                           : (int64_t)a.n_given;
    uint32_t at = automaton_state(g), closing = automaton_state(g), open = automaton_state(g);
    automaton_bytes(g, from, '[', '[', open);
    automaton_bytes(g, closing, ']', ']', to);
    if (a.least == 0)
        automaton_call(g, open, space, closing);
    automaton_call(g, open, space, at);
    for (int64_t i = 0; !schema_failed(m); i++) { // `at`: item i may begin
        const bool beyond = i >= (int64_t)a.n_given, loops = i >= counted && a.most < 0;
        uint32_t rule = beyond ? rest : item_rule(m, facts, (size_t)i, false);
        uint32_t after = automaton_state(g), comma = automaton_state(g),
                 next = loops ? at : automaton_state(g);
        if (a.most >= 0 && i >= a.most)
            break;
        automaton_call(g, at, rule, after);
        if (i + 1 >= a.least)
            automaton_call(g, after, space, closing);
        automaton_bytes(g, after, ',', ',', comma);
        automaton_call(g, comma, space, next);
        if (loops)
            break;
        at = next;
    }
}
