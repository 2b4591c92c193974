// speak.c - what a model writes, from tokens to events: their text, taken apart into content,
// thinking and calls (text/answer.c), and content held back where it may become a stop string. What
// is forced on a model goes the other way, as tokens that count instead of those it picked: the end
// of a thought that took too long, the beginning of a call that must be made.
//
// Stop strings are looked for in content alone: a thought or a call that holds one goes on. A
// grammar holds from where the prompt's thought has ended, and behind a call's beginning that is
// forced; a thought that the model opens itself is part of it, as the end that is forced on that.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { END_OF_PROMPT = 32 }; // tokens; what opens a thought is two or three of them

// ---- events -----------------------------------------------------------------------------------

struct event *text_event(enum event_kind kind, const struct work *work, struct bytes text)
{
    struct event *event = mem_alloc(sizeof(*event) + text.n);
    event->kind = kind;
    event->job_id = work->id;
    event->usage = work_usage(work);
    event->owner = work->owner->id;
    event->n_text = text.n;
    if (text.n)
        memcpy(event->text, text.p, text.n);
    return event;
}

static void tell_content(struct engine *engine, const struct work *work, struct bytes text)
{
    if (text.n > 0)
        engine_tell(engine, text_event(EVENT_TEXT, work, text));
}

static void tell_other(struct engine *engine, const struct work *work,
                       const struct answer_event *piece)
{
    // the id and the text lie one behind the other
    const struct bytes text = {piece->id.n ? piece->id.p : piece->text.p,
                               piece->id.n + piece->text.n};
    struct event *event = text_event(EVENT_TEXT, work, text);
    event->channel = piece->channel;
    event->call = piece->call;
    event->n_id = piece->id.n;
    engine_tell(engine, event);
}

// True: a stop string was completed.
static bool tell_pieces(struct engine *engine, struct work *work)
{
    struct answer_event piece;
    while (answer_take(work->answer, &piece)) {
        if (piece.channel == ANSWER_CONTENT) {
            struct bytes text;
            const bool stopped = stopper_feed(work->stopper, piece.text, &text);
            tell_content(engine, work, text);
            if (stopped)
                return true;
            continue;
        }
        tell_content(engine, work, stopper_flush(work->stopper));
        tell_other(engine, work, &piece);
    }
    return false;
}

// ---- what is forced -----------------------------------------------------------------------------

static void force(const struct loaded *loaded, struct work *work, struct bytes text)
{
    const size_t cap = (size_t)work->n_forced + text.n + 8;
    size_t n = (size_t)work->n_forced;
    struct err err;
    work->forced = mem_resize(work->forced, cap * sizeof(*work->forced));
    if (tokenizer_append(loaded->tokenizer, text, true, work->forced, cap, &n, &err) != OK)
        log_warn("job %llu: what should be forced cannot be: %s", (unsigned long long)work->id,
                 err.text);
    work->n_forced = (int32_t)n;
}

int32_t work_counts(const struct loaded *loaded, struct work *work, int32_t id)
{
    const bool due = work->job->ask.must_call && !work->call_begun && !work->thought_cut;
    if (due && tokenizer_is_end(loaded->tokenizer, id)) { // it thought, and would end with that
        work->thought_cut = true;
        force(loaded, work, answer_thought_end(&loaded->family));
    }
    return work->at_forced < work->n_forced ? work->forced[work->at_forced++] : id;
}

static void begin_call(const struct loaded *loaded, struct work *work)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    answer_call_begin(&text, &loaded->family, work->job->ask.must_call_tool);
    force(loaded, work, buf_view(&text));
    if (work->answer)
        answer_force(work->answer);
    buf_free(&text);
}

// What comes next, where the answer is now.
static void follow(const struct loaded *loaded, struct work *work)
{
    const struct ask *ask = &work->job->ask;
    const bool thinks = work->answer && answer_thinks(work->answer);
    if (thinks && ask->think_most >= 0 && work->usage.n_thinking >= ask->think_most &&
        !work->thought_cut) {
        work->thought_cut = true;
        force(loaded, work, answer_thought_end(&loaded->family));
    }
    if (!thinks && ask->must_call && !work->call_begun) {
        work->call_begun = true;
        begin_call(loaded, work);
    }
    if (!thinks && work->at_forced == work->n_forced && work->matcher && !work->obeys) {
        work->obeys = true;
        sampler_obey(work->sampler, work->matcher);
    }
}

// ---- the answer ---------------------------------------------------------------------------------

// Whether the prompt has opened a thought.
static bool opens_thought(const struct loaded *loaded, const struct work *work)
{
    const int32_t n = work->n_prompt < END_OF_PROMPT ? work->n_prompt : END_OF_PROMPT;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    for (int32_t i = work->n_prompt - n; i < work->n_prompt; i++) {
        const struct bytes piece = tokenizer_mark(loaded->tokenizer, work->prompt[i]);
        if (piece.n > 0 && buf_add(&text, piece.p, piece.n) != OK)
            die("out of memory");
    }
    const bool opens = answer_opens_thought(&loaded->family, buf_view(&text));
    buf_free(&text);
    return opens;
}

void work_speak_begin(const struct loaded *loaded, struct work *work)
{
    const struct ask *ask = &work->job->ask;
    stopper_open(&work->stopper, ask->stops, ask->n_stops);
    if (ask->chat && (ask->conversation.tools || loaded->family.thought)) {
        const struct answer_options options = {.tools = ask->conversation.tools,
                                               .in_thought = opens_thought(loaded, work),
                                               .one_call = ask->one_call};
        answer_open(&work->answer, &loaded->family, &options);
    }
    follow(loaded, work);
}

bool work_speak(struct loaded *loaded, struct work *work, int32_t id)
{
    struct bytes piece = tokenizer_decode(loaded->tokenizer, id), text;
    bool over;
    if (work->answer) {
        const struct bytes mark = tokenizer_mark(loaded->tokenizer, id);
        if (piece.n == 0 && answer_knows(&loaded->family, mark))
            piece = mark;
        answer_feed(work->answer, piece);
        over = tell_pieces(loaded->engine, work) || answer_is_over(work->answer);
        work->usage.n_thinking += answer_thinks(work->answer);
    } else {
        over = stopper_feed(work->stopper, piece, &text);
        tell_content(loaded->engine, work, text);
    }
    follow(loaded, work);
    return over;
}

// ---- a prompt that is told ----------------------------------------------------------------------

// A BOS that was put in front of a text is not part of it.
static bool has_own_first(const struct loaded *loaded, const struct work *work)
{
    return work->job->ask.prompt_ids || !tokenizer_add_bos(loaded->tokenizer) ||
           work->prompt[0] != tokenizer_bos(loaded->tokenizer);
}

void work_echo_begin(struct loaded *loaded, struct work *work)
{
    work->echoes = true;
    if (has_own_first(loaded, work))
        chance_of_none(loaded, work, work->prompt[0]);
    work->n_chanced = 1;
}

void work_echo_end(struct loaded *loaded, struct work *work)
{
    struct buf text;
    work->echoes = false;
    if (!work->job->ask.prompt_ids) {
        tell_content(loaded->engine, work, work->job->ask.prompt);
        return;
    }
    buf_init(&text, SIZE_MAX);
    for (int32_t i = 0; i < work->n_prompt; i++) {
        const struct bytes piece = tokenizer_mark(loaded->tokenizer, work->prompt[i]);
        if (piece.n > 0 && buf_add(&text, piece.p, piece.n) != OK)
            die("out of memory");
    }
    struct buf clean;
    buf_init(&clean, SIZE_MAX);
    if (utf8_clean(&clean, buf_view(&text)) != OK)
        die("out of memory");
    tell_content(loaded->engine, work, buf_view(&clean));
    buf_free(&clean);
    buf_free(&text);
}

size_t work_unsaid(const struct work *work)
{
    const size_t n = stopper_cut(work->stopper);
    return n > 0 && work->answer ? n + answer_left(work->answer) : n;
}

struct bytes work_stop(const struct work *work)
{
    return work->stopper ? stopper_completed(work->stopper) : bytes_of("");
}

void work_speak_end(struct loaded *loaded, struct work *work)
{
    if (work->answer) {
        answer_finish(work->answer);
        if (tell_pieces(loaded->engine, work))
            return; // a stop string: what is behind it is not told
    }
    tell_content(loaded->engine, work, stopper_flush(work->stopper));
}

void work_speak_close(struct work *work)
{
    if (work->stopper)
        stopper_close(work->stopper);
    answer_close(work->answer);
    matcher_close(work->matcher);
    grammar_close(work->grammar);
    free(work->forced);
}
