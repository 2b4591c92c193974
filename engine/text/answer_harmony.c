// answer_harmony.c - gpt-oss's answers: messages, each with a header that names its channel and,
// for a call, its recipient.
//
//   [<|start|>assistant] [ to=R] <|channel|>C [ to=R] [ <|constrain|>json] <|message|> BODY
//   ... then <|end|>, <|call|>, <|return|>, or the next header
//
// The prompt ends with <|start|>assistant, so an answer begins inside a header. analysis is
// thinking; a recipient makes a call, whose name stands behind "functions."; all else is content.
// Between two messages of one channel stands an empty line. Source: OpenAI's description of the
// format (cookbook, "harmony").
#include "answer_inside.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 1024 };

// The word behind `mark`; n == 0: there is none.
static struct bytes word_behind(struct bytes header, const char *mark)
{
    const size_t at = bytes_find(header, mark);
    if (at == header.n)
        return (struct bytes){NULL, 0};
    struct bytes word = bytes_from(header, at + strlen(mark));
    size_t n = 0;
    while (n < word.n && word.p[n] > ' ' && word.p[n] != '<')
        n++;
    word.n = n;
    return word;
}

static void message_begins(struct answer_parser *a, enum answer_channel channel)
{
    const size_t which = channel == ANSWER_THINKING;
    a->state = IN_BODY;
    a->body = channel;
    a->behind = false;
    a->fresh = a->n_bodies[which]++ > 0; // an empty line comes before its first byte
}

static void header_ends(struct answer_parser *a, struct bytes header)
{
    struct bytes recipient = word_behind(header, "to=");
    const struct bytes channel = word_behind(header, "<|channel|>");
    if (bytes_begin(recipient, "functions."))
        recipient = bytes_from(recipient, 10);
    if (recipient.n == 0 || bytes_equal_text(recipient, "all") || !a->options.tools) {
        message_begins(a, bytes_equal_text(channel, "analysis") ? ANSWER_THINKING : ANSWER_CONTENT);
        return;
    }
    answer_call(a, recipient, (struct bytes){NULL, 0});
    answer_json_init(&a->json, NULL);
    a->state = IN_BODY;
    a->body = ANSWER_TOOL_ARGUMENTS;
    a->fresh = true;
}

static bool header_step(struct answer_parser *a)
{
    static const char *const begins[] = {"<|start|>", "<|channel|>", "<|message|>",
                                         " to=",      "to=",         "assistant"};
    const struct bytes rest = answer_rest(a);
    const size_t end = bytes_find(rest, "<|message|>");
    bool is_header = false, may_be = false;
    size_t n_mark = 0;
    for (size_t i = 0; i < COUNT_OF(begins); i++) {
        n_mark = i < 3 && bytes_begin(rest, begins[i]) ? strlen(begins[i]) : n_mark;
        is_header = is_header || bytes_begin(rest, begins[i]);
        may_be = may_be || bytes_may_begin(rest, begins[i]);
    }
    if (rest.n == 0)
        return false;
    if (is_header && end < rest.n && end <= HEADER_MOST) {
        const struct bytes header = {rest.p, end};
        a->at += end + strlen("<|message|>");
        header_ends(a, header);
        return true;
    }
    if (a->final && (is_header || may_be)) {
        a->at += rest.n; // a header alone says nothing
        return true;
    }
    if ((is_header && rest.n - bytes_open_end(rest, "<|message|>") <= HEADER_MOST) || may_be)
        return false;
    a->at += n_mark;
    message_begins(a, ANSWER_CONTENT); // no header where one should be: the model just talks
    return true;
}

static void tell_body(struct answer_parser *a, struct bytes text)
{
    if (text.n == 0)
        return;
    if (a->body != ANSWER_TOOL_ARGUMENTS) {
        if (a->fresh)
            answer_tell(a, a->body, bytes_of("\n\n"));
        a->fresh = false;
        answer_tell(a, a->body, text);
        return;
    }
    a->fresh = a->fresh && bytes_blank(text) == text.n;
    answer_tell(a, a->body, text);
}

// Bytes taken of a piece of the arguments; whole: nothing of them comes behind it.
static size_t tell_arguments(struct answer_parser *a, struct bytes piece, bool whole)
{
    const size_t n = answer_json_feed(&a->json, piece, whole, &a->scratch);
    tell_body(a, buf_view(&a->scratch));
    a->scratch.n = 0;
    if (a->json.state == JSON_MORE && !whole)
        return n;
    if (a->json.state == JSON_BAD)
        tell_body(a, bytes_from(piece, n));
    return piece.n;
}

static void body_ends(struct answer_parser *a)
{
    a->over = a->body == ANSWER_TOOL_ARGUMENTS && a->options.one_call;
    if (a->body == ANSWER_TOOL_ARGUMENTS && a->fresh)
        answer_tell(a, a->body, bytes_of("{}"));
    a->state = IN_HEADER;
}

static bool body_step(struct answer_parser *a)
{
    static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>",
                                       "<|channel|>"};
    const struct bytes rest = answer_rest(a);
    size_t end = rest.n, open = 0, n = 0;
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        const size_t found = bytes_find(rest, ends[i]), part = bytes_open_end(rest, ends[i]);
        if (found < end)
            n = i < 3 ? strlen(ends[i]) : 0; // the others begin the next header
        end = found < end ? found : end;
        open = part > open ? part : open;
    }
    const bool found = end < rest.n;
    if (!found && !a->final)
        end -= open;
    if (a->body == ANSWER_TOOL_ARGUMENTS)
        end = tell_arguments(a, (struct bytes){rest.p, end}, found || a->final);
    else
        tell_body(a, (struct bytes){rest.p, end});
    a->at += end + n;
    if (found)
        body_ends(a);
    return found;
}

bool answer_harmony_step(struct answer_parser *a)
{
    return a->state == IN_HEADER ? header_step(a) : body_step(a);
}
