// text.c - a report as a person reads it, and as a program does.
//
// The text is one block a layer: its state and name, then what was wanted, what was found, what to
// do, and the lines to type or write, indented and otherwise untouched, so that they can be copied.
// JSON has the same, field by field; "lines" is an array. Names of devices and the kernel's log are
// others' text: control characters and bytes that are no UTF-8 are replaced.
#include "inside.h"

#include <string.h>

static const char *const state_names[] = {
    [LAYER_OK] = "ok",           [LAYER_NOTE] = "note",       [LAYER_NONE] = "none",
    [LAYER_REFUSED] = "refused", [LAYER_UNKNOWN] = "unknown", [LAYER_SKIPPED] = "skipped",
};

enum { WIDTH = 96 };

// Others' text, made harmless for a terminal.
static enum status add_text(struct buf *out, struct bytes text)
{
    struct buf clean;
    buf_init(&clean, 8192);
    enum status status = utf8_clean(&clean, text);
    if (status == OK)
        status = utf8_tame(out, buf_view(&clean));
    buf_free(&clean);
    return status;
}

// Words of text, wrapped, behind a margin.
static enum status add_wrapped(struct buf *out, const char *label, const char *text)
{
    static const char margin[] = "             ";
    enum status status = buf_format(out, "    %-8s", label);
    size_t column = sizeof(margin) - 1;
    while (*text && status == OK) {
        size_t n = strcspn(text, " \n");
        bool wrap = column + 1 + n > WIDTH && column >= sizeof(margin);
        status = wrap ? buf_format(out, "\n%s", margin) : buf_add(out, " ", 1);
        if (status == OK)
            status = add_text(out, (struct bytes){(const uint8_t *)text, n});
        column = (wrap ? sizeof(margin) - 1 : column + 1) + n;
        text += n;
        text += strspn(text, " \n");
    }
    return status == OK ? buf_add(out, "\n", 1) : status;
}

static enum status add_lines(struct buf *out, const char *lines)
{
    enum status status = OK;
    while (*lines && status == OK) {
        size_t n = strcspn(lines, "\n");
        status = buf_format(out, "             | ");
        if (status == OK)
            status = add_text(out, (struct bytes){(const uint8_t *)lines, n});
        if (status == OK)
            status = buf_add(out, "\n", 1);
        lines += n + (lines[n] == '\n');
    }
    return status;
}

static enum status layer_text(struct buf *out, const struct doctor_layer *layer)
{
    enum status status = buf_format(out, "%-8s %s%s\n", state_names[layer->state], layer->name,
                                    layer->once ? "  (looked at once, at the start)" : "");
    if (status == OK)
        status = add_wrapped(out, "wanted", layer->wanted);
    if (status == OK)
        status = add_wrapped(out, "found", layer->found);
    if (status == OK && layer->todo[0])
        status = add_wrapped(out, "to do", layer->todo);
    if (status == OK && layer->lines[0])
        status = add_lines(out, layer->lines);
    return status;
}

enum status doctor_text(struct buf *out, const struct doctor_report *report, const char *version)
{
    enum status status =
        buf_format(out,
                   "tawny %s, doctor: does a GPU run here, and if not, which layer "
                   "refuses it?\ndevice = %s; this is %s\n\n",
                   version, report->setting, report->place);
    for (int32_t i = 0; i < report->n_layers && status == OK; i++)
        status = layer_text(out, &report->layer[i]);
    if (status == OK)
        status = buf_add(out, "\n", 1);
    return status == OK ? add_wrapped(out, "verdict", report->verdict) : status;
}

// ---- JSON ---------------------------------------------------------------------------------------

static enum status member(struct buf *out, const char *before, const char *name, const char *text)
{
    struct buf clean;
    enum status status = buf_format(out, "%s\"%s\":", before, name);
    buf_init(&clean, 8192);
    if (status == OK)
        status = utf8_clean(&clean, bytes_of(text));
    if (status == OK)
        status = buf_json(out, buf_view(&clean));
    buf_free(&clean);
    return status;
}

static enum status lines_json(struct buf *out, const char *lines)
{
    enum status status = buf_format(out, ",\"lines\":[");
    for (bool first = true; *lines && status == OK; first = false) {
        size_t n = strcspn(lines, "\n");
        if (!first)
            status = buf_add(out, ",", 1);
        if (status == OK)
            status = buf_json(out, (struct bytes){(const uint8_t *)lines, n});
        lines += n + (lines[n] == '\n');
    }
    return status == OK ? buf_add(out, "]", 1) : status;
}

static enum status layer_json(struct buf *out, const struct doctor_layer *layer)
{
    enum status status = member(out, "{", "layer", layer->id);
    if (status == OK)
        status = member(out, ",", "name", layer->name);
    if (status == OK)
        status = member(out, ",", "state", state_names[layer->state]);
    if (status == OK)
        status = member(out, ",", "looked", layer->once ? "at start" : "now");
    if (status == OK)
        status = member(out, ",", "wanted", layer->wanted);
    if (status == OK)
        status = member(out, ",", "found", layer->found);
    if (status == OK)
        status = member(out, ",", "to_do", layer->todo);
    if (status == OK)
        status = lines_json(out, layer->lines);
    return status == OK ? buf_add(out, "}", 1) : status;
}

static enum status verdict_json(struct buf *out, const struct doctor_report *report)
{
    static const char *const runs[] = {"nothing", "gpu", "software", "cpu"};
    enum status status =
        member(out, ",", "runs", report->started ? runs[report->runs] : "starting");
    if (status == OK)
        status = member(out, ",", "device", report->device);
    if (status == OK && report->refused)
        status = member(out, ",", "refused_by", report->refused->id);
    else if (status == OK)
        status = buf_format(out, ",\"refused_by\":null");
    return status == OK ? member(out, ",", "verdict", report->verdict) : status;
}

enum status doctor_json(struct buf *out, const struct doctor_report *report, const char *version)
{
    enum status status = member(out, "{", "version", version);
    if (status == OK)
        status = member(out, ",", "setting", report->setting);
    if (status == OK)
        status = member(out, ",", "place", report->place);
    if (status == OK)
        status = verdict_json(out, report);
    if (status == OK)
        status = buf_format(out, ",\"layers\":[");
    for (int32_t i = 0; i < report->n_layers && status == OK; i++) {
        if (i)
            status = buf_add(out, ",", 1);
        if (status == OK)
            status = layer_json(out, &report->layer[i]);
    }
    return status == OK ? buf_format(out, "]}\n") : status;
}
