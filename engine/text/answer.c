// answer.c - bytes in, events out; text and thoughts, and where calls begin.
//
// Invariant: in[at ..) is what is not decided yet: white space that may belong to a mark, the
// beginning of what may be a mark, and a mark with what may become a call's head. All before it has
// been told. Events are kept as pieces of one text; those of one channel and call that follow each
// other are one event.
#include "answer_inside.h"

#include <stdlib.h>
#include <string.h>

// ---- bytes --------------------------------------------------------------------------------------

size_t bytes_blank(struct bytes text)
{
    size_t n = 0;
    while (n < text.n && memchr(" \n\t\r", text.p[n], 4))
        n++;
    return n;
}

bool bytes_begin(struct bytes text, const char *with)
{
    return with && with[0] && bytes_begins_with(text, with);
}

bool bytes_may_begin(struct bytes text, const char *with)
{
    return with && text.n > 0 && text.n < strlen(with) && memcmp(text.p, with, text.n) == 0;
}

struct bytes bytes_from(struct bytes text, size_t from)
{
    return (struct bytes){from ? text.p + from : text.p, text.n - from};
}

size_t bytes_open_end(struct bytes text, const char *mark)
{
    size_t n = mark ? strlen(mark) : 0;
    if (n == 0)
        return 0;
    n = n - 1 < text.n ? n - 1 : text.n;
    while (n > 0 && memcmp(text.p + text.n - n, mark, n) != 0)
        n--;
    return n;
}

size_t bytes_find(struct bytes text, const char *mark)
{
    const uint8_t *found = mark && text.n > 0 ? memmem(text.p, text.n, mark, strlen(mark)) : NULL;
    return found ? (size_t)(found - text.p) : text.n;
}

// White space at the end, as much as is held back.
static size_t blank_end(struct bytes text)
{
    size_t n = 0;
    while (n < text.n && n < BLANK_MOST && memchr(" \n\t\r", text.p[text.n - n - 1], 4))
        n++;
    return n;
}

// ---- events -------------------------------------------------------------------------------------

static struct note *note_open(struct answer_parser *a, enum answer_channel channel)
{
    if (a->n_notes == a->notes_allocated) {
        a->notes_allocated = a->notes_allocated ? 2 * a->notes_allocated : 16;
        a->notes = mem_resize(a->notes, a->notes_allocated * sizeof(*a->notes));
    }
    struct note *note = &a->notes[a->n_notes++];
    *note = (struct note){.channel = channel, .call = a->n_calls - 1, .start = a->text.n};
    return note;
}

// Appends whole characters to the channel's event.
static void tell_whole(struct answer_parser *a, enum answer_channel channel, struct bytes text)
{
    if (text.n == 0)
        return;
    struct note *note = a->n_notes > a->n_taken ? &a->notes[a->n_notes - 1] : NULL;
    if (!note || note->channel != channel || channel == ANSWER_TOOL_NAME ||
        (channel == ANSWER_TOOL_ARGUMENTS && note->call != a->n_calls - 1))
        note = note_open(a, channel);
    const size_t before = a->text.n;
    if (utf8_clean(&a->text, text) != OK)
        die("out of memory");
    note->n += a->text.n - before;
}

// What is left of a character that never became whole.
static void flush_part(struct answer_parser *a)
{
    if (a->part.n > 0)
        tell_whole(a, a->part_channel, buf_view(&a->part));
    a->part.n = 0;
}

void answer_tell(struct answer_parser *a, enum answer_channel channel, struct bytes text)
{
    if (text.n == 0)
        return;
    if (a->part_channel != channel)
        flush_part(a);
    a->part_channel = channel;
    if (buf_add(&a->part, text.p, text.n) != OK)
        die("out of memory");
    const size_t n = utf8_whole(buf_view(&a->part));
    tell_whole(a, channel, (struct bytes){a->part.p, n});
    buf_drop_front(&a->part, n);
}

static void random_id(char out[40], bool is_short)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t random[24];
    const size_t n_letters = sizeof(letters) - 1, n_random = is_short ? 9 : sizeof(random);
    size_t n = 0;
    random_bytes(random, n_random);
    for (const char *p = is_short ? "" : "call_"; *p; p++)
        out[n++] = *p;
    for (size_t i = 0; i < n_random; i++)
        out[n++] = letters[random[i] % n_letters];
    out[n] = 0;
}

void answer_call(struct answer_parser *a, struct bytes name, struct bytes id)
{
    char random[40];
    flush_part(a);
    a->forced = false;
    a->n_calls++;
    if (id.n == 0) {
        random_id(random, a->form->short_id);
        id = bytes_of(random);
    }
    struct note *note = note_open(a, ANSWER_TOOL_NAME);
    if (utf8_clean(&a->text, id) != OK)
        die("out of memory");
    note->n_id = a->text.n - note->start;
    if (utf8_clean(&a->text, name) != OK)
        die("out of memory");
    note->n = a->text.n - note->start - note->n_id;
}

void answer_call_ends(struct answer_parser *a)
{
    flush_part(a);
    a->state = BETWEEN_CALLS;
    a->fresh = a->behind = true;
    a->over = a->options.one_call;
}

bool answer_take(struct answer_parser *answer, struct answer_event *event)
{
    if (answer->n_taken == answer->n_notes)
        return false;
    const struct note *note = &answer->notes[answer->n_taken++];
    const uint8_t *p = answer->text.p + note->start;
    *event = (struct answer_event){.channel = note->channel,
                                   .call = note->call,
                                   .id = {p, note->n_id},
                                   .text = {p + note->n_id, note->n}};
    return true;
}

// ---- text ---------------------------------------------------------------------------------------

static void tell_content(struct answer_parser *a, struct bytes text)
{
    if (a->behind)
        text = bytes_from(text, bytes_blank(text));
    if (text.n == 0 || (a->forced && a->final))
        return;
    a->forced = false; // it was none
    a->behind = false;
    a->fresh = a->fresh && bytes_blank(text) == text.n;
    answer_tell(a, ANSWER_CONTENT, text);
}

static void take_content(struct answer_parser *a, size_t n)
{
    tell_content(a, (struct bytes){answer_rest(a).p, n});
    a->at += n;
}

static void thought_begins(struct answer_parser *a, size_t n)
{
    a->at += n;
    a->state = IN_THOUGHT;
    a->fresh = true;
}

static void thought_ends(struct answer_parser *a, size_t n)
{
    flush_part(a);
    a->at += n;
    a->state = IN_TEXT;
    a->fresh = a->behind = true;
}

enum found { FOUND_NOTHING, FOUND_PART, FOUND_CALL, FOUND_DROP };

// The first mark that may stand anywhere; *at: where, or where what may become one begins.
static enum found find_mark(const struct answer_parser *a, struct bytes rest, size_t *at,
                            const char **mark)
{
    const struct answer_form *form = a->form;
    const char *const wrap = a->wrapped ? a->thought->wrap_close : NULL;
    const char *const marks[] = {form->open[0],  form->open[1],  form->open[2],  form->drops[0],
                                 form->drops[1], form->drops[2], form->drops[3], wrap};
    size_t open = 0;
    enum found found = FOUND_NOTHING;
    *at = rest.n;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (i < FORM_OPENS && !a->options.tools)
            continue;
        const size_t here = bytes_find(rest, marks[i]), part = bytes_open_end(rest, marks[i]);
        if (here < *at) {
            *at = here;
            *mark = marks[i];
            found = i < FORM_OPENS ? FOUND_CALL : FOUND_DROP;
        }
        open = part > open ? part : open;
    }
    if (found == FOUND_NOTHING && open > 0) {
        *at = rest.n - open;
        found = FOUND_PART;
    }
    return found;
}

// What may stand at the beginning alone: a thought, the end of one that never began, what wraps the
// content, a call without a mark. `rest` has no white space in front.
enum begins { BEGINS_TEXT, BEGINS_UNKNOWN, BEGINS_TAKEN };

static enum begins begin_step(struct answer_parser *a, struct bytes rest, size_t blank)
{
    const struct answer_thought *t = a->thought;
    struct head head;
    if (t && bytes_begin(rest, t->open)) {
        thought_begins(a, blank + strlen(t->open));
        return BEGINS_TAKEN;
    }
    if (t && bytes_begin(rest, t->close)) {
        thought_ends(a, blank + strlen(t->close));
        return BEGINS_TAKEN;
    }
    if (t && bytes_begin(rest, t->wrap_open)) {
        a->wrapped = true;
        thought_ends(a, blank + strlen(t->wrap_open));
        return BEGINS_TAKEN;
    }
    if (t && !a->final &&
        (bytes_may_begin(rest, t->open) || bytes_may_begin(rest, t->close) ||
         bytes_may_begin(rest, t->wrap_open)))
        return BEGINS_UNKNOWN;
    if (!a->options.tools || !a->form->bare || (*rest.p != '{' && *rest.p != '['))
        return BEGINS_TEXT;
    const enum head_verdict verdict = answer_head(a, rest, &head);
    if (verdict == HEAD_MORE && !a->final)
        return BEGINS_UNKNOWN;
    if (verdict != HEAD_CALL || !answer_tool(a, head.name))
        return BEGINS_TEXT;
    a->at += blank;
    answer_begin(a, rest, &head);
    return BEGINS_TAKEN;
}

// What there is of a call that was cut off: content, without the marks in it.
static void take_cut(struct answer_parser *a)
{
    const struct answer_form *form = a->form;
    const char *const marks[] = {form->call_open,   form->prefix[0],   form->name_end[0],
                                 form->name_end[1], form->name_end[2], form->skip_to};
    while (a->at < a->in.n) {
        const struct bytes rest = answer_rest(a);
        size_t end = rest.n, n = 0;
        for (size_t i = 0; i < COUNT_OF(marks); i++) {
            if (!marks[i] || strlen(marks[i]) < 3) // a brace or a line break is no mark
                continue;
            const size_t found = bytes_find(rest, marks[i]);
            const size_t at = found < rest.n ? found : rest.n - bytes_open_end(rest, marks[i]);
            n = at < end ? strlen(marks[i]) : n;
            end = at < end ? at : end;
        }
        n = n < rest.n - end ? n : rest.n - end;
        take_content(a, end);
        a->at += n;
    }
}

// The mark of a call stands at rest[blank ..).
static bool call_mark_step(struct answer_parser *a, struct bytes rest, size_t blank,
                           const char *mark)
{
    const bool is_call =
        a->form->open_is_call && a->form->open[1] && strcmp(mark, a->form->open[1]) == 0;
    const size_t behind = blank + (is_call ? 0 : strlen(mark));
    const struct bytes in = bytes_from(rest, behind);
    struct head head;
    const enum head_verdict verdict = answer_head(a, in, &head);
    if (verdict == HEAD_MORE && !a->final)
        return false;
    if (verdict == HEAD_CALL) {
        a->at += behind;
        a->listed = false;
        answer_begin(a, in, &head);
    } else if (verdict == HEAD_NOT) {
        take_content(a, blank + strlen(mark)); // it was no mark
    } else {
        a->at += blank + strlen(mark);
        a->behind = true;
        take_cut(a);
    }
    return true;
}

static bool text_step(struct answer_parser *a)
{
    const struct bytes rest = answer_rest(a);
    const char *mark = NULL;
    size_t at;
    const size_t blank = bytes_blank(rest);
    if (rest.n == 0)
        return false;
    if (blank > BLANK_MOST) {
        take_content(a, blank - BLANK_MOST);
        return true;
    }
    if (a->fresh && blank < rest.n) {
        const enum begins begins = begin_step(a, bytes_from(rest, blank), blank);
        if (begins != BEGINS_TEXT)
            return begins == BEGINS_TAKEN;
    }
    const enum found found = find_mark(a, rest, &at, &mark);
    if (at == blank && found == FOUND_CALL)
        return call_mark_step(a, rest, blank, mark);
    if (at == blank && found == FOUND_DROP) {
        a->at += blank + strlen(mark);
        a->fresh = a->fresh || a->form->bare; // a call may begin behind it
        return true;
    }
    if (a->final && found != FOUND_CALL && found != FOUND_DROP)
        at = rest.n;
    else
        at -= blank_end((struct bytes){rest.p, at});
    take_content(a, at);
    return at > 0;
}

// ---- thoughts -----------------------------------------------------------------------------------

static bool thought_step(struct answer_parser *a)
{
    const char *close = a->thought->close;
    const char *call = a->form->ends_thought && a->options.tools ? a->form->open[0] : NULL;
    struct bytes rest = answer_rest(a);
    const size_t close_at = bytes_find(rest, close), call_at = bytes_find(rest, call);
    size_t end = close_at < call_at ? close_at : call_at;
    const bool found = end < rest.n;
    if (!found && !a->final) {
        const size_t open = bytes_open_end(rest, close), other = bytes_open_end(rest, call);
        end -= open > other ? open : other;
    }
    const size_t told = end - blank_end((struct bytes){rest.p, end});
    const size_t skipped = a->fresh ? bytes_blank((struct bytes){rest.p, told}) : 0;
    if (told > skipped) {
        a->fresh = false;
        answer_tell(a, ANSWER_THINKING, (struct bytes){rest.p + skipped, told - skipped});
    }
    if (found)
        thought_ends(a, end + (close_at <= call_at ? strlen(close) : 0));
    else
        a->at += told;
    return found;
}

// ---- behind a call ------------------------------------------------------------------------------

static bool may_follow(const struct answer_parser *a, struct bytes rest)
{
    const struct answer_form *form = a->form;
    if (*rest.p == '{')
        return form->shape == SHAPE_OBJECTS || form->bare || a->listed;
    if (form->shape == SHAPE_KEYWORDS)
        return a->listed || form->close[0] != NULL;
    return form->call_open && bytes_begin(rest, form->call_open);
}

static bool between_step(struct answer_parser *a)
{
    const struct answer_form *form = a->form;
    const char *const marks[] = {form->close[0], form->close[1], form->call_close};
    const struct bytes rest = answer_rest(a);
    size_t blank = 0;
    while (blank < rest.n &&
           (bytes_blank(bytes_from(rest, blank)) > 0 || memchr(",;]}", rest.p[blank], 4)))
        blank++;
    const struct bytes next = bytes_from(rest, blank);
    if (next.n == 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (bytes_begin(next, marks[i])) {
            a->at += blank + strlen(marks[i]);
            a->state = i < FORM_CLOSES ? IN_TEXT : BETWEEN_CALLS;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (bytes_may_begin(next, marks[i]))
            return false;
    if (bytes_may_begin(next, form->call_open))
        return false;
    struct head head;
    const enum head_verdict verdict = may_follow(a, next) ? answer_head(a, next, &head) : HEAD_NOT;
    if (verdict == HEAD_MORE && !a->final)
        return false;
    a->at += blank;
    if (verdict == HEAD_CALL && (!form->bare || answer_tool(a, head.name)))
        answer_begin(a, next, &head);
    else
        a->state = IN_TEXT;
    if (verdict == HEAD_MORE)
        take_cut(a);
    return true;
}

// ---- all of it ----------------------------------------------------------------------------------

struct bytes answer_rest(const struct answer_parser *a)
{
    return bytes_from(buf_view(&a->in), a->at);
}

static bool step(struct answer_parser *a)
{
    if (a->over)
        return false;
    switch (a->state) {
    case IN_TEXT:
        return text_step(a);
    case IN_THOUGHT:
        return thought_step(a);
    case BETWEEN_CALLS:
        return between_step(a);
    case IN_HEADER:
    case IN_BODY:
        return answer_harmony_step(a);
    default:
        return answer_call_step(a);
    }
}

static void run(struct answer_parser *a)
{
    while (step(a))
        ;
    buf_drop_front(&a->in, a->at);
    a->at = 0;
}

static void forget_taken(struct answer_parser *a)
{
    if (a->n_taken < a->n_notes)
        return;
    a->n_taken = a->n_notes = 0;
    a->text.n = 0;
}

void answer_open(struct answer_parser **out, const struct answer_family *family,
                 const struct answer_options *options)
{
    struct answer_parser *a = mem_alloc(sizeof(*a));
    struct buf *const bufs[] = {&a->in, &a->text, &a->part, &a->scratch};
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        buf_init(bufs[i], SIZE_MAX);
    a->form = family->form;
    a->thought = family->thought;
    a->options = *options;
    a->fresh = true;
    a->state = a->form->shape == SHAPE_HARMONY       ? IN_HEADER
               : a->thought && a->options.in_thought ? IN_THOUGHT
                                                     : IN_TEXT;
    *out = a;
}

void answer_close(struct answer_parser *answer)
{
    if (!answer)
        return;
    buf_free(&answer->in);
    buf_free(&answer->text);
    buf_free(&answer->part);
    buf_free(&answer->scratch);
    free(answer->notes);
    free(answer);
}

void answer_force(struct answer_parser *answer)
{
    answer->forced = true;
}

void answer_feed(struct answer_parser *answer, struct bytes piece)
{
    forget_taken(answer);
    if (piece.n > 0 && buf_add(&answer->in, piece.p, piece.n) != OK)
        die("out of memory");
    run(answer);
}

void answer_finish(struct answer_parser *answer)
{
    forget_taken(answer);
    answer->final = true;
    run(answer);
    flush_part(answer);
}

size_t answer_left(const struct answer_parser *answer)
{
    size_t n = answer_rest(answer).n + answer->part.n;
    for (size_t i = answer->n_taken; i < answer->n_notes; i++)
        n += answer->notes[i].n;
    return n;
}

bool answer_thinks(const struct answer_parser *answer)
{
    return answer->state == IN_THOUGHT ||
           (answer->state == IN_BODY && answer->body == ANSWER_THINKING);
}

bool answer_is_over(const struct answer_parser *answer)
{
    return answer->over;
}
