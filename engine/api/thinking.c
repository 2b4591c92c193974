// thinking.c - the fields that say whether a model thinks, how much and for how long, as clients of
// several servers spell them.
//
// What a template can be told becomes its variables: reasoning_effort (gpt-oss) or thinking_effort
// (Kimi K3), and a yes or no under both names that templates have for it; what chat_template_kwargs
// says itself comes first. How long a thought may be is the engine's affair: behind so many tokens
// its end is forced.
#include "fields.h"

#include <string.h>

bool read_effort(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct {
        const char *theirs, *ours;
    } efforts[] = {{"none", ""},     {"minimal", "low"}, {"low", "low"}, {"medium", "medium"},
                   {"high", "high"}, {"xhigh", "high"},  {"max", "high"}};
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    for (size_t i = 0; i < COUNT_OF(efforts); i++) {
        if (yyjson_equals_str(value, efforts[i].theirs)) {
            r->form->effort = bytes_of(efforts[i].ours);
            r->form->thinks = r->form->effort.n > 0 ? SAID_YES : SAID_NO;
            return true;
        }
    }
    return refuse(r->refusal, 400, "invalid_value", name,
                  "'%s' is \"%.40s\"; it must be none, minimal, low, medium, high, xhigh or max.",
                  name, yyjson_get_str(value));
}

bool read_thinking_budget(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t most;
    if (!take_whole(r, name, value, -1, INT32_MAX, &most)) // -1: no limit
        return false;
    r->ask->think_most = (int32_t)most;
    return true;
}

bool read_enable_thinking(struct reading *r, const char *name, yyjson_val *value)
{
    bool thinks;
    if (!take_flag(r, name, value, &thinks))
        return false;
    r->form->thinks = thinks ? SAID_YES : SAID_NO;
    return true;
}

// Members of an object, each read when it is there.
static bool read_members(struct reading *r, const char *name, yyjson_val *object,
                         const struct field *members)
{
    if (!yyjson_is_obj(object))
        return wrong_kind(r, name, "an object", object);
    for (; members->name; members++) {
        yyjson_val *member = yyjson_obj_get(object, strchr(members->name, '.') + 1);
        if (member && !yyjson_is_null(member) && !members->read(r, members->name, member))
            return false;
    }
    return true;
}

// OpenRouter's spelling.
bool read_reasoning(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct field members[] = {
        {"reasoning.effort", read_effort},
        {"reasoning.enabled", read_enable_thinking},
        {"reasoning.max_tokens", read_thinking_budget},
        {NULL, NULL},
    };
    return read_members(r, name, value, members);
}

static bool read_thinking_type(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    if (yyjson_equals_str(value, "disabled"))
        r->form->thinks = SAID_NO;
    else if (yyjson_equals_str(value, "enabled"))
        r->form->thinks = SAID_YES;
    return true; // "adaptive", "auto": as the model likes
}

// Anthropic's and GLM's spelling.
bool read_thinking(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct field members[] = {
        {"thinking.type", read_thinking_type},
        {"thinking.budget_tokens", read_thinking_budget},
        {NULL, NULL},
    };
    return read_members(r, name, value, members);
}

bool finish_thinking(struct reading *r)
{
    const struct value *said = r->ask->conversation.options;
    const struct value yes = {.kind = VALUE_BOOL, .yes = r->form->thinks == SAID_YES};
    const struct member ours[] = {
        {bytes_of("reasoning_effort"), {.kind = VALUE_TEXT, .text = r->form->effort}},
        {bytes_of("thinking_effort"), {.kind = VALUE_TEXT, .text = r->form->effort}},
        {bytes_of("enable_thinking"), yes},
        {bytes_of("thinking"), yes},
    };
    const size_t n_said = said ? said->dict.n : 0;
    if (r->form->thinks == UNSAID)
        return true;
    struct member *all = arena_take(r->arena, (n_said + COUNT_OF(ours)) * sizeof(*all));
    struct value *options = arena_take(r->arena, sizeof(*options));
    size_t n = 0;
    if (!all || !options)
        return no_room(r);
    for (size_t i = 0; i < COUNT_OF(ours); i++) // of two of one name the last counts
        if (i > 1 || r->form->effort.n > 0)
            all[n++] = ours[i];
    if (n_said > 0)
        memcpy(all + n, said->dict.members, n_said * sizeof(*all));
    *options = (struct value){.kind = VALUE_DICT, .dict = {all, n + n_said}};
    r->ask->conversation.options = options;
    return true;
}
