// qr.c - the squares of a QR code, for the page (handover.c) and the console (verb/heartbeat.c).
#include "api.h"

#include <qrencode.h>

uint8_t *qr_squares(const char *text, bool sturdy, int *side)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, sturdy ? QR_ECLEVEL_M : QR_ECLEVEL_L);
    if (!code)
        return NULL;
    const size_t n = (size_t)code->width * (size_t)code->width;
    uint8_t *squares = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        squares[i] = code->data[i] & 1; // the other bits say what a square is for
    *side = code->width;
    QRcode_free(code);
    return squares;
}
