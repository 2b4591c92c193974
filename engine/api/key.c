// key.c - the box's own API key: 200 random bits made at the first start, kept in STATE/api-key
// (mode 0600).
//
// The owner may put a key of his own there: one line of at least 16 printable ASCII characters
// without blanks.
#include "inside.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { KEY_LEAST = 16, KEY_RANDOM = 40 };

void key_letters(char *out, size_t n)
{
    static const char letters[] =
        "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's 32: no i, l, o, u to mistake
    random_bytes(out, n);
    for (size_t i = 0; i < n; i++)
        out[i] = letters[out[i] & 31];
    out[n] = 0;
}

static void key_make(char key[API_KEY_BYTES + 1])
{
    size_t n = (size_t)snprintf(key, API_KEY_BYTES + 1, "tawny-");
    key_letters(key + n, KEY_RANDOM);
}

void key_path(char out[600], const char *state)
{
    snprintf(out, 600, "%s/api-key", state);
}

enum status key_take(char key[API_KEY_BYTES + 1], struct bytes text, const char *path,
                     struct err *err)
{
    while (text.n &&
           (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r' || text.p[text.n - 1] == ' '))
        text.n--;
    bool good = text.n >= KEY_LEAST && text.n <= API_KEY_BYTES;
    for (size_t i = 0; i < text.n && good; i++)
        good = text.p[i] > 0x20 && text.p[i] < 0x7f;
    if (!good)
        return err_set(err, BAD_INPUT,
                       "%s must be one line of %d to %d printable characters without blanks; "
                       "remove the file to have a "
                       "new key made",
                       path, KEY_LEAST, API_KEY_BYTES);
    memcpy(key, text.p, text.n);
    key[text.n] = 0;
    return OK;
}

enum status key_open(char key[API_KEY_BYTES + 1], bool *is_new, const char *state, struct err *err)
{
    char path[600], line[API_KEY_BYTES + 2];
    struct buf file;
    key_path(path, state);
    enum status status = file_read(&file, path, 4096, err);
    if (status == OK) {
        status = key_take(key, buf_view(&file), path, err);
        buf_free(&file);
        *is_new = false;
        struct stat info;
        if (status == OK && stat(path, &info) == 0 && (info.st_mode & 077)) {
            log_warn("%s was readable by others; its mode is 0600 now", path);
            if (chmod(path, 0600) != 0)
                log_warn("its mode cannot be changed");
        }
        return status;
    }
    if (status != NOT_FOUND)
        return status;
    key_make(key);
    int n = snprintf(line, sizeof(line), "%s\n", key);
    status = file_write(path, (struct bytes){(const uint8_t *)line, (size_t)n}, 0600, err);
    *is_new = status == OK;
    return status;
}
