// args.c - reads a verb's command line by its table, prints --help from it, and finds the model
// file a setting means.
//
// Settings of tawny.conf are options too (--ctx 8192): a name that the verb's own table lacks is
// looked up there, so there is one list of settings and one check of their values
// (base/settings.c). The command line is read twice: first for --config, then on top of what that
// file says.
#include "args.h"
#include "model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MOST = 64, HELP_COLUMN = 30, HELP_WIDTH = 100 };

// ---- --help -------------------------------------------------------------------------------------

// `what` and the default in lines that begin at column `indent`; the first goes on from `column`.
static void print_meaning(size_t indent, size_t column, const char *what, const char *fallback)
{
    struct buf text;
    buf_init(&text, 4096);
    if (buf_format(&text, "%s%s%s%s", what, fallback ? " (default " : "", fallback ? fallback : "",
                   fallback ? ")" : "") != OK)
        die("a meaning of more than 4096 bytes");
    const char *word = (const char *)text.p, *end = word + text.n;
    while (word < end) {
        const char *space = memchr(word, ' ', (size_t)(end - word));
        size_t n = space ? (size_t)(space - word) : (size_t)(end - word);
        if (column < indent || column + 1 + n > HELP_WIDTH) {
            printf("%s%*s", column < indent ? "" : "\n",
                   (int)(column < indent ? indent - column : indent), "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)n, word);
        column += n;
        word += n + 1;
    }
    putchar('\n');
    buf_free(&text);
}

static void print_option(char letter, const char *name, const char *kind, const char *what,
                         const char *fallback)
{
    char head[HELP_COLUMN * 2], x[8] = "    ";
    if (letter)
        snprintf(x, sizeof(x), "-%c, ", letter);
    int n =
        snprintf(head, sizeof(head), "  %s--%s%s%s", x, name, kind ? " " : "", kind ? kind : "");
    fputs(head, stdout);
    if (n >= HELP_COLUMN) {
        putchar('\n');
        n = 0;
    }
    print_meaning(HELP_COLUMN, (size_t)n, what, fallback);
}

static void print_help(const struct command *command, const char *verb)
{
    printf("usage: tawny %s [options]\n\n", verb);
    print_meaning(0, 0, command->what, NULL);
    printf("\noptions:\n");
    for (size_t i = 0; i < command->n_args; i++) {
        const struct arg *arg = &command->args[i];
        print_option(arg->letter, arg->name, arg->kind, arg->what, arg->value ? *arg->value : NULL);
    }
    if (command->settings)
        print_option('c', "config", "FILE", "a settings file (tawny.conf)", NULL);
    print_option('h', "help", NULL, "this text", NULL);
    struct setting setting;
    if (command->settings)
        printf("\nsettings, as in tawny.conf:\n");
    for (size_t i = 0; command->settings && settings_describe(i, &setting); i++)
        print_option(setting.letter, setting.name, setting.value, setting.what, setting.fallback);
}

// ---- reading ------------------------------------------------------------------------------------

struct option { // one option as it stands on the command line
    struct bytes name;
    char letter;       // when it was -x
    const char *value; // behind '=', else NULL
    const char *text;  // the whole word, for sentences
};

struct args_reading { // of one command line
    const struct command *command;
    struct settings *settings; // where settings go: the command's, or a scratch in the first round
    const char *config;
    bool seen[OPTIONS_MOST], seen_setting[OPTIONS_MOST], seen_config;
    int argc, at;
    char **argv;
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

static bool option_is(const struct option *option, char letter, const char *name)
{
    return option->letter ? option->letter == letter : bytes_equal_text(option->name, name);
}

static enum status once(bool *seen, const char *name, struct err *err)
{
    if (*seen)
        return err_set(err, BAD_INPUT, "--%s is given twice", name);
    *seen = true;
    return OK;
}

static enum status take_value(struct args_reading *r, const struct option *option, const char *name,
                              bool *seen, const char **value, struct err *err)
{
    enum status status = once(seen, name, err);
    if (status != OK)
        return status;
    *value = option->value;
    if (!*value && r->at + 1 >= r->argc)
        return err_set(err, BAD_INPUT, "--%s: a value is missing", name);
    if (!*value)
        *value = r->argv[++r->at];
    return OK;
}

static enum status take_arg(struct args_reading *r, const struct option *option, size_t i,
                            struct err *err)
{
    const struct arg *arg = &r->command->args[i];
    const char *value;
    if (arg->flag) {
        if (option->value)
            return err_set(err, BAD_INPUT, "--%s takes no value", arg->name);
        enum status status = once(&r->seen[i], arg->name, err);
        *arg->flag = *arg->flag || status == OK;
        return status;
    }
    enum status status = take_value(r, option, arg->name, &r->seen[i], &value, err);
    if (status == OK)
        *arg->value = value;
    return status;
}

static enum status take_setting(struct args_reading *r, const struct option *option,
                                struct err *err)
{
    struct setting setting;
    struct err why = {0};
    size_t i = 0;
    while (settings_describe(i, &setting) && !option_is(option, setting.letter, setting.name))
        if (++i == OPTIONS_MOST)
            die("more than %d settings", OPTIONS_MOST);
    if (!settings_describe(i, &setting))
        return err_set(err, BAD_INPUT, "there is no option %.80s (--help lists them)",
                       option->text);
    const char *value;
    enum status status = take_value(r, option, setting.name, &r->seen_setting[i], &value, err);
    if (status != OK)
        return status;
    status = settings_set(r->settings, setting.name, bytes_of(value), &why);
    return status == OK ? OK : err_set(err, status, "--%s", why.text); // it begins with the name
}

static enum status take_option(struct args_reading *r, const struct option *option, struct err *err)
{
    const struct command *command = r->command;
    for (size_t i = 0; i < command->n_args; i++)
        if (option_is(option, command->args[i].letter, command->args[i].name))
            return take_arg(r, option, i, err);
    if (!command->settings)
        return err_set(err, BAD_INPUT, "there is no option %.80s (--help lists them)",
                       option->text);
    if (option_is(option, 'c', "config"))
        return take_value(r, option, "config", &r->seen_config, &r->config, err);
    return take_setting(r, option, err);
}

static bool setting_is_given(const struct args_reading *r, const char *name)
{
    const size_t i = settings_place(name);
    return i < SETTINGS_MOST && r->seen_setting[i];
}

static enum status read_all(struct args_reading *r, struct err *err)
{
    if (r->command->n_args > OPTIONS_MOST)
        die("more than %d options", OPTIONS_MOST);
    for (r->at = 1; r->at < r->argc; r->at++) {
        struct option option;
        if (!option_parse(r->argv[r->at], &option))
            return err_set(err, BAD_INPUT, "\"%.80s\" is not an option (--help lists them)",
                           r->argv[r->at]);
        if (option_is(&option, 'h', "help")) {
            print_help(r->command, r->argv[0]);
            return CANCELLED;
        }
        enum status status = take_option(r, &option, err);
        if (status != OK)
            return status;
    }
    // Who says where to listen is not to find another port open as well.
    if (r->settings && setting_is_given(r, "listen") && !setting_is_given(r, "listen-http"))
        r->settings->listen_http[0] = 0;
    if (r->command->model_given)
        *r->command->model_given = setting_is_given(r, "model");
    return OK;
}

// tawny.conf: all of it is right, or, where it is to run on, what is right counts.
static enum status read_config(const struct command *command, const char *path, struct err *err)
{
    struct settings strict = *command->settings;
    struct buf file;
    if (!command->report)
        return settings_read(command->settings, path, err);
    enum status status = file_read(&file, path, SETTINGS_FILE_BYTES, err);
    if (status == OK) {
        if (!command->run_on)
            status = settings_parse(&strict, buf_view(&file), path, err);
        if (status == OK)
            settings_parse_rest(command->settings, buf_view(&file), path, SETTING_FILE,
                                command->report);
        buf_free(&file);
    } else if (command->run_on) {
        settings_fault(command->report, NULL, 0, err);
        status = OK;
    }
    return status;
}

static size_t setting_at(const char *name)
{
    struct setting setting;
    size_t i = 0;
    while (settings_describe(i, &setting) && strcmp(setting.name, name) != 0)
        i++;
    return i;
}

// Of what the API set: two it may not, and a door that the owner closed it does not open. Those are
// as they were before.
static void keep_owners(const struct command *command, const uint8_t *source, const char *path)
{
    static const char *const names[] = {"state", "api-settings", "hot-plug"};
    struct settings_report *report = command->report;
    char text[sizeof(command->settings->state)];
    struct err err = {0};
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        const size_t i = setting_at(names[k]);
        const bool is_door = strcmp(names[k], "hot-plug") == 0;
        if (report->source[i] != SETTING_API || (is_door && report->beneath.hot_plug))
            continue;
        (void)settings_value(&report->beneath, i, text, sizeof(text));
        if (settings_set(command->settings, names[k], bytes_of(text), &err) != OK)
            die("a setting that was taken is not taken again: %s", err.text);
        report->source[i] = source[i];
        if (is_door)
            continue;
        (void)err_set(&err, BAD_INPUT,
                      "%s is set by tawny.conf or the command line alone, not by %s", names[k],
                      path);
        settings_fault(report, NULL, 0, &err);
    }
}

// What was set through the API stands over the file.
static void read_kept(const struct command *command, const char *state)
{
    struct settings where = {0};
    struct buf file;
    struct err err = {0};
    char path[sizeof(where.state) + 32];
    uint8_t source[SETTINGS_MOST];
    memcpy(source, command->report->source, sizeof(source));
    snprintf(where.state, sizeof(where.state), "%s", state);
    if (args_state(&where, &err) != OK)
        return;
    snprintf(path, sizeof(path), "%s/" SETTINGS_KEPT, where.state);
    if (access(path, F_OK) != 0)
        return;
    if (file_read(&file, path, SETTINGS_FILE_BYTES, &err) != OK) {
        settings_fault(command->report, NULL, 0, &err);
        return;
    }
    settings_parse_rest(command->settings, buf_view(&file), path, SETTING_API, command->report);
    buf_free(&file);
    keep_owners(command, source, path);
}

static void note_given(const struct args_reading *r, struct settings_report *report)
{
    struct setting setting;
    for (size_t i = 0; settings_describe(i, &setting); i++)
        if (r->seen_setting[i])
            report->source[i] = SETTING_COMMAND_LINE;
    if (setting_is_given(r, "listen")) // which decides that one too
        report->source[setting_at("listen-http")] = SETTING_COMMAND_LINE;
}

enum status args_read(const struct command *command, int argc, char **argv, struct err *err)
{
    struct settings scratch;
    struct args_reading first = {command, command->settings ? &scratch : NULL, .argc = argc,
                                 .argv = argv};
    if (!command->settings)
        return read_all(&first, err);
    settings_default(&scratch);
    settings_default(command->settings);
    if (command->report)
        *command->report = (struct settings_report){0};
    enum status status = read_all(&first, err);
    if (status == OK && first.config)
        status = read_config(command, first.config, err);
    if (command->report)
        command->report->beneath = *command->settings;
    const bool kept_counts = setting_is_given(&first, "api-settings")
                                 ? scratch.api_settings
                                 : command->settings->api_settings;
    if (status == OK && command->report && kept_counts)
        read_kept(command, scratch.state[0] ? scratch.state : command->settings->state);
    struct args_reading second = {command, command->settings, .argc = argc, .argv = argv};
    if (status == OK)
        status = read_all(&second, err);
    if (status == OK && command->report)
        note_given(&second, command->report);
    return status;
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

enum status args_bytes(const char *name, const char *text, uint64_t *out, struct err *err)
{
    static const char units[] = "KMGT";
    if (!text)
        return OK;
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    const unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno || *text < '0' || *text > '9' || number == 0 ||
        number > (uint64_t)INT64_MAX >> shift || (unit ? end[1] : *end))
        return err_set(
            err, BAD_INPUT,
            "--%s: \"%.60s\" is not a number of bytes: a whole number from 1, with K, M, "
            "G or T behind it for powers of 1024 (8G)",
            name, text);
    *out = (uint64_t)number << shift;
    return OK;
}

enum status args_seed(const char *name, const char *text, uint64_t *out, struct err *err)
{
    if (!text)
        return OK;
    char *end;
    errno = 0;
    const bool negative = text[0] == '-';
    const uint64_t number = negative ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
    if (errno || end == text || *end)
        return err_set(err, BAD_INPUT, "--%s: \"%.60s\" is not a whole number from %lld to %llu",
                       name, text, (long long)INT64_MIN, (unsigned long long)UINT64_MAX);
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

// ---- what settings mean -------------------------------------------------------------------------

enum status args_state(struct settings *settings, struct err *err)
{
    if (settings->state[0])
        return OK;
    char path[sizeof(settings->state)];
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (base && base[0] == '/')
        n = snprintf(path, sizeof(path), "%s/tawny", base);
    else if (home && home[0] == '/')
        n = snprintf(path, sizeof(path), "%s/.local/state/tawny", home);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, BAD_INPUT,
                       "there is no home directory to keep keys in; name one with --state DIR");
    memcpy(settings->state, path, (size_t)n + 1);
    return OK;
}

// Directories on the way to it are for everybody, as mkdir -p makes them.
static enum status make_dirs(const char *path, struct err *err)
{
    char part[600];
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part))
        return err_set(err, TOO_LARGE, "state: the path has %zu bytes", n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/')
            continue;
        part[i] = 0;
        const enum status status = access(part, F_OK) == 0 ? OK : file_make_dir(part, 0755, err);
        if (status != OK)
            return status;
        part[i] = '/';
    }
    return file_make_dir(part, 0700, err);
}

enum status args_state_make(struct settings *settings, struct err *err)
{
    enum status status = args_state(settings, err);
    if (status != OK)
        return status;
    status = make_dirs(settings->state, err);
    if (status != OK)
        (void)err_prefix(err, "the state directory");
    return status;
}

enum status args_state_lock(const struct settings *settings, struct err *err)
{
    static int fd = -1; // stays open: whoever closes such a file has its lock no more
    char path[sizeof(settings->state) + 8];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd >= 0)
        return OK;
    snprintf(path, sizeof(path), "%s/lock", settings->state);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0)
        return OK;
    if (fd < 0 || (errno != EAGAIN && errno != EACCES)) {
        log_warn("%s: %s; nothing keeps a second server from this folder", path, strerror(errno));
        return OK;
    }
    char who[48] = "";
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        snprintf(who, sizeof(who), " (process %lld)", (long long)lock.l_pid);
    close(fd);
    fd = -1;
    return err_set(err, DENIED,
                   "another server%s has the state directory %s: end that one, or give this one a "
                   "directory of its own with --state DIR",
                   who, settings->state);
}

static enum status path_of(const struct settings *settings, const char *model, char *out,
                           size_t size, struct err *err)
{
    struct settings with_state = *settings;
    char path[sizeof(settings->draft) + 600];
    if (strcmp(model, "builtin") == 0) {
        snprintf(path, sizeof(path), "%s", MODEL_BUILTIN);
    } else if (model[0] == '/') {
        snprintf(path, sizeof(path), "%s", model);
        if (access(path, R_OK) != 0)
            return err_set(err, NOT_FOUND, "model file %s: %s", path, strerror(errno));
    } else {
        bool state = args_state(&with_state, NULL) == OK;
        snprintf(path, sizeof(path), "%s/models/%s", with_state.state, model);
        if (!state || access(path, R_OK) != 0)
            snprintf(path, sizeof(path), "%s", model);
        if (access(path, R_OK) != 0)
            return err_set(err, NOT_FOUND,
                           "there is no model \"%s\" that can be read, neither %s/models/%s nor "
                           "%s in this directory: %s",
                           model, state ? with_state.state : "STATE", model, model,
                           strerror(errno));
    }
    size_t n = strlen(path);
    if (n >= size)
        return err_set(err, TOO_LARGE, "the path of model \"%.80s\" is too long", model);
    memcpy(out, path, n + 1);
    return OK;
}

enum status args_model_path(const struct settings *settings, char *out, size_t size,
                            struct err *err)
{
    return path_of(settings, settings->model, out, size, err);
}

enum status args_path_of(const struct settings *settings, const char *model, char *out, size_t size,
                         struct err *err)
{
    char real[PATH_MAX];
    const enum status status = path_of(settings, model, out, size, err);
    if (status == OK && strcmp(out, MODEL_BUILTIN) != 0 && realpath(out, real) &&
        strlen(real) < size)
        memcpy(out, real, strlen(real) + 1);
    return status;
}

// Not by opening /dev/stdin, which may be another user's pipe.
static enum status read_stdin(struct buf *out, size_t cap_bytes, struct err *err)
{
    uint8_t piece[16384];
    ssize_t n;
    buf_init(out, cap_bytes);
    while ((n = read(STDIN_FILENO, piece, sizeof(piece))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        enum status status = n < 0 ? err_set(err, IO_ERROR, "stdin: %s", strerror(errno))
                                   : buf_add(out, piece, (size_t)n);
        if (status == NO_ROOM)
            status = err_set(err, TOO_LARGE, "stdin has more than %zu bytes", cap_bytes);
        if (status != OK) {
            buf_free(out);
            return status;
        }
    }
    return OK;
}

enum status args_read_file(struct buf *out, const char *file, size_t cap_bytes, struct err *err)
{
    return strcmp(file, "-") == 0 ? read_stdin(out, cap_bytes, err)
                                  : file_read(out, file, cap_bytes, err);
}
