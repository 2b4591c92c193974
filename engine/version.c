// version.c - the version, from the Makefile (TAWNY_VERSION, TAWNY_LIBS), and how this binary was
// built. Only this file knows them, so that a commit does not recompile everything.
#include "version.h"

#include <stdlib.h>

#ifndef TAWNY_VERSION
#define TAWNY_VERSION "unversioned"
#endif
#ifndef TAWNY_LIBS
#define TAWNY_LIBS "not recorded by this build"
#endif

const char *version_text(void)
{
    return TAWNY_VERSION;
}

const char *version_flavour(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return "asan (glibc, AddressSanitizer)";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    return "asan (glibc, AddressSanitizer)";
#endif
#endif
#ifdef __GLIBC__
    return "host (dynamic, glibc)";
#else
    return "appliance (static, musl)";
#endif
}

extern const char notices_text[], notices_text_end[]; // the Makefile's: an .incbin of build/NOTICES

const char *version_notices(size_t *n_bytes)
{
    *n_bytes = (size_t)(notices_text_end - notices_text);
    return notices_text;
}

const char *version_libs(void)
{
    return TAWNY_LIBS;
}
