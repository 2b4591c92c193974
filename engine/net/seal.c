// seal.c - bytes that only who knows a password can read, and nobody can change unseen.
//
// The key is PBKDF2-HMAC-SHA256 of the password (RFC 8018), the seal ChaCha20-Poly1305 (RFC 8439)
// with the tag behind the text. A salt and a nonce serve one seal only.
#include "net.h"

#include <bearssl.h>
#include <string.h>

// Of one block: SHA-256 gives just the 32 bytes that are wanted.
static void key_of(uint8_t key[32], const struct seal *seal, struct bytes password)
{
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    br_hmac_key_context keyed;
    br_hmac_context hmac;
    uint8_t turn[32];
    br_hmac_key_init(&keyed, &br_sha256_vtable, password.p, password.n);
    br_hmac_init(&hmac, &keyed, 0);
    br_hmac_update(&hmac, seal->salt, sizeof(seal->salt));
    br_hmac_update(&hmac, first_block, sizeof(first_block));
    br_hmac_out(&hmac, turn);
    memcpy(key, turn, 32);
    for (uint32_t i = 1; i < seal->iterations; i++) {
        br_hmac_init(&hmac, &keyed, 0);
        br_hmac_update(&hmac, turn, sizeof(turn));
        br_hmac_out(&hmac, turn);
        for (size_t k = 0; k < sizeof(turn); k++)
            key[k] ^= turn[k];
    }
    explicit_bzero(&keyed, sizeof(keyed));
    explicit_bzero(&hmac, sizeof(hmac));
    explicit_bzero(turn, sizeof(turn));
}

static void run(const struct seal *seal, struct bytes password, struct bytes beside, uint8_t *text,
                size_t n, uint8_t tag[SEAL_TAG], int encrypt)
{
    uint8_t key[32];
    key_of(key, seal, password);
    br_poly1305_ctmul_run(key, seal->nonce, text, n, beside.p, beside.n, tag, br_chacha20_ct_run,
                          encrypt);
    explicit_bzero(key, sizeof(key));
}

enum status seal_close(struct buf *text, struct seal *seal, struct bytes password,
                       struct bytes beside)
{
    uint8_t tag[SEAL_TAG];
    random_bytes(seal->salt, sizeof(seal->salt));
    random_bytes(seal->nonce, sizeof(seal->nonce));
    seal->iterations = SEAL_ITERATIONS;
    run(seal, password, beside, text->p, text->n, tag, 1);
    return buf_add(text, tag, sizeof(tag));
}

bool seal_open(struct buf *text, const struct seal *seal, struct bytes password,
               struct bytes beside)
{
    uint8_t tag[SEAL_TAG];
    if (text->n < SEAL_TAG || seal->iterations < SEAL_ITERATIONS_LEAST ||
        seal->iterations > SEAL_ITERATIONS_MOST)
        return false;
    text->n -= SEAL_TAG;
    run(seal, password, beside, text->p, text->n, tag, 0);
    return bytes_equal_secret((struct bytes){tag, SEAL_TAG},
                              (struct bytes){text->p + text->n, SEAL_TAG});
}
