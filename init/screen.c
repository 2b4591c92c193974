/* screen.c - what the monitor shows once the box is up: one page of 80x25, drawn in place. Pure but
 * for screen_tick and the keys.
 *
 * Until the engine answers, and from the moment the machine is switched off, it shows the log as it
 * runs, as the serial line always does. Between, it shows where the box is reached and how
 * it is; the keys 1 to 4 show more, 0 the first page again. All of it is taken from the lines that
 * are said anyway: there is no second word on anything, but for what the engine tells for it alone:
 * the QR code of the start page, which it makes (its library is none of PID 1's), and its speed.
 * Nothing can be typed but these keys: no shell stands behind them.
 */
#include "screen.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define COLUMNS 80
#define ROWS 25
#define DRAW_MS 500
#define ANEW_MS 10000 // the kernel writes over it

static struct screen screen;

/* ---- what is said ---- */

/* The text behind `word`, where the line has it; NULL: it has not. */
static const char *behind(const char *line, const char *word)
{
    const char *at = strstr(line, word);

    return at ? at + strlen(word) : NULL;
}

static void keep(char *to, size_t cap, const char *text)
{
    if (text)
        snprintf(to, cap, "%s", text);
}

static void take_engine(struct screen *s, const char *line)
{
    const char *url = behind(line, "url https://");

    if (strncmp(line, "tawny ", 6) == 0) {
        s->n_urls = s->n_qr = 0; // a new start tells all of them again
        s->speed[0] = 0;
        keep(s->version, sizeof(s->version), line + 6);
    } else if (url && line == url - 12) {
        if (s->n_urls < SCREEN_URLS)
            keep(s->url[s->n_urls++], SCREEN_TEXT, url - 8);
    } else if (strncmp(line, "no url yet", 10) == 0) {
        s->n_urls = 0;
    }
    if (strncmp(line, "CA fingerprint SHA-256 ", 23) == 0)
        keep(s->fingerprint, sizeof(s->fingerprint), line + 23);
    if (strncmp(line, "API key ", 8) == 0)
        keep(s->key, sizeof(s->key), line + 8);
    keep(s->device, SCREEN_TEXT, behind(line, " info  device: "));
    keep(s->context, SCREEN_TEXT, behind(line, " info  context: "));
    const char *model = behind(line, " info  model: "), *loading = behind(line, " info  loading: "),
               *error = behind(line, " error ");
    if (loading)
        snprintf(s->state, SCREEN_TEXT, "loading: %s", loading);
    if (model) {
        keep(s->model, SCREEN_TEXT, model);
        snprintf(s->state, SCREEN_TEXT, "ready");
    }
    if (error && strncmp(error, "no model is loaded", 18) == 0)
        keep(s->state, SCREEN_TEXT, error);
    if (error)
        keep(s->doctor[s->n_doctor++ % SCREEN_LINES], SCREEN_TEXT, error);
}

void screen_take(struct screen *s, const char *step, const char *text, size_t len, bool trouble)
{
    char line[SCREEN_TEXT];
    size_t n = len < sizeof(line) ? len : sizeof(line) - 1;

    for (size_t i = 0; i < n; i++)
        line[i] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : text[i] == '\t' ? ' ' : '?');
    line[n] = 0;
    snprintf(s->log[s->n_log++ % SCREEN_LINES], SCREEN_TEXT, "%.20s: %.*s", step, SCREEN_TEXT - 24,
             line);
    if (strcmp(step, "engine") == 0)
        take_engine(s, line);
    if (strcmp(step, "net") == 0 || strcmp(step, "ports") == 0 || strcmp(step, "hostname") == 0)
        keep(s->net[s->n_net++ % SCREEN_LINES], SCREEN_TEXT, line);
    if (trouble)
        snprintf(s->trouble, SCREEN_TEXT, "%.20s: %.*s", step, SCREEN_TEXT - 24, line);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void screen_qr(struct screen *s, const char *text, size_t len)
{
    uint8_t bits[sizeof(s->qr)] = {0};
    int n = len >= 2 && text[0] >= '0' && text[0] <= '9' && text[1] >= '0' && text[1] <= '9'
                ? (text[0] - '0') * 10 + text[1] - '0'
                : 0;
    size_t n_bytes = (size_t)(n * n + 7) / 8;

    if (len == 1 && text[0] == '0')
        s->n_qr = 0;
    if ((n != 21 && n != 25 && n != SCREEN_QR) || len != 3 + 2 * n_bytes || text[2] != ' ')
        return;
    for (size_t i = 0; i < 2 * n_bytes; i++) {
        int digit = hex_digit(text[3 + i]);
        if (digit < 0)
            return;
        bits[i / 2] = (uint8_t)(bits[i / 2] << 4 | digit);
    }
    memcpy(s->qr, bits, sizeof(bits));
    s->n_qr = n;
}

void screen_speed(struct screen *s, const char *text, size_t len)
{
    if (len == 0 || len >= sizeof(s->speed))
        return;
    for (size_t i = 0; i < len; i++)
        if ((text[i] < '0' || text[i] > '9') && text[i] != '.')
            return;
    snprintf(s->speed, sizeof(s->speed), "%.*s", (int)len, text);
}

/* ---- drawing ---- */

#define QUIET 2 // light modules around the code

struct page {
    char *out;
    size_t n, cap;
    int row, most;           // rows so far; of them at most
    const struct screen *qr; // whose code stands at the right; NULL: none
};

/* Of the code and its margin: columns, and the half as many rows. */
static int qr_side(const struct page *p)
{
    return p->qr && p->qr->n_qr ? p->qr->n_qr + 2 * QUIET : 0;
}

static bool qr_dark(const struct screen *s, int y, int x)
{
    int n = s->n_qr, at = (y - QUIET) * n + x - QUIET;

    return y >= QUIET && x >= QUIET && y < n + QUIET && x < n + QUIET &&
           s->qr[at / 8] >> (7 - at % 8) & 1;
}

/* Two modules a character, one above the other: light ones are drawn. Returns the bytes. */
static int qr_row(const struct page *p, char *out, size_t cap)
{
    static const char *const blocks[] = {"\u2588", "\u2580", "\u2584", " "};
    int side = qr_side(p), n = 0;

    for (int x = 0; x < side && (size_t)n + 4 < cap; x++) {
        bool under = 2 * p->row + 1 >= side || qr_dark(p->qr, 2 * p->row + 1, x);
        n += snprintf(out + n, cap - (size_t)n, "%s",
                      blocks[2 * qr_dark(p->qr, 2 * p->row, x) + under]);
    }
    return n;
}

static int width(const struct page *p)
{
    return COLUMNS - 1 - (2 * p->row < qr_side(p) ? qr_side(p) + 1 : 0);
}

/* One row, cut at the right edge or at the code, the rest of it cleared. */
static void row(struct page *p, const char *text)
{
    char code[3 * (SCREEN_QR + 2 * QUIET) + 8] = "";
    int wide = width(p);

    if (p->row >= p->most)
        return;
    if (wide < COLUMNS - 1)
        (void)qr_row(p, code, sizeof(code));
    int n = snprintf(p->out + p->n, p->cap - p->n, "%-*.*s%s\033[K%s", code[0] ? wide + 1 : 0, wide,
                     text, code, p->row + 1 < ROWS ? "\r\n" : "");
    p->row++;
    if (n > 0 && (size_t)n < p->cap - p->n)
        p->n += (size_t)n;
}

/* A long text over at most `most` rows, behind a name of 13 columns. */
static void field(struct page *p, const char *name, const char *text, int most)
{
    char line[COLUMNS + 8];

    for (int i = 0; i == 0 || (*text && i < most); i++) {
        int n = (int)strlen(text), cut = n, wide = width(p) - 15;
        if (n > wide) {
            for (cut = wide; cut > wide / 2 && text[cut] != ' ' && text[cut - 1] != ':'; cut--)
                ;
            cut = cut > wide / 2 ? cut : wide;
        }
        snprintf(line, sizeof(line), "  %-12s %.*s", i == 0 ? name : "", cut, text);
        row(p, line);
        text += cut;
        while (*text == ' ')
            text++;
    }
}

static void lines(struct page *p, const char *head, char ring[][SCREEN_TEXT], unsigned n,
                  const char *none)
{
    char line[COLUMNS + 8];
    unsigned room = ROWS - 4, had = n < SCREEN_LINES ? n : SCREEN_LINES;

    row(p, head);
    row(p, "");
    if (n == 0)
        row(p, none);
    for (unsigned i = n - (had < room ? had : room); i < n; i++) {
        snprintf(line, sizeof(line), " %.78s", ring[i % SCREEN_LINES]);
        row(p, line);
    }
}

static void first_page(struct page *p, const struct screen *s)
{
    char line[SCREEN_TEXT + 60];

    p->qr = s;
    row(p, "    ,___,");
    snprintf(line, sizeof(line), "    (o,o)    Tawny %.*s", (int)strcspn(s->version, ","),
             s->version);
    row(p, line);
    row(p, "    /)_)     an inference server over HTTPS");
    row(p, "     \" \"");
    for (int i = 0; i < s->n_urls; i++)
        field(p, i ? "" : "Address", s->url[i], 2);
    if (!s->n_urls)
        field(p, "Address", "none that another machine can reach: key 1 says more", 2);
    field(p, "Fingerprint", s->fingerprint, 3);
    field(p, "API key", s->key[0] ? s->key : "in tawny/api-key on the data partition", 2);
    row(p, "");
    field(p, "Device", s->device[0] ? s->device : "not known yet", 2);
    field(p, "Model", s->model[0] ? s->model : "none yet", 2);
    field(p, "Context", s->context, 2);
    snprintf(line, sizeof(line), "%s%s%s%s", s->state[0] ? s->state : "starting",
             s->speed[0] ? "; last at " : "", s->speed, s->speed[0] ? " tokens a second" : "");
    field(p, "State", line, 4);
    row(p, "");
    field(p, "Last trouble", s->trouble[0] ? s->trouble : "none", 3);
}

static void certificates(struct page *p, const struct screen *s)
{
    row(p, " Certificates");
    row(p, "");
    field(p, "Fingerprint", s->fingerprint, 2);
    row(p, "");
    row(p, " This box has an authority of its own (CA). A client needs its certificate once:");
    row(p, "");
    row(p, "     http://ADDRESS/ca.crt        for programs, and to be shown by");
    row(p, "     openssl x509 -in ca.crt -noout -fingerprint -sha256");
    row(p, "");
    row(p, " What that prints must be the fingerprint above. For a browser open");
    row(p, " http://ADDRESS/ and follow it: the page says for each system how to trust it.");
}

size_t screen_draw(const struct screen *s, char *out, size_t cap)
{
    struct screen *all = (struct screen *)(uintptr_t)s; // the rings are only read
    struct page p = {.out = out, .cap = cap, .most = ROWS - 1};

    p.n = (size_t)snprintf(out, cap, "\033[H");
    switch (s->view) {
    case '1':
        lines(&p, " Network", all->net, s->n_net, " Nothing was said about it.");
        break;
    case '2':
        lines(&p, " Log: the last lines", all->log, s->n_log, " Nothing yet.");
        break;
    case '3':
        lines(&p, " Doctor: what refuses the GPU or the model, and what to do", all->doctor,
              s->n_doctor, " Nothing does. Every layer: GET /v1/doctor, with the API key.");
        break;
    case '4':
        certificates(&p, s);
        break;
    default:
        first_page(&p, s);
    }
    while (p.row < ROWS - 1)
        row(&p, "");
    p.most = ROWS;
    row(&p, " 0 this box   1 network   2 log   3 doctor   4 certificates");
    return p.n;
}

bool screen_key(struct screen *s, char key)
{
    if (key < '0' || key > '4' || key == s->view)
        return false;
    s->view = key;
    return true;
}

/* ---- the monitor ---- */

static int keys_fd = -1;

static void key_arrived(int fd, void *ctx)
{
    char key[64];
    ssize_t n = read(fd, key, sizeof(key));

    (void)ctx;
    for (ssize_t i = 0; i < n; i++)
        (void)screen_key(&screen, key[i]);
    if (n == 0)
        loop_remove(fd);
}

static void open_keys(void)
{
    struct termios how;

    keys_fd = open("/dev/tty0", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (keys_fd < 0)
        return;
    if (tcgetattr(keys_fd, &how) == 0) { // no line editing, no echo, no Ctrl-C
        how.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
        tcsetattr(keys_fd, TCSANOW, &how);
    }
    loop_add(keys_fd, key_arrived, NULL);
}

void screen_heard(bool qr, const char *text, size_t len)
{
    if (qr)
        screen_qr(&screen, text, len);
    else
        screen_speed(&screen, text, len);
}

void screen_said(const char *step, const char *text, size_t len, bool trouble)
{
    screen_take(&screen, step, text, len, trouble);
}

int64_t screen_tick(int64_t now)
{
    static char page[8192], shown[8192];
    static bool on, tried;
    static int64_t next_ms, drawn_ms;
    bool wanted = !power_asked() && (on || engine_answers());

    if (wanted != on && (wanted || !tried)) {
        on = wanted && log_screen(true);
        tried = !on;
        if (on)
            open_keys();
    }
    if (on && !wanted) {
        log_screen(false);
        on = false;
        tried = true;
    }
    if (!on || now < next_ms)
        return on ? next_ms : tried ? INT64_MAX : now + DRAW_MS;
    next_ms = now + DRAW_MS;
    size_t n = screen_draw(&screen, page, sizeof(page));
    if (strcmp(page, shown) != 0 || now - drawn_ms >= ANEW_MS) {
        memcpy(shown, page, n + 1);
        drawn_ms = now;
        log_screen_write(page, n);
    }
    return next_ms;
}
