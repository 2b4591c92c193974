# PCRE2: the pre-tokenizer expressions of the models (Unicode classes, look-ahead), 8-bit code units only.
# Include as: #define PCRE2_CODE_UNIT_WIDTH 8 / #include <pcre2.h>
# Options: Unicode; no JIT (it is not used, and would want executable memory); limits stay at the defaults of its own
# configure. Compiled file by file, as its NON-AUTOTOOLS-BUILD describes, which takes seconds instead of a configure run
# for each C library.
version=10.46
source_package=pcre2
source_file=pcre2_10.46.orig.tar.gz
sha256=8d28d7f2c3b970c3a4bf3776bcbb5adfc923183ce74bc8df1ebaad8c1985bd07
licence='BSD-3-Clause WITH PCRE2-exception'
licence_files='LICENCE.md AUTHORS.md'

build() {
    cp src/config.h.generic src/config.h
    cp src/pcre2.h.generic src/pcre2.h
    cp src/pcre2_chartables.c.dist src/pcre2_chartables.c
    printf '%s\n' auto_possess chartables chkdint compile compile_class config context convert dfa_match error \
        extuni find_bracket jit_compile maketables match match_data newline ord2utf pattern_info script_run \
        serialize string_utils study substitute substring tables ucd valid_utf xclass |
        xargs -P "$JOBS" -I@ $CC $CFLAGS -std=c11 -D_GNU_SOURCE -DHAVE_CONFIG_H -DPCRE2_STATIC -DPCRE2_CODE_UNIT_WIDTH=8 \
            -DSUPPORT_PCRE2_8 -DSUPPORT_UNICODE -Isrc -c src/pcre2_@.c -o pcre2_@.o
    "$AR" rcs libpcre2-8.a pcre2_*.o
    install -D -m 644 -t "$PREFIX/include" src/pcre2.h
    install -D -m 644 -t "$PREFIX/lib" libpcre2-8.a
}
