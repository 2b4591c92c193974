// model_parts.c - split models: any part opens all of them, to the same tensors as the whole file
// has; a part that is missing, cut, repeated or of another model is named; the first alone is
// enough for the plan.
#include "check.h"
#include "model_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_PARTS = 3 };

static char dir[] = "/tmp/model_parts.XXXXXX";
static struct file whole;
static struct gguf *parsed; // of `whole`

struct lie { // what part `no` says that is not so
    unsigned no;
    unsigned count, said_no, n_tensors; // 0: the truth
    const char *arch;
    bool first_tensor_too; // it has the model's first tensor again
};

static const char *part_name(char out[PATH_MAX], unsigned no, unsigned count)
{
    snprintf(out, PATH_MAX, "%s/m-%05u-of-%05u.gguf", dir, no + 1, count);
    return out;
}

static void write_bytes(const char *path, const void *p, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(p, 1, n, file) != n || fclose(file) != 0)
        die("%s cannot be written", path);
}

// Where the whole file's keys end: its first tensor's description begins with a length.
static size_t keys_end(void)
{
    const uint8_t *first = parsed->tensors[0].name.p;
    for (uint64_t i = 1; i < parsed->n_tensors; i++)
        if (parsed->tensors[i].name.p < first)
            first = parsed->tensors[i].name.p;
    return (size_t)(first - 8 - whole.buf.p);
}

static void add_split_keys(struct file *f, unsigned no, const struct lie *lie)
{
    const bool lies = lie && lie->no == no;
    key_u32(f, "split.no", lies && lie->said_no ? lie->said_no : no);
    key_u32(f, "split.count", lies && lie->count ? lie->count : N_PARTS);
    key_u32(f, "split.tensors.count",
            lies && lie->n_tensors ? lie->n_tensors : (uint32_t)parsed->n_tensors);
    if (lies && lie->arch)
        key_text(f, "general.architecture", lie->arch);
}

static bool in_part(uint64_t i, unsigned no, bool first_empty, const struct lie *lie)
{
    if (lie && lie->no == no && lie->first_tensor_too && i == 0)
        return true;
    return first_empty ? i % (N_PARTS - 1) + 1 == no : i % N_PARTS == no;
}

static void write_part(unsigned no, bool first_empty, const struct lie *lie)
{
    struct file f;
    char path[PATH_MAX];
    uint64_t offset = 0;
    file_begin(&f);
    if (no == 0) {
        put(&f, whole.buf.p + 24, keys_end() - 24);
        f.n_values = parsed->n_values;
    }
    add_split_keys(&f, no, lie);
    for (uint64_t i = 0; i < parsed->n_tensors; i++) {
        const struct gguf_tensor *t = &parsed->tensors[i];
        char name[65] = {0};
        if (!in_part(i, no, first_empty, lie))
            continue;
        memcpy(name, t->name.p, t->name.n);
        add_tensor(&f, name, t->type, t->dims[0], t->dims[1], offset);
        offset += (t->n_bytes + 31) / 32 * 32;
    }
    file_counts(&f);
    for (uint64_t i = 0; i < parsed->n_tensors; i++)
        if (in_part(i, no, first_empty, lie)) {
            file_pad(&f, 32);
            put(&f, gguf_bytes(parsed, &parsed->tensors[i]), parsed->tensors[i].n_bytes);
        }
    write_bytes(part_name(path, no, N_PARTS), f.buf.p, f.buf.n);
    buf_free(&f.buf);
}

static void write_parts(bool first_empty, const struct lie *lie)
{
    for (unsigned no = 0; no < N_PARTS; no++)
        write_part(no, first_empty, lie);
}

static bool same_tensors(const struct gguf *g)
{
    bool same = g->n_tensors == parsed->n_tensors;
    for (uint64_t i = 0; i < parsed->n_tensors && same; i++) {
        const struct gguf_tensor *a = &parsed->tensors[i], *b = &g->tensors[i];
        same = bytes_equal(a->name, b->name) && a->n_bytes == b->n_bytes &&
               memcmp(gguf_bytes(parsed, a), gguf_bytes(g, b), a->n_bytes) == 0;
    }
    return same;
}

static void test_any_part(void)
{
    for (int first_empty = 0; first_empty < 2; first_empty++) {
        write_parts(first_empty, NULL);
        for (unsigned no = 0; no < N_PARTS; no++) {
            struct gguf *g = NULL;
            struct err err = {0};
            char path[PATH_MAX];
            uint64_t n_layer = 0;
            if (!CHECK(gguf_open(&g, part_name(path, no, N_PARTS), &err) == OK)) {
                fprintf(stderr, "    %s\n", err.text);
                continue;
            }
            CHECK(g->n_parts == N_PARTS && g->n_missing == 0 && same_tensors(g));
            CHECK(gguf_get_uint(g, "llama.block_count", 1, 9, &n_layer, &err) == OK &&
                  n_layer == TINY_LAYER);
            CHECK(g->whole_bytes <= g->file_bytes);
            gguf_close(g);
        }
    }
}

// A part that lies, and what is said of it.
static void test_lies(void)
{
    static const struct {
        struct lie lie;
        const char *words[3];
    } cases[] = {
        {{.no = 1, .count = 5}, {"m-00002-of-00003.gguf", "one of 5 parts", "one of 3"}},
        {{.no = 2, .count = 1}, {"m-00003-of-00003.gguf", "one of 1 parts", "one of 3"}},
        {{.no = 2, .said_no = 1}, {"m-00003-of-00003.gguf", "by its name it is part 3", "part 2"}},
        {{.no = 1, .n_tensors = 7}, {"m-00002-of-00003.gguf", "'split.tensors.count' is 7", "20"}},
        {{.no = 1, .arch = "qwen2"}, {"m-00002-of-00003.gguf", "is 'qwen2'", "is 'llama'"}},
        {{.no = 2, .first_tensor_too = true}, {"m-00003-of-00003.gguf", "is there twice", "'"}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct gguf *g = NULL;
        struct err err = {0};
        char path[PATH_MAX];
        write_parts(false, &cases[i].lie);
        CHECK(gguf_open(&g, part_name(path, 0, N_PARTS), &err) == BAD_INPUT);
        bool said = true;
        for (int k = 0; k < 3; k++)
            said = said && strstr(err.text, cases[i].words[k]);
        if (!CHECK(said))
            fprintf(stderr, "    %s\n", err.text);
    }
}

static void expect(const char *path, enum status status, const char *a, const char *b)
{
    struct gguf *g = NULL;
    struct err err = {0};
    CHECK(gguf_open(&g, path, &err) == status);
    if (!CHECK(strstr(err.text, a) && strstr(err.text, b)))
        fprintf(stderr, "    %s\n", err.text);
}

static void test_files(void)
{
    char path[PATH_MAX], other[PATH_MAX];
    struct stat st;
    // one is missing: named whichever is opened
    for (unsigned no = 0; no < N_PARTS; no++) {
        write_parts(false, NULL);
        unlink(part_name(path, no, N_PARTS));
        expect(part_name(other, (no + 1) % N_PARTS, N_PARTS), NOT_FOUND, path, "is missing");
    }
    // one is cut: its sizes
    write_parts(false, NULL);
    part_name(path, 1, N_PARTS);
    if (stat(path, &st) != 0 || truncate(path, st.st_size - 40) != 0)
        die("%s cannot be cut", path);
    expect(part_name(other, 0, N_PARTS), BAD_INPUT, path, "the last 40 are missing");
    // one lies under the name of another
    write_parts(false, NULL);
    unlink(part_name(path, 2, N_PARTS));
    if (link(part_name(other, 1, N_PARTS), path) != 0)
        die("%s cannot be linked", path);
    expect(other, BAD_INPUT, path, "by its name it is part 3, by its key 'split.no' part 2");
    expect(path, BAD_INPUT, path, "by its keys it is part 2 of 3");
    unlink(path);
    // a name by which the others cannot be found
    write_parts(false, NULL);
    snprintf(other, sizeof(other), "%s/renamed.gguf", dir);
    if (rename(part_name(path, 0, N_PARTS), other) != 0)
        die("%s cannot be renamed", path);
    expect(other, NOT_FOUND, "renamed.gguf", "NAME-00001-of-00003.gguf");
    unlink(other);
    // tensors that no part has
    write_parts(true, &(struct lie){.no = N_PARTS});
    for (unsigned no = 0; no < N_PARTS; no++)
        write_part(no, true, &(struct lie){.no = no, .n_tensors = 21});
    expect(part_name(path, 0, N_PARTS), BAD_INPUT, "have 20 tensors together", "says 21");
}

// The model from its parts computes what the whole one does; the first part alone is planned as all
// of them are.
static void test_model(void)
{
    static const struct model_options options = {0, 1, 8, false};
    static struct model_info from_whole, from_first;
    struct compute *compute;
    struct model *m;
    struct err err = {0};
    char path[PATH_MAX], one[PATH_MAX];
    if (compute_open(&compute, &(struct compute_options){"cpu", 1}, &err) != OK)
        die("%s", err.text);
    snprintf(one, sizeof(one), "%s/m.gguf", dir);
    write_bytes(one, whole.buf.p, whole.buf.n);
    write_parts(false, NULL);
    const int32_t token = 3, pos = 0, seq = 0;
    const uint8_t wanted = 1;
    const struct batch batch = {1, &token, &pos, &seq, &wanted, 0};
    static float logits[2][TINY_VOCAB];
    for (int i = 0; i < 2; i++) {
        const char *file = i ? part_name(path, 2, N_PARTS) : one;
        if (!CHECK(model_open(&m, compute, file, &options, &err) == OK)) {
            fprintf(stderr, "    %s\n", err.text);
            return;
        }
        CHECK(strcmp(model_info(m)->id, "m") == 0);
        CHECK(model_forward(m, &batch, (struct logits){.value = logits[i]}, &err) == OK);
        model_close(m);
    }
    CHECK(memcmp(logits[0], logits[1], sizeof(logits[0])) == 0);

    CHECK(model_plan(&from_whole, compute, one, &options, &err) == OK);
    CHECK(model_plan(&from_first, compute, part_name(path, 1, N_PARTS), &options, &err) == OK);
    CHECK(from_first.n_parts == N_PARTS && from_first.n_parts_missing == 0);
    unlink(part_name(path, 1, N_PARTS));
    unlink(part_name(path, 2, N_PARTS));
    if (!CHECK(model_plan(&from_first, compute, part_name(path, 0, N_PARTS), &options, &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    CHECK(from_first.n_parts_missing == 2 && from_first.n_params >= from_whole.n_params);
    CHECK(from_whole.n_parts == 1 && from_whole.n_parts_missing == 0);
    // the output matrix may be in a part that is missing: it is counted, tied or not
    const uint64_t output = 4ull * TINY_EMBD * TINY_VOCAB;
    CHECK(from_first.plan.weight_bytes >= from_whole.plan.weight_bytes &&
          from_first.plan.weight_bytes <= from_whole.plan.weight_bytes + output);
    CHECK(from_first.whole_bytes > from_first.file_bytes);
    CHECK(model_open(&m, compute, path, &options, &err) == NOT_FOUND &&
          strstr(err.text, "part 2 of 3"));
    write_part(0, true, NULL);
    CHECK(model_plan(&from_first, compute, path, &options, &err) == BAD_INPUT &&
          strstr(err.text, "the next part is needed too"));
    compute_close(compute);
    unlink(one);
    unlink(path);
}

int main(void)
{
    struct err err = {0};
    make_tiny_model(&whole);
    if (!mkdtemp(dir) || gguf_parse(&parsed, buf_view(&whole.buf), &err) != OK)
        die("no model: %s", err.text);
    test_any_part();
    test_lies();
    test_files();
    test_model();
    gguf_close(parsed);
    buf_free(&whole.buf);
    rmdir(dir);
    return check_done("model_parts");
}
