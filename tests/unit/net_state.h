// net_state.h - the folder in which a test's server keeps its certificates.
#pragma once

#include "check.h"

#include <stdio.h>

static void remove_state(const char *state)
{
    static const char *const files[] = {"tls/ca.crt",     "tls/ca.key", "tls/server.crt",
                                        "tls/server.key", "tls",        ""};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char file[200];
        snprintf(file, sizeof(file), "%s/%s", state, files[i]);
        CHECK(remove(file) == 0);
    }
}
