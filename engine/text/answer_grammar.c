// answer_grammar.c - what an answer may be, as a grammar: calls whose arguments obey the tools'
// schemas, thoughts in front, and beside calls either any text or content that obeys too.
//
//   a call must be made    what is left of it when its beginning is forced (answer_call_begin)
//   content must be such   [thought] content, or [thought] calls
//   the model chooses      [thought] (text calls)* text
//
// A call is known by the form's mark, which no text before it has: a control token, or words. So
// the arguments obey from the mark on, wherever it comes. Forms whose calls have no mark obey only
// where a call must be made or content is prescribed.
#include "answer_inside.h"
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAKING_MS_MOST = 4000 }; // all tools together

// ---- what forms write ---------------------------------------------------------------------------

static void write_number(struct grammar *g, uint32_t from, uint32_t to)
{
    const uint32_t more = automaton_state(g);
    automaton_bytes(g, from, '0', '9', more);
    automaton_bytes(g, more, '0', '9', to);
    automaton_skip(g, more, to);
}

static void write_words(struct grammar *g, uint32_t from, const char *words, uint32_t to)
{
    while (*words) {
        const size_t n = strcspn(words, " ");
        automaton_text(g, from, (struct bytes){(const uint8_t *)words, n}, to);
        words += n + (words[n] == ' ');
    }
}

static void write_slot(struct answer_maker *m, uint32_t from, char which, const struct slots *slots,
                       uint32_t to)
{
    if (which == 's' && slots->name_rule)
        automaton_call(m->g, from, slots->name_rule, to);
    else if (which == 's')
        automaton_text(m->g, from, slots->name, to);
    else if (which == 'v')
        automaton_call(m->g, from, slots->value, to);
    else if (which == 't')
        write_words(m->g, from, slots->types, to);
    else
        write_number(m->g, from, to);
}

// Whether a blank must stand behind this character: within a mark, or between words.
static bool is_needed_behind(char before)
{
    return before == '"' || ((before | 0x20) >= 'a' && (before | 0x20) <= 'z');
}

// Bytes of the run that text begins with: white space as one, a slot, or what stands up to those.
static size_t run_of(const char *text)
{
    if (*text == '%')
        return 2;
    const size_t n_blank = strspn(text, " "), n = strcspn(text, " \n%");
    return *text == '\n' ? 1 : n_blank ? n_blank : n;
}

void maker_write(struct answer_maker *m, uint32_t from, const char *text, const struct slots *slots,
                 uint32_t to)
{
    struct grammar *g = m->g;
    char before = 0;
    for (size_t n; *text; text += n) {
        const uint32_t next = automaton_state(g);
        n = run_of(text);
        if (*text == '%')
            write_slot(m, from, text[1], slots, next);
        else
            automaton_mark(g, from, (struct bytes){(const uint8_t *)text, n}, m->tokenizer, next);
        if (*text == '\n' || (*text == ' ' && !is_needed_behind(before)))
            automaton_skip(g, from, next);
        before = text[n - 1];
        from = next;
    }
    automaton_skip(g, from, to);
}

// ---- text without marks -------------------------------------------------------------------------

// Texts that none of the marks stands in, spelled out.
static uint32_t wordless_rule(struct answer_maker *m, const char *const *marks, size_t n)
{
    struct letters with, without;
    const uint32_t rule = automaton_rule(m->g);
    letters_init(&with);
    const uint32_t behind = letters_state(&with);
    letters_add(&with, with.start, 0, LETTER_LAST, with.start);
    letters_add(&with, behind, 0, LETTER_LAST, behind);
    letters_skip(&with, behind, with.end);
    for (size_t i = 0; i < n; i++)
        letters_text(&with, with.start, bytes_of(marks[i]), behind);
    letters_not(&without, &with);
    letters_write(&without, m->g, m->g->rules[rule].start, m->g->rules[rule].end, false);
    letters_free(&with);
    letters_free(&without);
    return rule;
}

// Texts that do not begin with these words.
static uint32_t other_rule(struct answer_maker *m, struct bytes words)
{
    struct letters with, without;
    const uint32_t rule = automaton_rule(m->g);
    letters_init(&with);
    const uint32_t behind = letters_state(&with);
    letters_text(&with, with.start, words, behind);
    letters_add(&with, behind, 0, LETTER_LAST, behind);
    letters_skip(&with, behind, with.end);
    letters_not(&without, &with);
    letters_write(&without, m->g, m->g->rules[rule].start, m->g->rules[rule].end, false);
    letters_free(&with);
    letters_free(&without);
    return rule;
}

void maker_text_without(struct answer_maker *m, uint32_t from, const char *const *marks, size_t n,
                        bool other_marks, uint32_t to)
{
    enum { MARKS_MOST = 4 };
    struct grammar *g = m->g;
    int32_t ids[MARKS_MOST];
    size_t n_ids = 0;
    const uint32_t at = automaton_state(g), end = automaton_state(g);
    for (size_t i = 0; i < n && i < MARKS_MOST; i++) {
        struct bytes behind;
        const int32_t id = mark_leads(m->tokenizer, bytes_of(marks[i]), &behind);
        if (id < 0)
            continue;
        ids[n_ids++] = id;
        if (behind.n == 0 || !other_marks)
            continue;
        const uint32_t inside = automaton_state(g); // the token, and other words behind it
        automaton_mark(g, end,
                       (struct bytes){(const uint8_t *)marks[i],
                                      (size_t)(behind.p - (const uint8_t *)marks[i])},
                       m->tokenizer, inside);
        automaton_call(g, inside, other_rule(m, behind), end);
    }
    automaton_skip(g, from, at);
    automaton_call(g, at, wordless_rule(m, marks, n), end);
    if (other_marks)
        automaton_other_marks(g, end, ids, n_ids, at);
    automaton_skip(g, end, to);
}

// ---- calls --------------------------------------------------------------------------------------

struct calls {
    struct tool_rule *tools; // [n]
    size_t n;
    const char *behind; // a name, in what the form begins with
    bool several;
};

// From the beginning of a name on; only: of that tool what comes behind its name; n: of any.
static void write_calls(struct answer_maker *m, const struct calls *calls, size_t only,
                        uint32_t from, uint32_t to)
{
    struct grammar *g = m->g;
    const uint32_t named = automaton_state(g), done = automaton_state(g);
    for (size_t i = 0; i < calls->n; i++) {
        const uint32_t behind = automaton_state(g), arguments = automaton_state(g);
        automaton_text(g, named, calls->tools[i].name, behind);
        maker_write(m, behind, calls->behind, &(struct slots){0}, arguments);
        automaton_call(g, arguments, calls->tools[i].arguments, done);
    }
    if (only < calls->n)
        automaton_call(g, from, calls->tools[only].arguments, done);
    else
        automaton_skip(g, from, named);
    if (calls->several && m->form->again)
        maker_write(m, done, m->form->again, &(struct slots){0}, named);
    maker_write(m, done, m->form->ends ? m->form->ends : "", &(struct slots){0}, to);
}

// Calls with what they begin with, from the mark on (NULL: from the beginning on).
static void write_block(struct answer_maker *m, const struct calls *calls, const char *mark,
                        uint32_t from, uint32_t to)
{
    const uint32_t marked = automaton_state(m->g), name = automaton_state(m->g);
    const char *begins = mark ? strstr(m->form->begins, mark) : m->form->begins;
    char head[256];
    automaton_mark(m->g, from, bytes_of(mark ? mark : ""), m->tokenizer, marked);
    begins += mark ? strlen(mark) : 0;
    snprintf(head, sizeof(head), "%.*s", (int)(strstr(begins, "%s") - begins), begins);
    maker_write(m, marked, head, &(struct slots){0}, name);
    write_calls(m, calls, calls->n, name, to);
}

static const char *mark_of(const struct answer_form *form)
{
    const char *mark = form->mark ? form->mark : form->open[0];
    return mark && strstr(form->begins, mark) ? mark : NULL;
}

static bool make_tools(struct answer_maker *m, const struct answer_rules *rules,
                       struct calls *calls)
{
    const uint64_t until_ms = clock_ms() + MAKING_MS_MOST;
    for (size_t i = 0; i < rules->tools->list.n && m->err.status == OK; i++) {
        struct tool_rule *tool = &calls->tools[calls->n++];
        tool->function = answer_function(rules->tools, i);
        tool->name = value_get(tool->function, "name")->text;
        snprintf(tool->path, sizeof(tool->path), "tools[%zu].function.parameters", i);
        if (maker_arguments(m, tool) && clock_ms() > until_ms)
            (void)err_set(&m->err, TOO_LARGE, "tools: they take longer than %d ms to be understood",
                          MAKING_MS_MOST);
    }
    return m->err.status == OK;
}

// ---- the whole ----------------------------------------------------------------------------------

// White space that stands between parts of an answer; between messages with a header stands none.
static void write_gap(struct answer_maker *m, uint32_t from, uint32_t to)
{
    maker_write(m, from, m->form->content ? "" : "\n\n", &(struct slots){0}, to);
}

static void write_thought(struct answer_maker *m, const struct answer_thought *thought,
                          uint32_t from, uint32_t to)
{
    struct grammar *g = m->g;
    const uint32_t open = automaton_state(g), opened = automaton_state(g),
                   closing = automaton_state(g), closed = automaton_state(g),
                   next = automaton_state(g);
    write_gap(m, from, open);
    automaton_mark(g, open, bytes_of(thought->open), m->tokenizer, opened);
    maker_text_without(m, opened, &thought->close, 1, true, closing);
    automaton_mark(g, closing, bytes_of(thought->close), m->tokenizer, closed);
    automaton_mark(g, closed, bytes_of(thought->next ? thought->next : ""), m->tokenizer, next);
    write_gap(m, next, to);
}

// Calls, or content that obeys.
static bool write_content(struct answer_maker *m, const struct answer_rules *rules,
                          const struct calls *calls, struct schema_maker *schemas, uint32_t from,
                          uint32_t to)
{
    struct grammar *g = m->g;
    const uint32_t opened = automaton_state(g), call = automaton_state(g);
    if (constraint_rule(schemas, rules->constraint, &m->content_rule, &m->err) != OK)
        return false;
    maker_write(m, from, m->form->content ? m->form->content : "", &(struct slots){0}, opened);
    automaton_call(g, opened, m->content_rule, to);
    if (calls->n > 0) {
        write_gap(m, from, call);
        write_block(m, calls, mark_of(m->form), call, to);
    }
    return true;
}

// Any text, and calls in it.
static void write_free(struct answer_maker *m, const struct calls *calls, uint32_t from,
                       uint32_t to)
{
    const char *mark = mark_of(m->form);
    const uint32_t behind = automaton_state(m->g);
    maker_text_without(m, from, &mark, 1, true, behind);
    write_block(m, calls, mark, behind, from);
    automaton_skip(m->g, behind, to);
}

static size_t index_of(const struct calls *calls, struct bytes name)
{
    size_t i = 0;
    while (i < calls->n && !bytes_equal(calls->tools[i].name, name))
        i++;
    return i;
}

static void write_answer(struct answer_maker *m, const struct answer_family *family,
                         const struct answer_rules *rules, const struct calls *calls,
                         struct schema_maker *schemas, uint32_t root)
{
    struct grammar *g = m->g;
    const uint32_t from = g->rules[root].start, to = g->rules[root].end, body = automaton_state(g);
    if (rules->must_call) {
        write_calls(m, calls, rules->tool.n > 0 ? index_of(calls, rules->tool) : calls->n, from,
                    to);
        return;
    }
    automaton_skip(g, from, body);
    if (family->thought)
        write_thought(m, family->thought, from, body);
    if (rules->constraint)
        (void)write_content(m, rules, calls, schemas, body, to);
    else
        write_free(m, calls, body, to);
}

// A call that nobody could make is refused though another could be made: it was asked for. So is
// content that cannot be, though calls could.
static enum status finish(struct answer_maker *m, const struct answer_rules *rules,
                          const struct calls *calls, struct schema_maker *content, uint32_t root,
                          struct err *err)
{
    uint32_t loops;
    if (m->err.status != OK) {
        *err = m->err;
        return err->status;
    }
    enum status status = automaton_finish(m->g, root, &loops, err);
    if (m->g->full)
        return status;
    if (loops && rules->constraint && rules->constraint->kind == CONSTRAINT_GBNF) {
        struct grammar *alone = NULL; // read by itself, its sentence names the rule
        if (grammar_compile_gbnf(&alone, rules->constraint->text, err) != OK)
            return err->status;
        grammar_close(alone);
    }
    for (size_t i = 0; i < calls->n; i++)
        if (m->g->rules[calls->tools[i].arguments].fails)
            return schema_blame(m->schemas, calls->tools[i].path, err);
    if (m->content_rule && m->g->rules[m->content_rule].fails)
        return schema_blame(content, rules->constraint->path, err);
    return status;
}

static enum status make(struct grammar **out, const struct answer_family *family,
                        const struct answer_rules *rules, bool loose, struct notes *notes,
                        struct err *err)
{
    struct answer_maker m = {.form = family->form, .tokenizer = rules->tokenizer, .loose = loose};
    struct calls calls = {.behind = strstr(family->form->begins, "%s") + 2,
                          .several = rules->several};
    struct schema_maker *content;
    const char *what = rules->constraint ? rules->constraint->path : "tools";
    automaton_open(&m.g);
    schema_maker_open(&m.schemas, m.g, true, notes);
    schema_maker_open(&content, m.g, false, notes);
    calls.tools = mem_array((rules->tools ? rules->tools->list.n : 0) + 1, sizeof(*calls.tools));
    const uint32_t root = automaton_rule(m.g);
    if (!rules->tools || make_tools(&m, rules, &calls))
        write_answer(&m, family, rules, &calls, content, root);
    enum status status = finish(&m, rules, &calls, content, root, err);
    if (status != OK && strncmp(err->text, what, strlen(what)) != 0 &&
        strncmp(err->text, "tools", 5) != 0)
        (void)err_prefix(err, "%s", what);
    schema_maker_close(m.schemas);
    schema_maker_close(content);
    free(calls.tools);
    if (status == OK) {
        *out = m.g;
        return OK;
    }
    grammar_close(m.g);
    err->status = BAD_INPUT; // whatever it is, the client must change it
    return BAD_INPUT;
}

static bool is_strict(const struct value *tools)
{
    for (size_t i = 0; i < tools->list.n; i++) {
        const struct value *strict = value_get(answer_function(tools, i), "strict");
        if (strict && strict->kind == VALUE_BOOL && strict->yes)
            return true;
    }
    return false;
}

enum status answer_grammar(struct grammar **out, const struct answer_family *family,
                           const struct answer_rules *rules, struct notes *notes, struct err *err)
{
    const bool strict = rules->tools && is_strict(rules->tools);
    *out = NULL;
    if (!rules->must_call && !rules->constraint && !(strict && mark_of(family->form)))
        return OK;
    enum status status = make(out, family, rules, false, notes, err);
    const bool may_be_loose = rules->constraint && rules->tools && !strict;
    if (status == OK || !may_be_loose || strncmp(err->text, "tools", 5) != 0)
        return status;
    snprintf(notes->text, sizeof(notes->text), "%.300s: not enforced", err->text);
    return make(out, family, rules, true, NULL, err);
}
