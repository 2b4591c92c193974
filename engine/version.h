// version.h - what this binary is. The text comes from the Makefile, which passes it to version.c
// alone.
#pragma once

#include <stddef.h>

const char *version_text(void);    // "0.1.0-12-gabcdef0"
const char *version_flavour(void); // "appliance (static, musl)", "host (glibc)", "asan ..."
// The licences of everything linked in; text, from build/NOTICES.
const char *version_notices(size_t *n_bytes);
const char *version_libs(void); // "bearssl 0.6, yyjson 0.10.0, ..."
