// check.h - what a unit test program is made of: CHECK(condition) and a main that returns
// check_done().
//
// A failed check prints file, line and the expression, and the program goes on: one run shows all
// that is wrong. check_done() prints "NAME: N passed, N failed" and is the exit status: 0 only when
// at least one check ran and none failed. A test that a machine cannot run says so with check_skip
// (never silently).
#pragma once

#include <stdio.h>
#include <string.h>

static int check_n, check_n_failed;

static inline int check_one(int good, const char *file, int line, const char *what)
{
    check_n++;
    if (!good) {
        check_n_failed++;
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    }
    return good;
}

#define CHECK(condition) check_one(!!(condition), __FILE__, __LINE__, #condition)
// got, want: NUL-terminated texts; both are shown when they differ.
#define CHECK_TEXT(got, want)                                                                      \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (!check_one(strcmp(got_, want_) == 0, __FILE__, __LINE__, #got " == " #want))           \
            fprintf(stderr, "    got  \"%s\"\n    want \"%s\"\n", got_, want_);                    \
    } while (0)

static inline void check_skip(const char *what, const char *why)
{
    fprintf(stderr, "skipped: %s: %s\n", what, why);
}

static inline int check_done(const char *name)
{
    printf("%s: %d passed, %d failed\n", name, check_n - check_n_failed, check_n_failed);
    return check_n == 0 || check_n_failed != 0;
}
