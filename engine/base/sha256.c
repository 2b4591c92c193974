// sha256.c - SHA-256 (FIPS 180-4), of what comes in pieces.
//
// For keys, which are kept as hashes only, and for files that are checked: models of many
// gigabytes. A processor that has instructions for it (SHA-NI: all Zen) takes the blocks ten times
// as fast. The constants are the fractional parts of the square and cube roots of the first primes,
// as the standard prints them.
#include "sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotated(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void take_plainly(uint32_t state[8], const uint8_t *p, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, p += 64) {
        uint32_t w[64], s[8];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
                   (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
                   (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        memcpy(s, state, sizeof(s));
        for (int i = 0; i < 64; i++) {
            const uint32_t a = s[0], e = s[4];
            const uint32_t t1 = s[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                                ((e & s[5]) ^ (~e & s[6])) + round_constants[i] + w[i];
            const uint32_t t2 = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                                ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof(*s));
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

// The instructions hold the eight words as (a, b, e, f) and (c, d, g, h), the first one highest.
// One sha256rnds2 is two rounds; the words of the message are made four at a time.
__attribute__((target("sha,sse4.1"))) static void
take_by_instructions(uint32_t state[8], const uint8_t *p, size_t n_blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i *at = (const __m128i *)state;
    const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(at), 0xb1),
                  efgh = _mm_shuffle_epi32(_mm_loadu_si128(at + 1), 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (; n_blocks > 0; n_blocks--, p += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh, *words = (const __m128i *)p;
        __m128i w0 = _mm_shuffle_epi8(_mm_loadu_si128(words), big_endian),
                w1 = _mm_shuffle_epi8(_mm_loadu_si128(words + 1), big_endian),
                w2 = _mm_shuffle_epi8(_mm_loadu_si128(words + 2), big_endian),
                w3 = _mm_shuffle_epi8(_mm_loadu_si128(words + 3), big_endian);
        for (int i = 0; i < 64; i += 4) {
            const __m128i k = _mm_loadu_si128((const __m128i *)&round_constants[i]),
                          sum = _mm_add_epi32(w0, k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            const __m128i next = _mm_sha256msg2_epu32(
                _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3);
            w0 = w1; // behind the 48th word the last ones are made for nothing
            w1 = w2;
            w2 = w3;
            w3 = next;
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)state + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool sha256_quick(int wanted)
{
    static _Atomic int chosen = -1; // not looked at yet
    unsigned a, b = 0, c = 0, d;
    if (wanted >= 0)
        atomic_store(&chosen, wanted);
    if (atomic_load(&chosen) < 0) {
        const bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
        const bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
        atomic_store(&chosen, sse && sha);
    }
    return atomic_load(&chosen);
}

static void take_blocks(uint32_t state[8], const uint8_t *p, size_t n_blocks)
{
    (sha256_quick(-1) ? take_by_instructions : take_plainly)(state, p, n_blocks);
}

void sha256_init(struct sha256 *hash)
{
    *hash = (struct sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                      0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *hash, struct bytes piece)
{
    while (piece.n > 0) {
        const size_t at = hash->n_bytes % 64, whole = piece.n / 64;
        size_t n = piece.n < 64 - at ? piece.n : 64 - at;
        if (at == 0 && whole > 0) {
            n = 64 * whole;
            take_blocks(hash->state, piece.p, whole);
        } else {
            memcpy(hash->block + at, piece.p, n);
            if (at + n == 64)
                take_blocks(hash->state, hash->block, 1);
        }
        hash->n_bytes += n;
        piece.p += n;
        piece.n -= n;
    }
}

void sha256_done(struct sha256 *hash, uint8_t out[SHA256_BYTES])
{
    const uint64_t n_bits = hash->n_bytes * 8;
    const size_t at = hash->n_bytes % 64, n_pad = (at < 56 ? 56 : 120) - at;
    uint8_t pad[64] = {0x80}, length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(n_bits >> (56 - 8 * i));
    sha256_add(hash, (struct bytes){pad, n_pad});
    sha256_add(hash, (struct bytes){length, sizeof(length)});
    for (int i = 0; i < SHA256_BYTES; i++)
        out[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    explicit_bzero(hash, sizeof(*hash)); // it may have been a secret
}

void sha256_of(struct bytes text, uint8_t out[SHA256_BYTES])
{
    struct sha256 hash;
    sha256_init(&hash);
    sha256_add(&hash, text);
    sha256_done(&hash, out);
}
