/* init_sntp.c - fuzz target: answers of time servers (init/sntp.c), as anybody in the network may
 * send them.
 *
 * Input: byte 0 says what is known of the clock; then up to 8 answers of 48 bytes each, the last
 * one perhaps cut. What is refused leaves the sample alone; a clock that was agreed on is never
 * stepped back, and no clock is set to before the floor. Kept inputs: init_sntp/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FLOOR 1790000000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ntp_sample samples[NTP_MOST];
    int n = 0;

    if (size < 1)
        return 0;
    struct ntp_clock c = {
        .floor_s = FLOOR, .absurd = data[0] & 1, .good = data[0] & 2, .one_is_enough = data[0] & 4};
    int64_t now_ms = (FLOOR + (data[0] >> 3) * 10000000ll) * 1000;
    for (size_t at = 1; at < size && n < NTP_MOST; at += SNTP_BYTES) {
        size_t len = size - at < SNTP_BYTES ? size - at : SNTP_BYTES;
        uint8_t *exact = malloc(len);
        struct ntp_sample s = {77, 77};
        if (!exact)
            abort();
        memcpy(exact, data + at, len);
        if (len == SNTP_BYTES) // most would be refused for this alone
            be_put(exact + 24, 8, 7);
        enum status status = sntp_read(&s, exact, len, 7, now_ms, now_ms + 50, FLOOR);
        if (status != OK && (s.offset_ms != 77 || s.delay_ms != 77))
            abort();
        if (status == OK && s.delay_ms < 0)
            abort();
        if (status == OK)
            samples[n++] = s;
        free(exact);
    }
    struct ntp_verdict v = sntp_judge(&c, samples, n, now_ms);
    bool sets = v.act == NTP_STEP || v.act == NTP_SLEW;
    if (v.trusted && (!sets || (v.n_agree < 2 && !c.one_is_enough)))
        abort();
    if (v.act == NTP_STEP && (c.good ? v.offset_ms < 0 : v.offset_ms < 0 && v.offset_ms > -60000))
        abort();
    if (sets && now_ms + v.offset_ms < FLOOR * 1000)
        abort();
    return 0;
}
