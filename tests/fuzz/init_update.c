/* init_update.c - fuzz target: any bytes as an update (init/bundle.c), as the head of a UKI
 * (init/uki.c), as a key and as the texts of slots.
 *
 * Input: byte 0: which of them; then the bytes. For a bundle the file's length is taken from the
 * header, so that what is behind the length is reached; what is accepted has sizes within their
 * limits and a version without surprises.
 * Kept inputs: init_update/.
 */
#include "../../init/update.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bundle(const uint8_t *p, size_t n)
{
    uint8_t head[BUNDLE_HEADER] = {0};
    struct bundle b;
    struct update_key key = {.point = {4}, .whose = "nobody"};
    struct err err = {""};
    const char *whose = "";

    memcpy(head, p, n < sizeof(head) ? n : sizeof(head));
    if (bundle_read(&b, head, BUNDLE_HEADER + le_get(head + 24, 8), &err) != OK) {
        if (!err.text[0])
            abort();
        return;
    }
    if (b.n_uki < UKI_LEAST || b.n_uki > UKI_MOST || strchr(b.version, '/') || !b.version[0])
        abort();
    if (n > sizeof(head) + 64)
        memcpy(key.point + 1, p + sizeof(head), 64);
    if (bundle_verify(&b, &key, 1, &whose, &err) == OK)
        abort(); // a signature was guessed
}

static void uki(const uint8_t *p, size_t n)
{
    struct uki u;
    struct err err = {""};
    const uint64_t n_file = 1 << 26;

    if (uki_read(&u, p, n < UKI_HEAD ? n : UKI_HEAD, n_file, &err) != OK)
        return;
    const struct uki_part *parts[] = {&u.linux_, &u.initrd, &u.cmdline};
    for (int i = 0; i < 3; i++)
        if (parts[i]->n == 0 || parts[i]->at + parts[i]->n > n_file)
            abort();
}

static void texts(const char *p, size_t n)
{
    struct env e, again;
    struct release r;
    char block[ENV_BYTES];

    release_read(&r, p, n);
    env_read(&e, p, n);
    env_write(&e, block);
    env_read(&again, block, sizeof(block));
    if (e.good != again.good || e.trial != again.trial || e.last != again.last)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct update_key key;
    struct err err;

    if (size < 1)
        return 0;
    const uint8_t *p = data + 1;
    switch (data[0] & 3) {
    case 0:
        bundle(p, size - 1);
        break;
    case 1:
        uki(p, size - 1);
        break;
    case 2:
        (void)key_read(&key, (const char *)p, size - 1, &err);
        break;
    default:
        texts((const char *)p, size - 1);
    }
    return 0;
}
