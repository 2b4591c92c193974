// terminal_text.c - a small part of Markdown, told apart byte by byte.
//
// Blocks are told by how a line begins: its first bytes are held back until they are a mark (```
// or ~~~, # and a blank, - or * and a blank, > ) or cannot become one. Within a line ** and ` turn
// something on or off. In a block of code nothing counts but its end. A line's end ends a heading
// and whatever was left open in it, so that one forgotten star does not colour the rest.
#include "terminal_text.h"

#include <string.h>

#define BOLD "\x1b[1m"
#define CODE "\x1b[36m"
#define DIM "\x1b[2m"
#define PLAIN "\x1b[0m"

static enum status put(struct buf *out, const char *text)
{
    return buf_add(out, text, strlen(text));
}

// All that counts now, anew, behind a PLAIN.
static enum status style(const struct terminal_text *t, struct buf *out)
{
    enum status status = put(out, PLAIN);
    if (status == OK && (t->strong || t->heading))
        status = put(out, BOLD);
    if (status == OK && (t->code || (t->fence && !t->fence_line)))
        status = put(out, CODE);
    if (status == OK && t->fence_line)
        status = put(out, DIM);
    return status;
}

static bool is_plain(const struct terminal_text *t)
{
    return !t->strong && !t->heading && !t->code && !t->fence && !t->fence_line;
}

static enum status line_end(struct terminal_text *t, struct buf *out)
{
    const bool plain = is_plain(t);
    t->strong = t->heading = t->code = t->fence_line = t->mid_line = false;
    enum status status = plain ? OK : put(out, PLAIN);
    if (status == OK)
        status = put(out, "\n");
    return status == OK && t->fence ? style(t, out) : status;
}

// One byte within a line; what may be a ** is held back.
static enum status in_line(struct terminal_text *t, struct buf *out, char c)
{
    if (t->n_held == 1) { // a star
        t->n_held = 0;
        if (c == '*') {
            t->strong = !t->strong;
            return style(t, out);
        }
        enum status status = put(out, "*");
        if (status != OK)
            return status;
    }
    t->mid_line = true;
    if (t->fence || t->fence_line)
        return buf_add(out, &c, 1);
    if (c == '`') {
        t->code = !t->code;
        return style(t, out);
    }
    if (c == '*' && !t->code) {
        t->held[t->n_held++] = c;
        return OK;
    }
    return buf_add(out, &c, 1);
}

// What was held back at a line's start was no mark.
static enum status give_up(struct terminal_text *t, struct buf *out)
{
    char held[TERMINAL_TEXT_HELD];
    const size_t n = t->n_held;
    enum status status = OK;
    memcpy(held, t->held, n);
    t->n_held = 0;
    t->mid_line = true;
    for (size_t i = 0; i < n && status == OK; i++)
        status = in_line(t, out, held[i]);
    return status;
}

static bool all_are(const struct terminal_text *t, char c)
{
    for (size_t i = 0; i < t->n_held; i++)
        if (t->held[i] != c)
            return false;
    return t->n_held > 0;
}

// A block of code begins or ends: its line is shown dim.
static enum status fence(struct terminal_text *t, struct buf *out)
{
    t->fence = !t->fence;
    t->fence_line = t->mid_line = true;
    t->n_held = 0;
    enum status status = style(t, out);
    return status == OK ? put(out, "```") : status;
}

// The mark that is held is one, c being the blank behind it.
static enum status mark(struct terminal_text *t, struct buf *out)
{
    const char first = t->held[0];
    t->n_held = 0;
    t->mid_line = true;
    if (first == '#') {
        t->heading = true;
        return style(t, out);
    }
    return put(out, first == '>' ? DIM "│ " PLAIN : "• ");
}

// One byte at a line's start, blanks before it apart.
static enum status at_start(struct terminal_text *t, struct buf *out, char c)
{
    const bool held = t->n_held > 0;
    if (!held && (c == ' ' || c == '\t'))
        return buf_add(out, &c, 1);
    if (held && c == ' ' && !t->fence &&
        ((all_are(t, '#') && t->n_held <= 6) || (t->n_held == 1 && strchr("-*+>", t->held[0]))))
        return mark(t, out);
    const bool could = held ? all_are(t, c) && strchr("#`~", c) : c && strchr("#`~-*+>", c);
    if (could && t->n_held < TERMINAL_TEXT_HELD - 1 && (!t->fence || strchr("`~", c))) {
        t->held[t->n_held++] = c;
        return t->n_held == 3 && c != '#' ? fence(t, out) : OK;
    }
    enum status status = give_up(t, out);
    return status == OK ? in_line(t, out, c) : status;
}

enum status terminal_text_add(struct terminal_text *t, struct buf *out, struct bytes piece)
{
    enum status status = OK;
    for (size_t i = 0; i < piece.n && status == OK; i++) {
        const char c = (char)piece.p[i];
        if (c == '\n') {
            status = t->n_held > 0 ? give_up(t, out) : OK;
            if (status == OK && t->n_held > 0) { // a star at the line's end
                t->n_held = 0;
                status = put(out, "*");
            }
            if (status == OK)
                status = line_end(t, out);
        } else if (t->mid_line) {
            status = in_line(t, out, c);
        } else {
            status = at_start(t, out, c);
        }
    }
    return status;
}

enum status terminal_text_end(struct terminal_text *t, struct buf *out)
{
    enum status status = t->n_held > 0 ? give_up(t, out) : OK;
    if (status == OK && t->n_held > 0)
        status = put(out, "*");
    if (status == OK && !is_plain(t))
        status = put(out, PLAIN);
    *t = (struct terminal_text){.n_held = 0};
    return status;
}
