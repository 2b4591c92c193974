// args.h - the command line of a verb: one table of options, `--name value`, `--name=value` or `-x
// value`, and the settings of tawny.conf as options too.
//
// An option that does not exist, lacks its value, is given twice or has a bad value is BAD_INPUT
// with a sentence that names it: nothing a person typed is ignored. `--help` is known to every verb
// and made from the same tables.
#pragma once

#include "base/base.h"

struct arg {
    const char *name;   // "file": --file
    char letter;        // 'f': -f; 0 = none
    const char **value; // takes a value, stored here as text; what stands there is its default; or
    bool *flag;         // takes none
    const char *kind;   // what the value is: "FILE"; NULL for a flag
    const char *what;   // its meaning, for --help
};

struct command {      // what a verb takes
    const char *what; // what it does: a sentence or two
    const struct arg *args;
    size_t n_args;
    struct settings *settings; // NULL: it has nothing to do with them
    bool *model_given;         // set: whether a model was named here; NULL: nobody asks
    // Filled, for a server: who set what. Then STATE/settings.conf is read too, which the API
    // writes; what is wrong in it is noted. NULL: nobody asks, and it is not read.
    struct settings_report *report;
    bool run_on; // with a report: so it is for the file of --config; else a wrong line ends it
};

// Fills what argv[1..] names. Settings get their defaults, then what the file of --config says,
// then what the command line says. CANCELLED: --help was asked for and printed.
MUST_USE enum status args_read(const struct command *command, int argc, char **argv,
                               struct err *err);
// A whole number in least .. most; `text` NULL leaves *out alone.
MUST_USE enum status args_int(const char *name, const char *text, int64_t least, int64_t most,
                              int64_t *out, struct err *err);
// Bytes: a whole number, with K, M, G or T behind it for so many powers of 1024.
MUST_USE enum status args_bytes(const char *name, const char *text, uint64_t *out, struct err *err);
// Any 64 bits, with a sign or without, as the API takes a seed.
MUST_USE enum status args_seed(const char *name, const char *text, uint64_t *out, struct err *err);
MUST_USE enum status args_float(const char *name, const char *text, double least, double most,
                                float *out, struct err *err);
// Prints "tawny VERB: sentence" on stderr; returns `code`: 1 for what failed, 2 for a command line
// that is wrong.
int args_fail(const char *verb, const struct err *err, int code);
// `state` left empty becomes ~/.local/state/tawny (or what XDG_STATE_HOME says). BAD_INPUT: there
// is no home directory.
MUST_USE enum status args_state(struct settings *settings, struct err *err);
// The same, and it is made where it is not there: 0700, it holds what nobody else is to read.
MUST_USE enum status args_state_make(struct settings *settings, struct err *err);
// This process has it alone until it ends; DENIED says who has it. Where nothing can be locked that
// is said in the log, and OK.
MUST_USE enum status args_state_lock(const struct settings *settings, struct err *err);
// The path for model_open that the setting `model` means: MODEL_BUILTIN, or a file that can be
// read. NOT_FOUND names the places looked at.
MUST_USE enum status args_model_path(const struct settings *settings, char *out, size_t size,
                                     struct err *err);
// The same of a model that another setting names, and with links followed.
MUST_USE enum status args_path_of(const struct settings *settings, const char *model, char *out,
                                  size_t size, struct err *err);
// All of a file that the command line names, "-" for stdin, into *out (buf_init'ed here). TOO_LARGE
// over the cap.
MUST_USE enum status args_read_file(struct buf *out, const char *file, size_t cap_bytes,
                                    struct err *err);
