// peertokens.c - token ids of many texts by llama.cpp's library, printed as tests/golden/words.c
// prints ours.
//
//   peertokens MODEL.gguf hash|ids FILE...
//   peertokens MODEL.gguf knows               exit 0: the vocabulary opens
//
// A test tool: built and run by tests/golden/peer only, never part of the product.
#include <inttypes.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 24 };

static void silent(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static void tell(const struct llama_vocab *vocab, const char *path, int all)
{
    static char text[MAX_BYTES];
    static llama_token ids[MAX_BYTES];
    FILE *file = fopen(path, "rb");
    const char *slash = strrchr(path, '/');
    if (!file)
        exit(1);
    size_t n_text = fread(text, 1, MAX_BYTES, file);
    fclose(file);
    int n = llama_tokenize(vocab, text, (int)n_text, ids, MAX_BYTES, 1, 1);
    uint64_t hash = 0xcbf29ce484222325ull;
    for (int i = 0; i < n; i++)
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ ((uint32_t)ids[i] >> shift & 0xff)) * 0x100000001b3ull;
    printf("%s %d", slash ? slash + 1 : path, n);
    if (!all)
        printf(" %016" PRIx64, hash);
    for (int i = 0; i < n && all; i++)
        printf(" %d", ids[i]);
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: peertokens MODEL.gguf hash|ids FILE... | knows\n");
        return 2;
    }
    llama_log_set(silent, NULL);
    llama_backend_init();
    struct llama_model_params params = llama_model_default_params();
    params.vocab_only = 1;
    struct llama_model *model = llama_model_load_from_file(argv[1], params);
    if (!model)
        return 1;
    for (int i = 3; i < argc; i++)
        tell(llama_model_get_vocab(model), argv[i], strcmp(argv[2], "ids") == 0);
    return 0;
}
