// chat.c - `tawny chat`: talk to a model in this terminal, without a server.
//
// The conversation so far goes into every job, and sched/ finds the part it has computed already,
// so only the new words are read. In a terminal what is written is edited (lines.h), answers are
// shown as Markdown, and lines that begin with a slash are commands; Ctrl-C stops an answer or
// clears the line, Ctrl-D ends, and what is typed meanwhile is the next line. On one where nothing
// can be edited (TERM=dumb) Ctrl-C at the prompt ends too. Without a terminal on stdin every line
// is a message, nothing but the answers is printed, as they are, and the exit code is 1 if one
// failed.
#include "args.h"
#include "lines.h"
#include "sched/sched.h"
#include "terminal_text.h"
#include "verb.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_CAP = 1 << 20, ANSWER_CAP = 4 << 20 };

struct turn {
    const char *role; // "system", "user", "assistant"
    struct buf text;
};

struct chat {
    struct settings settings;
    struct sched *sched;
    struct sampling sampling;
    bool seed_given, terminal, edited, no_history;
    int32_t max_tokens;
    const char *system;
    struct turn *turns;
    size_t n_turns, n_allocated;
    uint64_t last_id;
    struct usage usage; // of the last answer
    struct terminal_text shown;
    struct buf own_system; // of /system; n 0: the command line's counts
    struct buf line;       // that was written last, where it is edited
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

// ---- the conversation -----------------------------------------------------------------------

static enum status turn_add(struct chat *chat, const char *role, struct bytes text)
{
    if (chat->n_turns == chat->n_allocated) {
        chat->n_allocated = chat->n_allocated ? 2 * chat->n_allocated : 16;
        chat->turns = mem_resize(chat->turns, chat->n_allocated * sizeof(*chat->turns));
    }
    struct turn *turn = &chat->turns[chat->n_turns];
    turn->role = role;
    buf_init(&turn->text, ANSWER_CAP);
    enum status status = utf8_clean(&turn->text, text);
    if (status == OK)
        chat->n_turns++;
    else
        buf_free(&turn->text);
    return status;
}

static void turns_drop(struct chat *chat, size_t n_left)
{
    while (chat->n_turns > n_left)
        buf_free(&chat->turns[--chat->n_turns].text);
}

static void conversation_new(struct chat *chat)
{
    const struct bytes system = chat->own_system.n ? buf_view(&chat->own_system)
                                : chat->system     ? bytes_of(chat->system)
                                                   : (struct bytes){NULL, 0};
    turns_drop(chat, 0);
    if (system.n > 0 && turn_add(chat, "system", system) != OK)
        log_warn("the system message is too long and was left away");
}

// NULL: the arena is full.
static const struct value *messages_of(const struct chat *chat, struct arena *arena)
{
    struct value *list = arena_take(arena, sizeof(*list)),
                 *items = arena_take(arena, (chat->n_turns + 1) * sizeof(*items));
    for (size_t i = 0; i < chat->n_turns && list && items; i++) {
        struct member *members = arena_take(arena, 2 * sizeof(*members));
        struct bytes text = bytes_copy(arena, buf_view(&chat->turns[i].text));
        if (!members || !text.p)
            return NULL;
        members[0] = (struct member){bytes_of("role"),
                                     {.kind = VALUE_TEXT, .text = bytes_of(chat->turns[i].role)}};
        members[1] = (struct member){bytes_of("content"), {.kind = VALUE_TEXT, .text = text}};
        items[i] = (struct value){.kind = VALUE_DICT, .dict = {members, 2}};
    }
    if (!list || !items)
        return NULL;
    *list = (struct value){.kind = VALUE_LIST, .list = {items, chat->n_turns}};
    return list;
}

static struct job *job_of(struct chat *chat)
{
    struct job *job = job_open();
    const struct value *messages = messages_of(chat, &job->arena);
    if (!messages) {
        job_close(job);
        return NULL;
    }
    job->id = ++chat->last_id;
    job->ask.chat = true;
    job->ask.conversation.messages = messages;
    job->ask.sampling = chat->sampling;
    if (!chat->seed_given)
        random_bytes(&job->ask.sampling.seed, sizeof(job->ask.sampling.seed));
    job->ask.max_tokens = chat->max_tokens;
    return job;
}

// Markdown, of which every control character is gone.
static void print_shown(struct chat *chat, struct bytes text)
{
    struct buf tame, shown;
    buf_init(&tame, 3 * text.n);
    buf_init(&shown, 48 * text.n + 64);
    if (utf8_tame(&tame, text) == OK &&
        terminal_text_add(&chat->shown, &shown, buf_view(&tame)) == OK)
        fwrite(shown.p, 1, shown.n, stdout);
    buf_free(&tame);
    buf_free(&shown);
}

static void print_shown_end(struct chat *chat)
{
    struct buf shown;
    buf_init(&shown, 256);
    if (terminal_text_end(&chat->shown, &shown) == OK)
        fwrite(shown.p, 1, shown.n, stdout);
    buf_free(&shown);
}

// What a model (its file, its answers) says: a terminal is not to obey it.
static void print_text(struct bytes text)
{
    struct buf tame;
    if (!isatty(STDOUT_FILENO)) {
        fwrite(text.p, 1, text.n, stdout);
        return;
    }
    buf_init(&tame, 3 * text.n);
    if (utf8_tame(&tame, text) == OK)
        fwrite(tame.p, 1, tame.n, stdout);
    buf_free(&tame);
}

// Thoughts are dim; without a terminal only answers are printed.
static void print_piece(struct chat *chat, const struct event *event)
{
    const struct bytes text = {event->text, event->n_text};
    const bool is_content = event->channel == ANSWER_CONTENT;
    if (!is_content && !chat->terminal)
        return;
    if (!is_content)
        printf("\x1b[2m");
    if (is_content && chat->terminal)
        print_shown(chat, text);
    else
        print_text(text);
    if (!is_content)
        printf("\x1b[0m");
    fflush(stdout);
}

// ---- events ---------------------------------------------------------------------------------

// The next event; Ctrl-C meanwhile cancels the job (0: there is none).
static struct event *next_event(struct chat *chat, uint64_t job_id)
{
    struct event *event;
    while ((event = sched_take_event(chat->sched)) == NULL) {
        struct pollfd poll_fd = {.fd = sched_event_fd(chat->sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 1000);
        if (!interrupted)
            continue;
        if (!job_id)
            return NULL;
        interrupted = 0;
        sched_cancel(chat->sched, job_id);
    }
    return event;
}

static enum status wait_until_loaded(struct chat *chat, struct err *err)
{
    for (;;) {
        struct event *event = next_event(chat, 0);
        if (!event)
            return err_set(err, CANCELLED, "interrupted while loading");
        event_close(event);
        const struct sched_status *now = sched_status(chat->sched);
        if (now->state == SCHED_FAILED) {
            *err = now->err;
            return now->err.status;
        }
        if (now->state == SCHED_READY)
            return OK;
    }
}

// Asks with the conversation as it is and prints the answer as it comes; adds it to the
// conversation.
static enum status ask(struct chat *chat, struct err *err)
{
    struct job *job = job_of(chat);
    struct buf answer;
    enum status status = AGAIN;
    if (!job)
        return err_set(err, TOO_LARGE, "the conversation is too long");
    buf_init(&answer, ANSWER_CAP);
    uint64_t id = job->id;
    if (sched_submit(chat->sched, job) != OK)
        die("a job was refused although none is running");
    while (status == AGAIN) {
        struct event *event = next_event(chat, id);
        if (event->job_id == id && event->kind == EVENT_TEXT) {
            print_piece(chat, event);
            if (event->channel == ANSWER_CONTENT &&
                buf_add(&answer, event->text, event->n_text) != OK)
                sched_cancel(chat->sched, id);
        } else if (event->job_id == id && event->kind == EVENT_DONE) {
            chat->usage = event->usage;
            status = OK;
        } else if (event->job_id == id && event->kind == EVENT_FAILED) {
            *err = event->err;
            status = event->err.status;
        }
        event_close(event);
    }
    if (chat->terminal)
        print_shown_end(chat);
    if (status == OK)
        status = turn_add(chat, "assistant", buf_view(&answer));
    printf("\n");
    buf_free(&answer);
    return status;
}

// ---- the loop -------------------------------------------------------------------------------

static void print_speed(const struct chat *chat)
{
    const struct usage *usage = &chat->usage;
    double read_s = (double)usage->prompt_us / 1e6, made_s = (double)usage->generate_us / 1e6;
    int n_read = (int)(usage->n_prompt - usage->n_prompt_cached);
    printf("\x1b[2m%d tokens read at %.1f/s, %d made at %.1f/s, %d of %d in the context\x1b[0m\n\n",
           n_read, read_s > 0 ? n_read / read_s : 0, (int)usage->n_generated,
           made_s > 0 && usage->n_generated > 1 ? (usage->n_generated - 1) / made_s : 0,
           (int)(usage->n_prompt + usage->n_generated),
           (int)sched_status(chat->sched)->model.n_ctx);
}

// False: the end of the input. *text is the chat's until the next line.
static bool read_line(struct chat *chat, char **line, size_t *size, struct bytes *text)
{
    if (chat->edited) {
        const enum status status = lines_read(&chat->line);
        interrupted = 0;
        if (status == TOO_LARGE)
            fprintf(stderr, "tawny chat: the message is too long\n");
        *text = buf_view(&chat->line); // nothing, where it was too long
        return status != CLOSED;
    }
    if (chat->terminal) {
        printf("\x1b[1m> \x1b[0m");
        fflush(stdout);
    }
    interrupted = 0;
    errno = 0;
    ssize_t n = getline(line, size, stdin);
    if (n < 0 || interrupted)
        return false;
    while (n > 0 && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r'))
        n--;
    *text = (struct bytes){(const uint8_t *)*line, (size_t)n};
    return true;
}

// Asks with what was said last; what cannot be answered is taken back.
static bool answer(struct chat *chat, size_t n_before, enum status status)
{
    struct err err = {0};
    if (status == OK)
        status = ask(chat, &err);
    else
        err_set(&err, status, "the message is too long");
    if (status != OK) {
        turns_drop(chat, n_before);
        fprintf(stderr, "tawny chat: %s\n", err.text);
    } else if (chat->terminal) {
        print_speed(chat);
    }
    return status == OK;
}

// ---- commands -------------------------------------------------------------------------------

static void command_new(struct chat *chat, struct bytes rest)
{
    (void)rest;
    conversation_new(chat);
    printf("a new conversation\n\n");
}

static void command_system(struct chat *chat, struct bytes rest)
{
    buf_free(&chat->own_system);
    buf_init(&chat->own_system, LINE_CAP);
    if (buf_add(&chat->own_system, rest.p, rest.n) != OK)
        fprintf(stderr, "tawny chat: the system message is too long\n");
    command_new(chat, rest);
}

// The last message and its answer; false: there is none.
static bool take_back(struct chat *chat, size_t n_of_last)
{
    const size_t first = chat->n_turns > 0 && strcmp(chat->turns[0].role, "system") == 0;
    const bool some = chat->n_turns >= first + 2;
    if (some)
        turns_drop(chat, chat->n_turns - n_of_last);
    else
        printf("nothing was said yet\n\n");
    return some;
}

static void command_undo(struct chat *chat, struct bytes rest)
{
    (void)rest;
    if (take_back(chat, 2))
        printf("the last message is taken back\n\n");
}

static void command_retry(struct chat *chat, struct bytes rest)
{
    (void)rest;
    if (take_back(chat, 1))
        (void)answer(chat, chat->n_turns - 1, OK);
}

static void command_help(struct chat *chat, struct bytes rest);

static const struct chat_command {
    const char *name, *what;
    void (*act)(struct chat *chat, struct bytes rest);
} commands[] = {
    {"/new", "a new conversation", command_new},
    {"/retry", "another answer to the last message", command_retry},
    {"/undo", "takes the last message and its answer back", command_undo},
    {"/system", "TEXT is told to the model first, from a new conversation on", command_system},
    {"/help", "this list", command_help},
    {"/exit", "ends, as Ctrl-D does", NULL},
};

static const char *const keys_help =
    "  Ctrl-C stops an answer, or clears what is written. Alt-Enter or Ctrl-J begins another line\n"
    "  of a message, as a \\ at the end does; what is pasted keeps its lines. Up and Ctrl-R find\n"
    "  what was written before, Tab completes a command, Ctrl-Z takes a change back, F1 has "
    "more.\n";

static void command_help(struct chat *chat, struct bytes rest)
{
    (void)rest;
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].what);
    printf("\n%s%s", chat->edited ? keys_help : "", chat->edited ? "\n" : "");
}

// The command that a line is; NULL: it is a message, also where it begins with another slash.
static const struct chat_command *command_of(struct bytes text, struct bytes *rest)
{
    size_t n = 0;
    while (n < text.n && text.p[n] != ' ')
        n++;
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (bytes_equal_text((struct bytes){text.p, n}, commands[i].name)) {
            while (n < text.n && text.p[n] == ' ')
                n++;
            *rest = (struct bytes){text.p + n, text.n - n};
            return &commands[i];
        }
    return NULL;
}

static int talk(struct chat *chat)
{
    char *line = NULL;
    size_t size = 0;
    struct bytes text;
    int code = 0;
    conversation_new(chat);
    while (read_line(chat, &line, &size, &text)) {
        struct bytes rest;
        if (text.n == 0)
            continue;
        const struct chat_command *command = chat->terminal ? command_of(text, &rest) : NULL;
        if (command && !command->act)
            break;
        if (command) {
            command->act(chat, rest);
            continue;
        }
        const size_t n_before = chat->n_turns;
        if (!answer(chat, n_before, turn_add(chat, "user", text)))
            code = 1;
    }
    free(line);
    turns_drop(chat, 0);
    free(chat->turns);
    buf_free(&chat->own_system);
    return chat->terminal ? 0 : code;
}

static enum status read_command_line(struct chat *chat, int argc, char **argv, struct err *err)
{
    const char *temperature = "0.8", *top_p = "0.95", *top_k = "40", *min_p = "0.05", *seed = NULL,
               *most = NULL;
    int64_t k = 0, n_most = 0;
    const struct arg args[] = {
        {"system", 's', &chat->system, NULL, "TEXT", "the system message"},
        {"temperature", 0, &temperature, NULL, "T", "0: always the likeliest token"},
        {"top-p", 0, &top_p, NULL, "P", "of the likeliest tokens, those whose sum reaches P"},
        {"top-k", 0, &top_k, NULL, "K", "of the K likeliest tokens; 0: of all"},
        {"min-p", 0, &min_p, NULL, "P", "of tokens at least P times as likely as the likeliest"},
        {"seed", 0, &seed, NULL, "N", "the same seed gives the same answer"},
        {"max-tokens", 'n', &most, NULL, "N", "of one answer; without it, what the context holds"},
        {"no-history", 0, NULL, &chat->no_history, NULL,
         "keep nothing of what is written, as TAWNY_HISTORY=no; else it is in STATE/chat-history"},
    };
    const struct command command = {
        "talk to a model in this terminal; without one every line of stdin is a message. Ctrl-C "
        "stops an answer or clears the line, /help lists commands and keys, /exit or Ctrl-D ends.",
        args, COUNT_OF(args), &chat->settings};
    sampling_default(&chat->sampling);
    enum status status = args_read(&command, argc, argv, err);
    if (status == OK)
        status = args_float("temperature", temperature, 0, 2, &chat->sampling.temperature, err);
    if (status == OK)
        status = args_float("top-p", top_p, 0, 1, &chat->sampling.top_p, err);
    if (status == OK)
        status = args_float("min-p", min_p, 0, 1, &chat->sampling.min_p, err);
    if (status == OK)
        status = args_int("top-k", top_k, 0, 1000000, &k, err);
    if (status == OK)
        status = args_seed("seed", seed, &chat->sampling.seed, err);
    if (status == OK)
        status = args_int("max-tokens", most, 1, 1 << 20, &n_most, err);
    chat->sampling.top_k = (int32_t)k;
    chat->seed_given = seed;
    chat->max_tokens = (int32_t)n_most;
    chat->settings.n_parallel = 1;
    return status;
}

// Where what is written is kept, in a folder of the person's own; "": nowhere.
static void history_path(const struct chat *chat, char *out, size_t size)
{
    struct err err = {0};
    struct settings where = chat->settings; // the engine's own keep no state where none was named
    const char *said = getenv("TAWNY_HISTORY");
    out[0] = 0;
    if (chat->no_history || (said && strcmp(said, "no") == 0))
        return;
    if (args_state_make(&where, &err) == OK)
        snprintf(out, size, "%s/chat-history", where.state);
    else
        log_warn("what you write is not kept for the next time: %s", err.text);
}

static void lines_begin(struct chat *chat)
{
    static struct lines_word words[COUNT_OF(commands) + 1];
    char path[sizeof(chat->settings.state) + 16];
    chat->edited = chat->terminal && lines_can();
    if (!chat->edited)
        return;
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        words[i] = (struct lines_word){commands[i].name, commands[i].what};
    buf_init(&chat->line, LINE_CAP);
    history_path(chat, path, sizeof(path));
    lines_open(path, words);
}

int verb_chat(int argc, char **argv)
{
    struct chat chat = {.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    struct err err = {0};
    char path[2200] = "";
    enum status status = read_command_line(&chat, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status != OK)
        return args_fail("chat", &err, 2);
    status = args_model_path(&chat.settings, path, sizeof(path), &err);
    if (status != OK)
        return args_fail("chat", &err, 1);
    struct sigaction action = {.sa_handler = on_interrupt}; // no SA_RESTART: it must end a wait
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    log_level_set(chat.settings.log == LOG_INFO ? LOG_WARN : chat.settings.log);
    lines_begin(&chat); // what is typed while the model is loaded waits as well
    sched_open(&chat.sched, &chat.settings, path, NULL);
    status = wait_until_loaded(&chat, &err);
    int code = 1;
    if (status == OK) {
        const struct sched_status *now = sched_status(chat.sched);
        if (chat.terminal) {
            print_text(bytes_of(now->model.name));
            printf(" on %s\nCtrl-C stops an answer, /help lists commands and keys, /exit or Ctrl-D "
                   "ends\n\n",
                   now->device.device);
        }
        code = talk(&chat);
    } else {
        args_fail("chat", &err, 1);
    }
    if (chat.edited)
        lines_close();
    buf_free(&chat.line);
    sched_close(chat.sched);
    return code;
}
