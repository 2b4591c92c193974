// args.c - reads a verb's command line by its table, and finds the model file a setting means.
//
// Settings of tawny.conf are options too (--ctx 8192): a name that the verb's own table lacks is
// looked up there, so there is one list of settings and one check of their values
// (base/settings.c).
#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OPTIONS = 64 };

static void print_help(const struct arg *args, size_t n_args, const char *verb, bool settings_too)
{
    printf("usage: tawny %s [options]\n", verb);
    for (size_t i = 0; i < n_args; i++) {
        char letter[8] = "    ";
        if (args[i].letter)
            snprintf(letter, sizeof(letter), "-%c, ", args[i].letter);
        printf("  %s--%-14s %s\n", letter, args[i].name, args[i].what);
    }
    if (settings_too)
        printf("  and every setting of tawny.conf as --KEY VALUE: model, listen, listen-http, "
               "state, device,\n"
               "  hostname, ctx, threads, parallel, kv-type, log\n");
    printf("      --%-14s this text\n", "help");
}

struct option { // one option as it stands on the command line
    struct bytes name;
    char letter;       // when it was -x
    const char *value; // behind '=', else NULL
    const char *text;  // the whole word, for sentences
};

static bool option_parse(const char *word, struct option *option)
{
    *option = (struct option){.text = word};
    if (word[0] != '-' || word[1] == 0)
        return false;
    if (word[1] != '-') {
        option->letter = word[1];
        option->value = word[2] == '=' ? word + 3 : word[2] ? word + 2 : NULL;
        return true;
    }
    const char *name = word + 2, *equals = strchr(name, '=');
    option->name =
        (struct bytes){(const uint8_t *)name, equals ? (size_t)(equals - name) : strlen(name)};
    option->value = equals ? equals + 1 : NULL;
    return option->name.n > 0;
}

static const struct arg *arg_find(const struct arg *args, size_t n_args,
                                  const struct option *option)
{
    for (size_t i = 0; i < n_args; i++)
        if (option->letter ? args[i].letter == option->letter
                           : bytes_equal_text(option->name, args[i].name))
            return &args[i];
    return NULL;
}

static enum status value_of(struct option *option, int argc, char **argv, int *at, struct err *err)
{
    if (option->value)
        return OK;
    if (*at + 1 >= argc)
        return err_set(err, BAD_INPUT, "%s: a value is missing", option->text);
    option->value = argv[++*at];
    return OK;
}

static enum status set_setting(struct settings *settings, const struct option *option,
                               struct err *err)
{
    char name[32];
    if (option->letter || option->name.n >= sizeof(name))
        return err_set(err, BAD_INPUT, "there is no option %s (--help lists them)", option->text);
    memcpy(name, option->name.p, option->name.n);
    name[option->name.n] = 0;
    enum status status = settings_set(settings, name, bytes_of(option->value), err);
    if (status != OK)
        (void)err_prefix(err, "%s", option->text);
    return status;
}

static enum status read_all(const struct arg *args, size_t n_args, int argc, char **argv,
                            struct settings *settings, struct err *err)
{
    bool seen[MOST_OPTIONS] = {false};
    for (int at = 1; at < argc; at++) {
        struct option option;
        if (!option_parse(argv[at], &option))
            return err_set(err, BAD_INPUT, "\"%.80s\" is not an option (--help lists them)",
                           argv[at]);
        if (bytes_equal_text(option.name, "help") || option.letter == 'h') {
            print_help(args, n_args, argv[0], settings);
            return CANCELLED;
        }
        const struct arg *arg = arg_find(args, n_args, &option);
        if (arg && n_args <= MOST_OPTIONS) {
            if (seen[arg - args])
                return err_set(err, BAD_INPUT, "--%s is given twice", arg->name);
            seen[arg - args] = true;
        }
        if (arg && arg->flag) {
            if (option.value)
                return err_set(err, BAD_INPUT, "--%s takes no value", arg->name);
            *arg->flag = true;
            continue;
        }
        if (!arg && !settings)
            return err_set(err, BAD_INPUT, "there is no option %s (--help lists them)",
                           option.text);
        enum status status = value_of(&option, argc, argv, &at, err);
        if (status == OK && arg)
            *arg->value = option.value;
        else if (status == OK)
            status = set_setting(settings, &option, err);
        if (status != OK)
            return status;
    }
    return OK;
}

enum status args_read(const struct arg *args, size_t n_args, int argc, char **argv, struct err *err)
{
    return read_all(args, n_args, argc, argv, NULL, err);
}

enum status args_read_settings(const struct arg *args, size_t n_args, int argc, char **argv,
                               struct settings *settings, struct err *err)
{
    return read_all(args, n_args, argc, argv, settings, err);
}

enum status args_read_config(const struct arg *args, size_t n_args, const char **config, int argc,
                             char **argv, struct settings *settings, struct err *err)
{
    struct settings scratch;
    settings_default(&scratch);
    settings_default(settings);
    // Twice over the command line: first for --config, then on top of what that file says.
    enum status status = args_read_settings(args, n_args, argc, argv, &scratch, err);
    if (status == OK && *config)
        status = settings_read(settings, *config, err);
    return status == OK ? args_read_settings(args, n_args, argc, argv, settings, err) : status;
}

enum status args_int(const char *name, const char *text, int64_t least, int64_t most, int64_t *out,
                     struct err *err)
{
    if (!text)
        return OK;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < least || number > most)
        return err_set(err, BAD_INPUT, "--%s: \"%.60s\" is not a whole number from %lld to %lld",
                       name, text, (long long)least, (long long)most);
    *out = number;
    return OK;
}

enum status args_float(const char *name, const char *text, double least, double most, float *out,
                       struct err *err)
{
    if (!text)
        return OK;
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (errno || end == text || *end || !isfinite(number) || number < least || number > most)
        return err_set(err, BAD_INPUT, "--%s: \"%.60s\" is not a number from %g to %g", name, text,
                       least, most);
    *out = (float)number;
    return OK;
}

int args_fail(const char *verb, const struct err *err, int code)
{
    fprintf(stderr, "tawny %s: %s\n", verb, err->text);
    return code;
}

enum status args_model_path(const struct settings *settings, char *out, size_t size,
                            struct err *err)
{
    static const char builtin[] = "/usr/share/tawny/builtin.gguf";
    const char *model = settings->model;
    char path[2100];
    if (strcmp(model, "builtin") == 0) {
        if (access(builtin, R_OK) != 0)
            return err_set(err, NOT_FOUND,
                           "the built-in model is not at %s (%s); name a file with --model FILE",
                           builtin, strerror(errno));
        snprintf(path, sizeof(path), "%s", builtin);
    } else {
        snprintf(path, sizeof(path), "%s/models/%s", settings->state, model);
        if (model[0] == '/' || !settings->state[0] || access(path, R_OK) != 0)
            snprintf(path, sizeof(path), "%s", model);
        if (access(path, R_OK) != 0)
            return err_set(err, NOT_FOUND,
                           "model \"%s\" cannot be read: it is neither %s/models/%s nor %s: %s",
                           model, settings->state[0] ? settings->state : "STATE", model, model,
                           strerror(errno));
    }
    size_t n = strlen(path);
    if (n >= size)
        return err_set(err, TOO_LARGE, "the path of model \"%.80s\" is too long", model);
    memcpy(out, path, n + 1);
    return OK;
}
