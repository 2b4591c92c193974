// isa.c - machine code on stdin, in words of the chip, as text on stdout: a line an instruction,
// its place in bytes and what it is (decode.h). What it does not know is told in place and costs
// the exit status; reading goes on at the next word.
#include "decode.h"

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    enum { WORDS_MOST = 16 << 20 };
    uint32_t *words = malloc(WORDS_MOST * sizeof(*words));
    if (!words) {
        fprintf(stderr, "chip-isa: there is no memory for %d words\n", WORDS_MOST);
        return 1;
    }
    const size_t n = fread(words, sizeof(*words), WORDS_MOST, stdin);
    size_t n_unknown = 0;
    for (size_t i = 0; i < n;) {
        struct inst inst;
        char what[80], text[256];
        if (decode(&inst, words + i, n - i, what)) {
            inst_text(text, &inst);
            printf("%08zx %s\n", i * 4, text);
            i += inst.n_words;
        } else {
            printf("%08zx unknown: %s\n", i * 4, what);
            n_unknown++, i++;
        }
    }
    free(words);
    return n == 0 || n == WORDS_MOST || n_unknown != 0;
}
