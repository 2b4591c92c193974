// model_gguf.c - the GGUF reader: what it reads, every way a file can lie, every truncation against
// a guard page.
#include "check.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// The bytes stand right before an unreadable page: one byte too far is a fault.
static enum status parse_at_guard(struct bytes file, struct err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (file.n + page - 1) / page * page;
    uint8_t *map =
        mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + size, page, PROT_NONE) != 0)
        die("no guard page");
    uint8_t *at = map + size - file.n;
    memcpy(at, file.p, file.n);
    struct gguf *gguf = NULL;
    enum status status = gguf_parse(&gguf, (struct bytes){at, file.n}, err);
    if (status == OK)
        gguf_close(gguf);
    munmap(map, size + page);
    return status;
}

static void test_values(void)
{
    struct file f;
    struct gguf *g = NULL;
    struct err err;
    file_begin(&f);
    key_u32(&f, "a.number", 7);
    key_f32(&f, "a.float", 0.5f);
    key_text(&f, "a.text", "hello");
    key_begin(&f, "a.negative", GGUF_I32);
    put_u32(&f, (uint32_t)-3);
    array_begin(&f, "a.list", GGUF_STRING, 2);
    put_text(&f, "one");
    put_text(&f, "");
    add_tensor(&f, "t", DTYPE_F32, 4, 2, 0);
    file_counts(&f);
    file_pad(&f, 32);
    put(&f, "0123456789abcdef0123456789abcdef", 32);
    CHECK(parse_at_guard(buf_view(&f.buf), &err) == OK);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK);
    uint64_t n = 0;
    float x = 0;
    struct bytes text = {0};
    const struct gguf_value *list = NULL;
    CHECK(gguf_get_uint(g, "a.number", 0, 10, &n, &err) == OK && n == 7);
    CHECK(gguf_get_uint(g, "a.number", 0, 6, &n, &err) == BAD_INPUT &&
          strstr(err.text, "a.number"));
    CHECK(gguf_get_uint(g, "a.negative", 0, 6, &n, &err) == BAD_INPUT && strstr(err.text, "-3"));
    CHECK(gguf_get_uint(g, "a.text", 0, 6, &n, &err) == BAD_INPUT);
    CHECK(gguf_get_uint(g, "a.none", 0, 6, &n, &err) == NOT_FOUND);
    CHECK(gguf_get_float(g, "a.float", 0, 1, &x, &err) == OK && x == 0.5f);
    CHECK(gguf_get_string(g, "a.text", &text, &err) == OK && bytes_equal_text(text, "hello"));
    CHECK(gguf_get_array(g, "a.list", GGUF_STRING, 2, &list, &err) == OK && list->n_items == 2);
    CHECK(gguf_get_array(g, "a.list", GGUF_STRING, 1, &list, &err) == BAD_INPUT);
    CHECK(gguf_get_array(g, "a.list", GGUF_I32, 2, &list, &err) == BAD_INPUT);
    const uint8_t *at = list->p;
    CHECK(bytes_equal_text(gguf_next_string(&at), "one"));
    CHECK(gguf_next_string(&at).n == 0);
    struct gguf_tensor *t = gguf_find_tensor(g, "t");
    CHECK(t && t->n_bytes == 32 && t->dims[1] == 2 && memcmp(f.buf.p + t->offset, "0123", 4) == 0);
    gguf_close(g);
    buf_free(&f.buf);
}

// ---- lies: each spoils one field of a good file and expects one status and a word of the sentence

struct lie {
    const char *word;
    enum status status;
    void (*tell)(struct file *f);
};

static void two_tensors(struct file *f, uint64_t offset0, uint64_t offset1)
{
    add_tensor(f, "first", DTYPE_F32, 16, 1, offset0);
    add_tensor(f, "second", DTYPE_F32, 16, 1, offset1);
}
static void finish(struct file *f, size_t n_data)
{
    file_counts(f);
    file_pad(f, 32);
    for (size_t i = 0; i < n_data; i++)
        put(f, "x", 1);
}

static void lie_magic(struct file *f)
{
    finish(f, 0);
    f->buf.p[0] = 'X';
}
static void lie_version(struct file *f)
{
    finish(f, 0);
    f->buf.p[4] = 1;
}
static void lie_big_endian(struct file *f)
{
    finish(f, 0);
    memcpy(f->buf.p + 4, "\0\0\0\3", 4);
}
static void lie_n_values(struct file *f)
{
    f->n_values = UINT64_MAX;
    finish(f, 64);
}
static void lie_n_tensors(struct file *f)
{
    f->n_tensors = 1ull << 40;
    finish(f, 64);
}
static void lie_key_length(struct file *f)
{
    f->n_values = 1;
    put_u64(f, UINT64_MAX);
    finish(f, 64);
}
static void lie_empty_key(struct file *f)
{
    key_u32(f, "", 1);
    finish(f, 0);
}
static void lie_value_type(struct file *f)
{
    key_begin(f, "k", 13);
    finish(f, 64);
}
static void lie_string_length(struct file *f)
{
    key_begin(f, "k", GGUF_STRING);
    put_u64(f, 1ull << 62);
    finish(f, 64);
}
static void lie_array_count(struct file *f)
{
    array_begin(f, "k", GGUF_U64, UINT64_MAX / 4);
    finish(f, 64);
}
static void lie_strings_count(struct file *f)
{
    array_begin(f, "k", GGUF_STRING, 1ull << 50);
    finish(f, 64);
}
static void lie_array_item(struct file *f)
{
    array_begin(f, "k", 77, 1);
    finish(f, 64);
}
static void lie_nested(struct file *f)
{
    array_begin(f, "k", GGUF_ARRAY, 1);
    put_u32(f, GGUF_U8);
    put_u64(f, 1);
    finish(f, 64);
}
static void lie_twice(struct file *f)
{
    key_u32(f, "k", 1);
    key_u32(f, "j", 1);
    key_u32(f, "k", 2);
    finish(f, 0);
}
static void lie_alignment_zero(struct file *f)
{
    key_u32(f, "general.alignment", 0);
    finish(f, 64);
}
static void lie_alignment_odd(struct file *f)
{
    key_u32(f, "general.alignment", 48);
    finish(f, 64);
}
static void lie_alignment_huge(struct file *f)
{
    key_u32(f, "general.alignment", 1u << 31);
    finish(f, 64);
}
static void lie_alignment_text(struct file *f)
{
    key_text(f, "general.alignment", "32");
    finish(f, 64);
}
static void lie_split(struct file *f)
{
    key_u32(f, "split.count", 3);
    finish(f, 64);
}
static void lie_n_dims(struct file *f)
{
    f->n_tensors = 1;
    put_text(f, "t");
    put_u32(f, 5);
    finish(f, 256);
}
static void lie_no_dims(struct file *f)
{
    f->n_tensors = 1;
    put_text(f, "t");
    put_u32(f, 0);
    finish(f, 256);
}
static void lie_dim_zero(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, 0, 2, 0);
    finish(f, 64);
}
static void lie_dim_negative(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, UINT64_MAX, 1, 0);
    finish(f, 64);
}
static void lie_product(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, 1ull << 32, 1ull << 32, 0);
    finish(f, 64);
}
static void lie_bytes(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, 1ull << 31, 1ull << 31, 0);
    finish(f, 64);
}
static void lie_size(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, 1ull << 40, 1, 0);
    finish(f, 64);
}
static void lie_type(struct file *f)
{
    add_tensor(f, "t", 99, 32, 1, 0);
    finish(f, 64);
}
static void lie_type_removed(struct file *f)
{
    add_tensor(f, "t", 4, 32, 1, 0);
    finish(f, 64);
}
static void lie_row(struct file *f)
{
    add_tensor(f, "t", DTYPE_Q4_K, 32, 1, 0);
    finish(f, 64);
}
static void lie_offset(struct file *f)
{
    two_tensors(f, 0, 68);
    finish(f, 256);
}
static void lie_offset_huge(struct file *f)
{
    two_tensors(f, 0, UINT64_MAX - 31);
    finish(f, 256);
}
static void lie_overlap(struct file *f)
{
    two_tensors(f, 0, 32);
    finish(f, 256);
}
static void lie_end(struct file *f)
{
    two_tensors(f, 0, 64);
    finish(f, 127);
}
static void lie_same_name(struct file *f)
{
    add_tensor(f, "t", DTYPE_F32, 8, 1, 0);
    add_tensor(f, "t", DTYPE_F32, 8, 1, 32);
    finish(f, 64);
}
static void lie_long_name(struct file *f)
{
    char name[80];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    add_tensor(f, name, DTYPE_F32, 8, 1, 0);
    finish(f, 64);
}

static const struct lie lies[] = {
    {"GGUF", BAD_INPUT, lie_magic},
    {"version 1", UNSUPPORTED, lie_version},
    {"big-endian", UNSUPPORTED, lie_big_endian},
    {"at most 65536", BAD_INPUT, lie_n_values},
    {"at most 65536", BAD_INPUT, lie_n_tensors},
    {"key 0", BAD_INPUT, lie_key_length},
    {"key 0", BAD_INPUT, lie_empty_key},
    {"type 13", BAD_INPUT, lie_value_type},
    {"'k'", BAD_INPUT, lie_string_length},
    {"'k'", BAD_INPUT, lie_array_count},
    {"'k'", BAD_INPUT, lie_strings_count},
    {"item type 77", BAD_INPUT, lie_array_item},
    {"array of arrays", UNSUPPORTED, lie_nested},
    {"'k' is there twice", BAD_INPUT, lie_twice},
    {"general.alignment", BAD_INPUT, lie_alignment_zero},
    {"general.alignment", BAD_INPUT, lie_alignment_odd},
    {"general.alignment", BAD_INPUT, lie_alignment_huge},
    {"general.alignment", BAD_INPUT, lie_alignment_text},
    {"one of 3 parts", UNSUPPORTED, lie_split},
    {"5 dimensions", BAD_INPUT, lie_n_dims},
    {"0 dimensions", BAD_INPUT, lie_no_dims},
    {"dimension 0", BAD_INPUT, lie_dim_zero},
    {"dimension 0", BAD_INPUT, lie_dim_negative},
    {"63 bits", BAD_INPUT, lie_product},
    {"64 bits", BAD_INPUT, lie_bytes},
    {"are missing", BAD_INPUT, lie_size},
    {"type 99", UNSUPPORTED, lie_type},
    {"type 4", UNSUPPORTED, lie_type_removed},
    {"Q4_K", BAD_INPUT, lie_row},
    {"alignment 32", BAD_INPUT, lie_offset},
    {"do not fit any file", BAD_INPUT, lie_offset_huge},
    {"overlap", BAD_INPUT, lie_overlap},
    {"the last 1 are missing", BAD_INPUT, lie_end},
    {"'t' is there twice", BAD_INPUT, lie_same_name},
    {"64", BAD_INPUT, lie_long_name},
};

static void test_lies(void)
{
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        struct file f;
        struct err err = {0};
        file_begin(&f);
        lies[i].tell(&f);
        enum status status = parse_at_guard(buf_view(&f.buf), &err);
        if (!CHECK(status == lies[i].status && strstr(err.text, lies[i].word)))
            fprintf(stderr, "    lie %zu: %s: \"%s\", expected \"%s\"\n", i, status_name(status),
                    err.text, lies[i].word);
        buf_free(&f.buf);
    }
}

static void test_truncation(void)
{
    struct file f;
    struct err err;
    make_tiny_model(&f);
    CHECK(parse_at_guard(buf_view(&f.buf), &err) == OK);
    size_t head = f.buf.n < 12000 ? f.buf.n : 12000;
    for (size_t n = 0; n < head; n++)
        if (!CHECK(parse_at_guard((struct bytes){f.buf.p, n}, &err) == BAD_INPUT &&
                   err.text[0] != 0))
            fprintf(stderr, "    at %zu bytes\n", n);
    CHECK(parse_at_guard((struct bytes){f.buf.p, f.buf.n - 1}, &err) == BAD_INPUT);
    buf_free(&f.buf);
}

// One value for all layers, written once for each of them.
static void test_equal_arrays(void)
{
    struct file f;
    struct gguf *g = NULL;
    struct err err = {0};
    const float half[2] = {0.5f, 0.5f};
    file_begin(&f);
    array_begin(&f, "a.equal", GGUF_I32, 3);
    for (int i = 0; i < 3; i++)
        put_u32(&f, 8);
    array_begin(&f, "a.other", GGUF_U32, 3);
    put_u32(&f, 8);
    put_u32(&f, 8);
    put_u32(&f, 4);
    array_begin(&f, "a.half", GGUF_F32, 2);
    put(&f, half, sizeof(half));
    array_begin(&f, "a.yes", GGUF_BOOL, 2);
    put(&f, "\1\1", 2);
    array_begin(&f, "a.none", GGUF_U32, 0);
    array_begin(&f, "a.texts", GGUF_STRING, 1);
    put_text(&f, "8");
    file_counts(&f);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK);
    uint64_t n = 0;
    float x = 0;
    bool yes = false;
    CHECK(gguf_get_uint(g, "a.equal", 1, 64, &n, &err) == OK && n == 8);
    CHECK(gguf_get_uint(g, "a.equal", 1, 7, &n, &err) == BAD_INPUT);
    CHECK(gguf_get_uint(g, "a.other", 1, 64, &n, &err) == UNSUPPORTED &&
          strstr(err.text, "item 2 differs"));
    CHECK(gguf_get_float(g, "a.half", 0, 1, &x, &err) == OK && x == 0.5f);
    CHECK(gguf_get_bool(g, "a.yes", &yes, &err) == OK && yes);
    CHECK(gguf_get_uint(g, "a.none", 0, 64, &n, &err) == BAD_INPUT);
    CHECK(gguf_get_uint(g, "a.texts", 0, 64, &n, &err) == BAD_INPUT);
    gguf_close(g);
    buf_free(&f.buf);
}

// What is no file is refused by name, and at once: a pipe without a writer would be waited for.
static void test_no_files(void)
{
    char dir[] = "/tmp/model_gguf.XXXXXX", path[64];
    struct gguf *g = NULL;
    struct err err = {0};
    CHECK(mkdtemp(dir));
    alarm(20);
    CHECK(gguf_open(&g, dir, &err) == BAD_INPUT && strstr(err.text, "it is a directory"));
    snprintf(path, sizeof(path), "%s/pipe", dir);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(gguf_open(&g, path, &err) == BAD_INPUT && strstr(err.text, "it is a named pipe"));
    CHECK(strstr(err.text, path));
    unlink(path);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "%s/socket", dir);
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    CHECK(gguf_open(&g, path, &err) == BAD_INPUT && strstr(err.text, "it is a socket"));
    close(fd);
    unlink(path);
    CHECK(gguf_open(&g, "/dev/zero", &err) == BAD_INPUT && strstr(err.text, "it is a device"));
    snprintf(path, sizeof(path), "%s/short", dir);
    CHECK(file_write(path, bytes_of("GGUF"), 0600, &err) == OK);
    CHECK(gguf_open(&g, path, &err) == BAD_INPUT && strstr(err.text, "it has 4 bytes"));
    unlink(path);
    CHECK(gguf_open(&g, path, &err) == NOT_FOUND && strstr(err.text, path));
    alarm(0);
    rmdir(dir);
}

static void test_builtin(void)
{
    struct gguf *g = NULL;
    struct err err = {0};
    struct bytes arch = {0};
    CHECK(gguf_open(&g, MODEL_BUILTIN, &err) == OK);
    CHECK(gguf_get_string(g, "general.architecture", &arch, &err) == OK && arch.n > 0);
    CHECK(g->n_tensors > 0 && (uintptr_t)g->parts[0].file.p % 32 == 0);
    gguf_close(g);
}

// A cut file says how long it is and how long it should be.
static void test_cut(void)
{
    struct file f;
    struct err err = {0};
    char sizes[80];
    make_tiny_model(&f);
    CHECK(parse_at_guard((struct bytes){f.buf.p, 24}, &err) == BAD_INPUT);
    CHECK(strstr(err.text, "the file has 24 bytes, but its head announces") &&
          strstr(err.text, "the end is missing"));
    CHECK(parse_at_guard((struct bytes){f.buf.p, f.buf.n - 5}, &err) == BAD_INPUT);
    snprintf(sizes, sizeof(sizes), "the file has %zu bytes, but its tensors reach to byte %zu",
             f.buf.n - 5, f.buf.n);
    if (!CHECK(strstr(err.text, sizes)))
        fprintf(stderr, "    %s\n", err.text);
    buf_free(&f.buf);
}

int main(void)
{
    test_equal_arrays();
    test_no_files();
    test_builtin();
    test_cut();
    test_values();
    test_lies();
    test_truncation();
    return check_done("model_gguf");
}
