// args.h - the command line of a verb: one table of options, `--name value`, `--name=value` or `-x
// value`.
//
// An option that does not exist, lacks its value, is given twice or has a bad value is BAD_INPUT
// with a sentence that names it: nothing a person typed is ignored. `--help` is known to every
// verb.
#pragma once

#include "base/base.h"

struct arg {
    const char *name;   // "model": --model
    char letter;        // 'm': -m; 0 = none
    const char **value; // takes a value, stored here as text; or
    bool *flag;         // takes none
    const char *what;   // for --help: "FILE  the model"
};

// Fills what argv[1..] names. CANCELLED: --help was asked for and printed.
MUST_USE enum status args_read(const struct arg *args, size_t n_args, int argc, char **argv,
                               struct err *err);
// As args_read, but an option that is not in the table is taken as a setting (base/base.h) when it
// is one.
MUST_USE enum status args_read_settings(const struct arg *args, size_t n_args, int argc,
                                        char **argv, struct settings *settings, struct err *err);
// The same on top of the settings file that `--config` names, when it is given: *config is the
// value of that option in the table. *settings gets the defaults first.
MUST_USE enum status args_read_config(const struct arg *args, size_t n_args, const char **config,
                                      int argc, char **argv, struct settings *settings,
                                      struct err *err);
// A whole number in least .. most; `text` NULL leaves *out alone.
MUST_USE enum status args_int(const char *name, const char *text, int64_t least, int64_t most,
                              int64_t *out, struct err *err);
MUST_USE enum status args_float(const char *name, const char *text, double least, double most,
                                float *out, struct err *err);
// Prints "tawny VERB: sentence" on stderr; returns the exit code for the status: 2 for BAD_INPUT of
// the command line.
int args_fail(const char *verb, const struct err *err, int code);
// The file that `model` means: "builtin", a path, or a name under <state>/models/. NOT_FOUND names
// the places looked at.
MUST_USE enum status args_model_path(const struct settings *settings, char *out, size_t size,
                                     struct err *err);
