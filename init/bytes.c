/* bytes.c - numbers in the byte order of disks (little endian) and of the network (big endian).
 *
 * n_bytes is 1 to 8. Never a cast: what comes from outside stands at any address.
 */
#include "init.h"

uint64_t le_get(const uint8_t *p, int n_bytes)
{
    uint64_t v = 0;

    for (int i = n_bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

void le_put(uint8_t *p, int n_bytes, uint64_t v)
{
    for (int i = 0; i < n_bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

uint64_t be_get(const uint8_t *p, int n_bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < n_bytes; i++)
        v = v << 8 | p[i];
    return v;
}

void be_put(uint8_t *p, int n_bytes, uint64_t v)
{
    for (int i = 0; i < n_bytes; i++)
        p[i] = (uint8_t)(v >> 8 * (n_bytes - 1 - i));
}
