// verb_args.c - the command line of a verb (engine/verb/args.c): what is taken, what is refused and
// how it is said, --help made of the tables, and where `listen` and the models' names lead.
#include "../../engine/verb/args.h"
#include "../../engine/model/model.h"
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

enum { WORDS_MOST = 12 };

struct line { // of one verb with an option, a flag and the settings
    struct settings settings;
    const char *file;
    bool plain;
    struct err err;
};

// `words` are cut at blanks.
static enum status read_line(struct line *line, const char *words)
{
    static char copy[300]; // what is read is looked at afterwards
    char *argv[WORDS_MOST + 1] = {"try"};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *at = copy; *at && argc < WORDS_MOST;) {
        size_t n = strcspn(at, " ");
        argv[argc++] = at;
        at += n;
        if (*at)
            *at++ = 0;
    }
    *line = (struct line){.file = "none"};
    const struct arg args[] = {
        {"file", 'f', &line->file, NULL, "FILE", "a file"},
        {"plain", 0, NULL, &line->plain, NULL, "plainly"},
    };
    const struct command command = {"try things.", args, COUNT_OF(args), &line->settings};
    return args_read(&command, argc, argv, &line->err);
}

static void test_taken(void)
{
    struct line line;
    CHECK(read_line(&line, "") == OK);
    CHECK_TEXT(line.file, "none");
    CHECK_TEXT(line.settings.model, "builtin");
    CHECK(read_line(&line, "-f a --plain -m x.gguf --ctx=5 -t 3") == OK);
    CHECK_TEXT(line.file, "a");
    CHECK_TEXT(line.settings.model, "x.gguf");
    CHECK(line.plain && line.settings.n_ctx == 5 && line.settings.n_threads == 3);
    CHECK(read_line(&line, "--model=y -fb") == OK);
    CHECK_TEXT(line.settings.model, "y");
    CHECK_TEXT(line.file, "b");
}

static void test_refused(void)
{
    static const struct {
        const char *words, *wanted;
    } vectors[] = {
        {"--ctx x", "--ctx: \"x\" is not a whole number"},
        {"--ctx", "--ctx: a value is missing"},
        {"--ctx 1 --ctx 2", "--ctx is given twice"},
        {"-m a --model b", "--model is given twice"},
        {"-f a -f b", "--file is given twice"},
        {"--plain --plain", "--plain is given twice"},
        {"--plain=1", "--plain takes no value"},
        {"--log loud", "--log: \"loud\" is neither"},
        {"--nonsense", "there is no option --nonsense"},
        {"-x", "there is no option -x"},
        {"word", "\"word\" is not an option"},
        {"--config /nonexistent/x", "/nonexistent/x"},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct line line;
        enum status status = read_line(&line, vectors[i].words);
        CHECK(status == BAD_INPUT || status == NOT_FOUND);
        if (!CHECK(strstr(line.err.text, vectors[i].wanted)))
            fprintf(stderr, "    %s: \"%s\"\n", vectors[i].words, line.err.text);
        CHECK(!strstr(line.err.text, "--ctx: ctx:"));
    }
}

// Who says --listen gets what he says and nothing beside it, whatever the settings file has.
static void test_listen(void)
{
    char path[] = "/tmp/verb_args.XXXXXX", words[200];
    struct line line;
    int fd = mkstemp(path);
    static const char text[] = "listen-http = 0.0.0.0:80\n";
    CHECK(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
    close(fd);
    CHECK(read_line(&line, "") == OK);
    CHECK_TEXT(line.settings.listen_http, "auto");
    CHECK(read_line(&line, "--listen 127.0.0.1:8443") == OK);
    CHECK_TEXT(line.settings.listen, "127.0.0.1:8443");
    CHECK_TEXT(line.settings.listen_http, "");
    CHECK(read_line(&line, "--listen 127.0.0.1:8443 --listen-http 127.0.0.1:8080") == OK);
    CHECK_TEXT(line.settings.listen_http, "127.0.0.1:8080");
    snprintf(words, sizeof(words), "--config %s", path);
    CHECK(read_line(&line, words) == OK);
    CHECK_TEXT(line.settings.listen_http, "0.0.0.0:80");
    snprintf(words, sizeof(words), "--listen 127.0.0.1:8443 --config %s", path);
    CHECK(read_line(&line, words) == OK);
    CHECK_TEXT(line.settings.listen_http, "");
    unlink(path);
}

// Every option, its meaning and its default are in --help, in lines that fit.
static void test_help(void)
{
    char path[] = "/tmp/verb_args.XXXXXX";
    struct line line;
    struct buf text;
    struct setting setting;
    struct err err;
    int fd = mkstemp(path), out = dup(STDOUT_FILENO);
    CHECK(fd >= 0 && out >= 0 && fflush(stdout) == 0 && dup2(fd, STDOUT_FILENO) >= 0);
    enum status status = read_line(&line, "--help");
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    CHECK(status == CANCELLED && file_read(&text, path, 65536, &err) == OK);
    CHECK(buf_add(&text, "", 1) == OK);
    const char *p = (const char *)text.p;
    CHECK(strstr(p, "usage: tawny try") && strstr(p, "--file FILE") && strstr(p, "(default none)"));
    CHECK(strstr(p, "--plain") && strstr(p, "--config FILE") && strstr(p, "-m, --model FILE"));
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        char name[40];
        snprintf(name, sizeof(name), "--%s %s", setting.name, setting.value);
        CHECK(strstr(p, name));
    }
    for (; *p; p += strcspn(p, "\n"), p += *p == '\n')
        CHECK(strcspn(p, "\n") <= 100);
    buf_free(&text);
    close(fd);
    close(out);
    unlink(path);
}

static void test_model_path(void)
{
    struct settings settings;
    struct err err = {0};
    char path[2200];
    settings_default(&settings);
    CHECK(args_model_path(&settings, path, sizeof(path), &err) == OK);
    CHECK_TEXT(path, MODEL_BUILTIN);
    CHECK(settings_set(&settings, "model", bytes_of("/nonexistent/nope.gguf"), &err) == OK);
    CHECK(settings_set(&settings, "state", bytes_of("/nonexistent/state"), &err) == OK);
    CHECK(args_model_path(&settings, path, sizeof(path), &err) == NOT_FOUND);
    CHECK_TEXT(err.text, "model file /nonexistent/nope.gguf: No such file or directory");
    CHECK(settings_set(&settings, "model", bytes_of("nope.gguf"), &err) == OK);
    CHECK(args_model_path(&settings, path, sizeof(path), &err) == NOT_FOUND);
    CHECK(strstr(err.text, "neither /nonexistent/state/models/nope.gguf nor nope.gguf in this"));
    CHECK(!strstr(err.text, "//"));
}

int main(void)
{
    test_taken();
    test_refused();
    test_listen();
    test_help();
    test_model_path();
    return check_done("verb_args");
}
