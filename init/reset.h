/* reset.h - factory reset (reset.c): what asks for it, and what it empties. */
#ifndef INIT_RESET_H
#define INIT_RESET_H

#include "init.h"

enum reset_wish { RESET_NOT, RESET_ALL, RESET_BUT_MODELS };

enum reset_wish reset_read(const char *text, size_t len); // ERASE, ERASE BUT MODELS
/* Empties the engine's folder; false: something is left, and the mark with it. */
bool reset_erase(const char *state, bool keep_models);

struct reset {
    const char *state;         // NULL: it cannot be written; that is said when a reset is asked for
    const char *file;          // the owner's on the ESP; NULL: there is none
    void (*writable)(bool on); // of the ESP; NULL: it is
};
int reset_run(void *reset); // in a child: does what is asked for; 0: nothing, or all of it

#endif
