// model_corrupt.c - heads of every architecture (tests/fuzz/gguf/arch-*), spoilt: each key renamed,
// of another type, of every extreme value; each tensor renamed, of other dimensions, formats and
// places; cut; with bits flipped. Each is planned or refused by a sentence that names a key, a
// tensor, the architecture or the file's end. Whatever is refused whole is refused in all ways. An
// architecture of which there is no head is a failure. Blocks that predict further tokens are among
// them.
#include "check.h"
#include "model_fixture.h"

#include "../../engine/model/arch.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD_MOST = 64 << 10, N_FLIPS = 150 };

static struct compute *compute;
static int fd;
static char path[64];
static uint8_t good[HEAD_MOST], bad[HEAD_MOST];
static size_t n_bytes;
static const char *arch; // the seed's name
static unsigned n_planned, n_refused;
static char seen[4096];     // architectures of the heads, each between blanks
static unsigned n_drafts;   // heads with a block that predicts further tokens
static struct bytes drafts; // "blk.N." of that block; .n = 0: there is none

static bool names_what(const char *text)
{
    static const char *const words[] = {"key '",          "keys '",       "tensor",
                                        "architecture '", "the file has", "allowed are 1 to"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

// The first n bytes of `bad` as a file.
static enum status plan(size_t n, struct err *err)
{
    static struct model_info info;
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bad, n, 0) != (ssize_t)n)
        die("a head cannot be written");
    memset(err, 0, sizeof(*err));
    return model_plan(
        &info, compute, path,
        &(struct model_options){.n_ctx = CTX_AUTO, .n_seq = 2, .n_batch = 64, .draft = true}, err);
}

// Plans what `bad` has become, and makes it good again. `what` was done to `name`.
static void spoilt(struct bytes name, const char *what)
{
    struct err err;
    const enum status status = plan(n_bytes, &err);
    n_planned += status == OK, n_refused += status != OK;
    if (!CHECK(status == OK || names_what(err.text)))
        fprintf(stderr, "    %s: %.*s: %s: %s: '%s'\n", arch, (int)name.n, (const char *)name.p,
                what, status_name(status), err.text);
    memcpy(bad, good, n_bytes);
}

static uint8_t *in_bad(const uint8_t *p) // where the same byte is there
{
    return bad + (p - good);
}

static void put_number(const uint8_t *at, uint64_t v, size_t n)
{
    memcpy(in_bad(at), &v, n);
}

// ---- keys ---------------------------------------------------------------------------------------

static void spoil_value(const struct gguf_value *value)
{
    static const uint64_t values[] = {0,          1,          2,          7,          255,
                                      0x7fffffff, 0xffffffff, 0x7fc00000, 0xff800000, UINT64_MAX};
    const uint32_t type = value->type == GGUF_ARRAY ? value->item_type : value->type;
    const size_t n = gguf_scalar_bytes(type);
    for (size_t i = 0; i < COUNT_OF(values) && n > 0; i++) {
        put_number(value->p, values[i], n);
        spoilt(value->key, "another value");
    }
    if (type == GGUF_STRING && value->n_items > 0) {
        put_number(value->p, 0, 8);
        spoilt(value->key, "an empty text");
        put_number(value->p, UINT64_MAX, 8);
        spoilt(value->key, "a text without end");
    }
}

static void spoil_type(const struct gguf_value *value)
{
    const bool array = value->type == GGUF_ARRAY;
    const uint8_t *type = array ? value->p - 12 : value->p - 4;
    for (uint32_t t = 0; t <= 13; t++) {
        put_number(type, t, 4);
        spoilt(value->key, "another type");
    }
    const uint64_t lengths[] = {0, 1, value->n_items + 1, 1ull << 62};
    for (size_t i = 0; i < COUNT_OF(lengths) && array; i++) {
        put_number(value->p - 8, lengths[i], 8);
        spoilt(value->key, "another length");
    }
}

static void spoil_keys(const struct gguf *gguf)
{
    for (uint64_t i = 0; i < gguf->n_values; i++) {
        const struct gguf_value *value = &gguf->values[i];
        in_bad(value->key.p)[value->key.n - 1] ^= 1;
        spoilt(value->key, "another name");
        spoil_value(value);
        spoil_type(value);
    }
}

// ---- tensors ------------------------------------------------------------------------------------

static void spoil_tensor(const struct gguf_tensor *tensor)
{
    static const uint64_t dims[] = {0, 1, 3, 1ull << 40, UINT64_MAX};
    const uint8_t *n_dims = tensor->name.p + tensor->name.n, *first = n_dims + 4,
                  *type = first + 8 * (size_t)tensor->n_dims, *offset = type + 4;
    static const uint32_t types[] = {4, 12, 16, 24, 28, 255}; // 4: none
    static const uint64_t offsets[] = {1, 32, 1ull << 62, UINT64_MAX - 31};
    in_bad(tensor->name.p)[0] ^= 1;
    spoilt(tensor->name, "another name");
    for (uint32_t n = 0; n <= 5; n++) {
        put_number(n_dims, n, 4);
        spoilt(tensor->name, "another number of dimensions");
    }
    for (size_t i = 0; i < COUNT_OF(dims); i++)
        for (uint32_t d = 0; d < tensor->n_dims; d++) {
            put_number(first + 8 * (size_t)d, dims[i], 8);
            spoilt(tensor->name, "another dimension");
        }
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        put_number(type, types[i], 4);
        spoilt(tensor->name, "another format");
    }
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        put_number(offset, offsets[i], 8);
        spoilt(tensor->name, "another place");
    }
}

static bool is_first_of_kind(const struct gguf_tensor *tensor) // layers repeat each other
{
    if (drafts.n > 0 && tensor->name.n > drafts.n &&
        memcmp(tensor->name.p, drafts.p, drafts.n) == 0)
        return true;
    return tensor->name.n < 6 || memcmp(tensor->name.p, "blk.", 4) != 0 ||
           tensor->name.p[4] < '2' || tensor->name.p[5] != '.';
}

// ---- the file -----------------------------------------------------------------------------------

static void cut_and_flip(const struct bytes *name, size_t n_head)
{
    struct err err;
    uint32_t state = 1;
    for (size_t n = 24; n < n_head; n += n_head / 40 + 1)
        if (!CHECK(plan(n, &err) == BAD_INPUT && names_what(err.text)))
            fprintf(stderr, "    %s cut to %zu: '%s'\n", arch, n, err.text);
    for (int i = 0; i < N_FLIPS; i++) {
        state = state * 1664525u + 1013904223u;
        bad[24 + (state >> 8) % (n_head - 24)] ^= (uint8_t)(1u << (i % 8));
        spoilt(*name, "a flipped bit");
    }
}

static void remember(const struct gguf *gguf)
{
    struct bytes name = {NULL, 0};
    struct err err;
    const size_t n = strlen(seen);
    if (gguf_get_string(gguf, "general.architecture", &name, &err) != OK ||
        n + name.n + 2 > sizeof(seen))
        die("%s: no architecture, or no room for it", arch);
    snprintf(seen + n, sizeof(seen) - n, "%.*s ", (int)name.n, (const char *)name.p);
}

static void find_drafts(const struct gguf *gguf)
{
    static const char last[] = "nextn.eh_proj.weight";
    drafts.n = 0;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct bytes name = gguf->tensors[i].name;
        const size_t n = sizeof(last) - 1;
        if (name.n > n && memcmp(name.p + name.n - n, last, n) == 0)
            drafts = (struct bytes){name.p, name.n - n};
    }
    n_drafts += drafts.n > 0;
}

// Of every architecture of the build there is a head.
static void test_all(void)
{
    char names[4096], *rest = names;
    arch_names(names, sizeof(names));
    CHECK(!strstr(names, "...") && strstr(names, "llama"));
    for (char *name; (name = strsep(&rest, ", "));) {
        char word[80];
        snprintf(word, sizeof(word), " %s ", name);
        if (*name && !CHECK(strstr(seen, word)))
            fprintf(stderr, "    no head of '%s': tests/fuzz/arch_seeds.py writes them\n", name);
    }
}

static void test_arch(void)
{
    struct gguf *gguf;
    struct err err = {0};
    const struct bytes name = bytes_of(arch);
    memcpy(bad, good, n_bytes);
    if (!CHECK(plan(n_bytes, &err) == OK)) {
        fprintf(stderr, "    %s: %s\n", arch, err.text);
        return;
    }
    if (gguf_read(&gguf, (struct gguf_part){.file = {good, n_bytes}}, true, &err) != OK)
        die("%s: %s", arch, err.text);
    remember(gguf);
    find_drafts(gguf);
    spoil_keys(gguf);
    size_t n_head = 0;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        const size_t end =
            (size_t)(tensor->name.p + tensor->name.n + 16 + 8 * (size_t)tensor->n_dims - good);
        n_head = end > n_head ? end : n_head;
        if (is_first_of_kind(tensor))
            spoil_tensor(tensor);
    }
    cut_and_flip(&name, n_head);
    gguf_close(gguf);
}

int main(void)
{
    static const char folder[] = "tests/fuzz/gguf";
    struct err err = {0};
    unsigned n_archs = 0;
    DIR *dir = opendir(folder);
    fd = memfd_create("head", MFD_CLOEXEC);
    seen[0] = ' ';
    if (!dir || fd < 0 || compute_open(&compute, &(struct compute_options){"cpu", 1}, &err) != OK)
        die("no heads, no file or no device: %s", err.text);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    log_level_set(LOG_ERROR); // thousands of heads, each with its hints
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[320];
        if (strncmp(entry->d_name, "arch-", 5) != 0)
            continue;
        snprintf(file, sizeof(file), "%s/%s", folder, entry->d_name);
        FILE *f = fopen(file, "rb");
        n_bytes = f ? fread(good, 1, sizeof(good), f) : 0;
        if (!f || n_bytes == sizeof(good) || fclose(f) != 0)
            die("%s cannot be read", file);
        arch = entry->d_name;
        test_arch();
        n_archs++;
    }
    closedir(dir);
    test_all();
    CHECK(n_archs >= 50 && n_refused > 20 * n_archs && n_drafts >= 3);
    printf("model_corrupt: %u architectures, %u spoilt heads refused, %u planned\n", n_archs,
           n_refused, n_planned);
    compute_close(compute);
    close(fd);
    return check_done("model_corrupt");
}
