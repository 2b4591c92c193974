// template_probe.c - what a template has a place for, found out by asking it: small conversations
// are rendered, and what they said is looked for in the text.
//
// A refusal counts as "no place". So does silence: many templates drop what they do not know.
#include "template_inside.h"

#include <string.h>

struct probe {
    const struct template *template;
    struct format *format;
};

#define USER "{\"role\":\"user\",\"content\":\"u5er\"}"
#define SYSTEM "{\"role\":\"system\",\"content\":\"sy5tem\"}"
#define SAYS "{\"role\":\"assistant\",\"content\":\"an5wer\"}"
#define MORE "{\"role\":\"user\",\"content\":\"m0re\"}"
#define TOOLS                                                                                      \
    "[{\"type\":\"function\",\"function\":{\"name\":\"t00l\",\"description\":\"de5cription\","     \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"k3y\":{\"type\":\"string\"}},"          \
    "\"required\":[\"k3y\"]}}}]"
#define CALL(id, arguments)                                                                        \
    "{\"type\":\"function\",\"id\":\"" id                                                          \
    "\",\"function\":{\"name\":\"t00l\",\"arguments\":" arguments "}}"
#define CALLS(calls) "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" calls "]}"
#define RESULT(id)                                                                                 \
    "{\"role\":\"tool\",\"content\":\"re5ult\",\"name\":\"t00l\",\"tool_call_id\":\"" id "\"}"
#define OBJECT "{\"k3y\":\"v4lue\"}"
#define TEXT "\"{\\\"k3y\\\":\\\"v4lue\\\"}\""
#define LONG_ID "call_0123456789abcdef"
#define SHORT_ID "a23456789"

static bool contains(const struct jinja_text *text, const char *word)
{
    return memmem(text->p, text->n, word, strlen(word)) != NULL;
}

// Whether all words (between blanks) come out of the messages.
static bool shows(const struct probe *p, const char *messages, const char *tools, const char *words)
{
    struct arena arena;
    struct value list, tools_list;
    struct jinja_text text = {NULL, NULL, 0};
    struct err err;
    arena_init(&arena, 1 << 16);
    bool good = value_read(&list, &arena, bytes_of(messages), &err) == OK &&
                value_read(&tools_list, &arena, bytes_of(tools ? tools : "[]"), &err) == OK;
    const struct conversation conversation = {&list, tools ? &tools_list : NULL, NULL};
    good = good && template_run(&text, p->template, p->format, &list, &conversation, &err) == OK;
    char word[32];
    for (const char *at = words; good && *at;) {
        size_t n = strcspn(at, " ");
        memcpy(word, at, n);
        word[n] = 0;
        good = contains(&text, word);
        at += n + (at[n] == ' ');
    }
    jinja_text_free(&text);
    arena_free(&arena);
    return good;
}

static void probe_calls(const struct probe *p, struct abilities *can)
{
    static const struct {
        const char *messages, *words;
        bool text, is_short;
    } ways[] = {
        {"[" USER "," CALLS(CALL(LONG_ID, OBJECT)) "," RESULT(LONG_ID) "]", "t00l k3y v4lue", false,
         false},
        {"[" USER "," CALLS(CALL(SHORT_ID, OBJECT)) "," RESULT(SHORT_ID) "]", "t00l k3y v4lue",
         false, true},
        {"[" USER "," CALLS(CALL(LONG_ID, TEXT)) "," RESULT(LONG_ID) "]", "t00l k3y v4lue", true,
         false},
        {"[" USER "," CALLS(CALL(SHORT_ID, TEXT)) "," RESULT(SHORT_ID) "]", "t00l k3y v4lue", true,
         true},
    };
    for (size_t i = 0; i < COUNT_OF(ways) && !can->calls; i++) {
        // without tools, so that only the call can have shown them
        can->calls = shows(p, ways[i].messages, NULL, ways[i].words);
        can->results = can->calls && shows(p, ways[i].messages, NULL, "re5ult");
        can->text_arguments = ways[i].text;
        can->short_ids = ways[i].is_short;
    }
    if (!can->calls) {
        can->text_arguments = can->short_ids = false;
        return;
    }
    const char *two =
        can->text_arguments
            ? "[" USER "," CALLS(CALL("a23456789", TEXT) "," CALL("b23456789", TEXT)) "," RESULT(
                  "a23456789") "," RESULT("b23456789") "]"
            : "[" USER "," CALLS(CALL("a23456789", OBJECT) "," CALL(
                  "b23456789", OBJECT)) "," RESULT("a23456789") "," RESULT("b23456789") "]";
    can->parallel = shows(p, two, NULL, "t00l re5ult");
}

void template_probe(const struct template *template, struct format *format)
{
    const struct probe p = {template, format};
    struct abilities *can = &format->can;
    *can = (struct abilities){0};
    can->typed =
        !shows(&p, "[" USER "]", NULL, "u5er") &&
        shows(&p, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"u5er\"}]}]", NULL,
              "u5er");
    if (can->typed) { // rare, and all in the same way
        can->system =
            shows(&p,
                  "[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"sy5tem\"}"
                  "]},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"u5er\"}]}]",
                  NULL, "sy5tem u5er");
        return;
    }
    can->system = shows(&p, "[" SYSTEM "," USER "]", NULL, "sy5tem u5er");
    can->late_system = shows(&p, "[" USER "," SAYS "," SYSTEM "," MORE "]", NULL, "sy5tem m0re");
    can->tools = shows(&p, "[" USER "]", TOOLS, "t00l k3y u5er");
    probe_calls(&p, can);
    can->thinking = memmem(format->source.p, format->source.n, "reasoning_content", 17) == NULL &&
                    (memmem(format->source.p, format->source.n, ".thinking", 9) ||
                     memmem(format->source.p, format->source.n, "'thinking'", 10) ||
                     memmem(format->source.p, format->source.n, "\"thinking\"", 10));
}
