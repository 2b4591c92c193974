/* screen.h - the page on the monitor (screen.c): what it keeps of the lines that are said, how it
 * is drawn, which keys it knows.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include "init.h"

#define SCREEN_TEXT 400
#define SCREEN_LINES 24
#define SCREEN_URLS 3
#define SCREEN_QR 29 // modules: version 3, 53 bytes

struct screen { // what was said last of each
    char url[SCREEN_URLS][SCREEN_TEXT], version[80], fingerprint[100], key[80];
    char device[SCREEN_TEXT], model[SCREEN_TEXT], context[SCREEN_TEXT], state[SCREEN_TEXT],
        trouble[SCREEN_TEXT];
    char log[SCREEN_LINES][SCREEN_TEXT], net[SCREEN_LINES][SCREEN_TEXT],
        doctor[SCREEN_LINES][SCREEN_TEXT]; // rings
    unsigned n_log, n_net, n_doctor;
    int n_urls;
    char speed[40]; // tokens a second, as the engine said it last
    int n_qr;       // modules of a side of the start page's QR code; 0: there is none
    uint8_t qr[SCREEN_QR * SCREEN_QR / 8 + 1]; // row by row, the highest bit first; 1: dark
    char view;                                 // the key pressed last, or 0
};

void screen_take(struct screen *s, const char *step, const char *text, size_t len, bool trouble);
/* Of the heartbeat: "N HEX", the QR code, or "0", none; a number. Anything else changes nothing. */
void screen_qr(struct screen *s, const char *text, size_t len);
void screen_speed(struct screen *s, const char *text, size_t len);
/* The page as a terminal wants it, drawn over the one before; returns its length, less than cap
 * (8192 is enough). */
size_t screen_draw(const struct screen *s, char *out, size_t cap);
bool screen_key(struct screen *s, char key);              // true: another page
void screen_heard(bool qr, const char *text, size_t len); // one of the two, for the monitor
void screen_said(const char *step, const char *text, size_t len, bool trouble);
int64_t screen_tick(int64_t now);

#endif
