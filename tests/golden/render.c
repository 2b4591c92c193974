// render.c - templates and variables in, texts out: a tool of the golden tier.
//
//   render < LINES    each line: {"template": TEXT, "variables": {...}}; each answer a line:
//                     {"text": TEXT} or {"error": SENTENCE}, with "ms" and "peak" in both: CPU
//                     time, and the bytes of memory that it took at most
//
// strftime_now shows 2025-11-27 12:34:56 UTC.
#include "text/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NOW_S = 1764246896, LINE_MOST = 64 << 20 };

static double cpu_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

// Kilobytes of memory that the process has, or had at most since the peak was forgotten.
static long memory_kb(const char *what)
{
    return (long)file_number("/proc/self/status", what, 10);
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file || fputs("5", file) < 0 || fclose(file) != 0) {
        fprintf(stderr, "render: the peak of memory cannot be reset\n");
        exit(1);
    }
}

static enum status render(struct jinja_text *text, const struct value *line, double *ms,
                          struct err *err)
{
    static struct jinja_variable variables[256];
    const struct value *source = value_get(line, "template"), *given = value_get(line, "variables");
    size_t n = 0;
    struct jinja *jinja;
    for (; given && n < given->dict.n && n < COUNT_OF(variables); n++)
        variables[n] = (struct jinja_variable){(const char *)given->dict.members[n].name.p,
                                               &given->dict.members[n].value, false};
    double from = cpu_ms();
    enum status status = jinja_open(&jinja, source->text, err);
    if (status == OK) {
        status = jinja_render(text, jinja, variables, n, NOW_S, err);
        jinja_close(jinja);
    }
    *ms = cpu_ms() - from;
    return status;
}

static void answer(const char *line, size_t n)
{
    struct arena arena;
    struct value value;
    struct err err;
    struct json json;
    struct jinja_text text = {NULL, NULL, 0};
    double ms = 0;
    arena_init(&arena, 4 * (size_t)LINE_MOST);
    if (value_read(&value, &arena, (struct bytes){(const uint8_t *)line, n}, &err) != OK) {
        fprintf(stderr, "render: %s\n", err.text);
        exit(1);
    }
    forget_peak();
    long before = memory_kb("VmRSS:");
    enum status status = render(&text, &value, &ms, &err);
    json_init(&json, 8 * (size_t)LINE_MOST);
    json_object(&json, NULL);
    if (status == OK)
        json_text(&json, "text", (struct bytes){text.p, text.n});
    else
        json_string(&json, "error", err.text);
    json_real(&json, "ms", ms, 3);
    json_whole(&json, "peak", (memory_kb("VmHWM:") - before) * 1024);
    json_end(&json);
    if (json_done(&json) != OK)
        exit(1);
    printf("%.*s\n", (int)json.text.n, (const char *)json.text.p);
    fflush(stdout);
    json_free(&json);
    jinja_text_free(&text);
    arena_free(&arena);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    setenv("TZ", "UTC", 1);
    while ((n = getline(&line, &size, stdin)) > 0)
        answer(line, (size_t)n);
    free(line);
    return 0;
}
