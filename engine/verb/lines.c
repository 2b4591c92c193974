// lines.c - isocline is spelled here alone. It puts the terminal into raw mode while a line is
// written. Between two lines what is typed waits for the next one, as it was typed: the terminal
// neither shows it, among what is printed then, nor makes an Enter a Ctrl-J, which would be another
// line of one message; but Ctrl-C is a signal. However the program ends, the terminal is to be as
// it was: that is what the handlers here are for.
//
// The history is kept in a file of our own rather than by the library, which would write it in
// place and for everybody to read until it has set the mode. It is read again before each writing,
// so that two chats at once do not lose what the other wrote.
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <isocline.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

static struct {
    char history[600]; // "": none
    const struct lines_word *words;
    bool failed;              // the history: that is said once, and tried again
    struct termios before;    // lines_open
    struct sigaction ends[4]; // what was to happen at a signal of end_signals
} lines;

static const int end_signals[COUNT_OF(lines.ends)] = {SIGTERM, SIGHUP, SIGQUIT, SIGABRT};

#define PASTE_ON "\x1b[?2004h"
#define PASTE_OFF "\x1b[?2004l"

// ---- the history's file ---------------------------------------------------------------------

static bool kept_at_all(struct bytes entry)
{
    bool says = false;
    for (size_t i = 0; i < entry.n; i++) {
        says |= entry.p[i] > ' ';
        const bool is_c1 =
            i > 0 && entry.p[i - 1] == 0xc2 && entry.p[i] >= 0x80 && entry.p[i] < 0xa0;
        if (is_c1 || (entry.p[i] < ' ' && entry.p[i] != '\n'))
            return false;
    }
    return says && entry.p[0] != ' ' && entry.n <= LINES_ENTRY_BYTES;
}

// What the file's oldest entries take, until what is left has room for n more bytes and an entry.
static size_t n_to_drop(struct bytes file, size_t n)
{
    size_t n_entries = 0, at = 0;
    for (size_t i = 0; i < file.n; i++)
        n_entries += file.p[i] == '\n';
    while (at < file.n && (file.n - at + n > LINES_FILE_BYTES || n_entries >= LINES_KEPT)) {
        const uint8_t *end = memchr(file.p + at, '\n', file.n - at);
        at = end ? (size_t)(end - file.p) + 1 : file.n;
        n_entries -= n_entries > 0;
    }
    return at;
}

static bool ends_in_line(struct bytes file, struct bytes line)
{
    return file.n >= line.n && memcmp(file.p + file.n - line.n, line.p, line.n) == 0 &&
           (file.n == line.n || file.p[file.n - line.n - 1] == '\n');
}

enum status lines_history_add(struct buf *file, struct bytes entry)
{
    struct buf line;
    if (!kept_at_all(entry))
        return OK;
    buf_init(&line, 2 * LINES_ENTRY_BYTES + 2);
    enum status status = OK;
    if (file->n > 0 && file->p[file->n - 1] != '\n') // somebody's editor
        status = buf_add(&line, "\n", 1);
    for (size_t i = 0; i < entry.n && status == OK; i++) {
        const char *escaped = entry.p[i] == '\n' ? "\\n" : entry.p[i] == '\\' ? "\\\\" : NULL;
        status = escaped ? buf_add(&line, escaped, 2) : buf_add(&line, &entry.p[i], 1);
    }
    if (status == OK)
        status = buf_add(&line, "\n", 1);
    if (status == OK && !ends_in_line(buf_view(file), buf_view(&line))) {
        buf_drop_front(file, n_to_drop(buf_view(file), line.n));
        status = buf_add(file, line.p, line.n);
    }
    buf_free(&line);
    return status;
}

bool lines_history_next(struct bytes file, size_t *at, struct buf *out)
{
    buf_drop_front(out, out->n);
    if (*at >= file.n)
        return false;
    size_t i = *at;
    for (; i < file.n && file.p[i] != '\n'; i++) {
        uint8_t byte = file.p[i];
        if (byte == '\\' && i + 1 < file.n && (file.p[i + 1] == 'n' || file.p[i + 1] == '\\'))
            byte = file.p[++i] == 'n' ? '\n' : '\\';
        if (buf_add(out, &byte, 1) != OK)
            break;
    }
    while (i < file.n && file.p[i] != '\n') // of one that is too long, what fits
        i++;
    *at = i + 1;
    return true;
}

static void failed(const struct err *err)
{
    if (!lines.failed)
        log_warn("what you write is not kept for the next time: %s", err->text);
    lines.failed = true;
}

// False: it is not to be touched.
static bool history_read(struct buf *file)
{
    struct err err = {0};
    const enum status status = file_read(file, lines.history, LINES_FILE_BYTES, &err);
    if (status == NOT_FOUND)
        buf_init(file, LINES_FILE_BYTES);
    else if (status != OK)
        failed(&err);
    return status == OK || status == NOT_FOUND;
}

static void history_take(void)
{
    struct buf file, entry;
    size_t at = 0;
    if (!lines.history[0] || !history_read(&file))
        return;
    buf_init(&entry, LINES_ENTRY_BYTES);
    while (lines_history_next(buf_view(&file), &at, &entry))
        if (kept_at_all(buf_view(&entry)) && buf_add(&entry, "", 1) == OK)
            ic_history_add((const char *)entry.p);
    buf_free(&entry);
    buf_free(&file);
}

// So that of two chats neither writes over what the other has just written. < 0: said.
static int history_lock(void)
{
    struct err err = {0};
    char path[sizeof(lines.history) + 8];
    snprintf(path, sizeof(path), "%s.lock", lines.history);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        return fd;
    (void)err_set(&err, IO_ERROR, "%s cannot be locked: %s", path, strerror(errno));
    failed(&err);
    if (fd >= 0)
        close(fd);
    return -1;
}

static void history_keep(struct bytes entry)
{
    struct buf file;
    struct err err = {0};
    if (!lines.history[0] || !kept_at_all(entry))
        return;
    const int lock = history_lock();
    if (lock < 0 || !history_read(&file)) {
        if (lock >= 0)
            close(lock);
        return;
    }
    enum status status = lines_history_add(&file, entry);
    if (status == OK)
        status = file_write(lines.history, buf_view(&file), 0600, &err);
    else
        (void)err_set(&err, status, "%s is full", lines.history);
    if (status != OK)
        failed(&err);
    buf_free(&file);
    close(lock);
}

// ---- the line -------------------------------------------------------------------------------

static void complete(ic_completion_env_t *env, const char *begun)
{
    const size_t n = strlen(begun);
    for (const struct lines_word *word = lines.words; n > 0 && word->name; word++)
        if (strncmp(word->name, begun, n) == 0)
            (void)ic_add_completion_prim(env, word->name, NULL, word->what, (long)n, 0);
}

bool lines_can(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind && kind[0] &&
           strcmp(kind, "dumb") != 0 && strcmp(kind, "emacs") != 0 && strcmp(kind, "cons25") != 0;
}

static void terminal_give_back(void)
{
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &lines.before);
    const ssize_t n = write(STDOUT_FILENO, PASTE_OFF, strlen(PASTE_OFF));
    (void)n;
}

// Ends the program as the signal would have, with the terminal as it was.
static void on_end(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    terminal_give_back();
    const ssize_t n = write(STDOUT_FILENO, "\n", 1);
    (void)n;
    sigaction(number, &action, NULL);
    raise(number);
}

// isocline takes this for how the terminal is, and comes back to it behind each line.
static void terminal_take(void)
{
    struct sigaction action = {.sa_handler = on_end, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    (void)tcgetattr(STDIN_FILENO, &lines.before);
    for (size_t i = 0; i < COUNT_OF(end_signals); i++) {
        sigaction(end_signals[i], NULL, &lines.ends[i]);
        if (lines.ends[i].sa_handler != SIG_IGN) // nohup
            sigaction(end_signals[i], &action, NULL);
    }
    die_first(terminal_give_back);
    struct termios waits = lines.before;
    waits.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR);
    waits.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    waits.c_cc[VMIN] = 1;
    waits.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &waits);
}

void lines_open(const char *history, const struct lines_word *words)
{
    if (strlen(history) < sizeof(lines.history))
        memcpy(lines.history, history, strlen(history) + 1);
    lines.words = words;
    terminal_take();
    ic_set_history(NULL, LINES_KEPT);
    ic_set_default_completer(complete, NULL);
    ic_set_prompt_marker("> ", "  ");
    ic_style_def("ic-prompt", "b");
    (void)ic_enable_brace_matching(false);
    (void)ic_enable_brace_insertion(false);
    (void)ic_enable_highlight(false);
    (void)ic_enable_beep(false);
    history_take();
}

void lines_close(void)
{
    terminal_give_back();
    die_first(NULL);
    for (size_t i = 0; i < COUNT_OF(end_signals); i++)
        sigaction(end_signals[i], &lines.ends[i], NULL);
}

static void paste_is_told(bool on)
{
    printf("%s", on ? PASTE_ON : PASTE_OFF);
    fflush(stdout);
}

enum status lines_read(struct buf *out)
{
    buf_drop_front(out, out->n);
    paste_is_told(true);
    char *line = ic_readline("");
    paste_is_told(false);
    if (!line)
        return CLOSED;
    const struct bytes text = bytes_of(line);
    enum status status = buf_add(out, text.p, text.n) == OK ? OK : TOO_LARGE;
    if (status == OK)
        history_keep(text);
    ic_free(line);
    return status;
}
