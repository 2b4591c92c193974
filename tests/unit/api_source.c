// api_source.c - what can be pulled, as people write it, and the listings of registries and hubs:
// what is read of them, and that nothing of a broken one is.
#include "../../engine/api/source.h"
#include "check.h"

#include <stdlib.h>

static const char REGISTRY[] = "registry.example", HUB[] = "hub.example:8443";

static const char *read(const char *text)
{
    static char out[3000];
    struct source s;
    struct err err = {0};
    static const char *const kinds[] = {"registry", "hub", "url"};
    if (source_read(&s, bytes_of(text), REGISTRY, HUB, &err) != OK)
        return CHECK(err.status != OK && err.text[0]) ? "refused" : "";
    snprintf(out, sizeof(out), "%s|%s|%s|%s|%s|%s|%s|%s", kinds[s.kind], s.host, s.path, s.tag,
             s.file, s.url, s.sha256, s.name);
    return out;
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void sources(void)
{
    static const char *const cases[][2] = {
        {"llama3.2", "registry|registry.example|library/llama3.2|latest||||llama3.2"},
        {"llama3.2:latest", "registry|registry.example|library/llama3.2|latest||||llama3.2"},
        {"llama3.2:1b", "registry|registry.example|library/llama3.2|1b||||llama3.2:1b"},
        {"me/model:x", "registry|registry.example|me/model|x||||model:x"},
        {"reg.lan/me/model", "registry|reg.lan|me/model|latest||||model"},
        {"reg.lan:5000/me/model:7b", "registry|reg.lan:5000|me/model|7b||||model:7b"},
        {"localhost:5000/model", "registry|localhost:5000|library/model|latest||||model"},
        {"hf.co/Own/Repo-GGUF", "hub|hub.example:8443|Own/Repo-GGUF|||||Repo-GGUF"},
        {"hf.co/Own/Repo-GGUF:latest", "hub|hub.example:8443|Own/Repo-GGUF|||||Repo-GGUF"},
        {"hf.co/Own/Repo-GGUF:Q8_0", "hub|hub.example:8443|Own/Repo-GGUF|Q8_0||||Repo-GGUF:Q8_0"},
        {"hub.example:8443/Own/Repo", "hub|hub.example:8443|Own/Repo|||||Repo"},
        {"https://huggingface.co/Own/Repo", "hub|hub.example:8443|Own/Repo|||||Repo"},
        {"https://huggingface.co/Own/Repo/tree/main", "hub|hub.example:8443|Own/Repo|||||Repo"},
        {"https://hub.example:8443/Own/Repo/blob/main/a/b-Q4.gguf?download=true",
         "hub|hub.example:8443|Own/Repo||a/b-Q4.gguf|||b-Q4"},
        {"https://hf.co/Own/Repo/resolve/main/b-00001-of-00003.gguf",
         "hub|hub.example:8443|Own/Repo||b-00001-of-00003.gguf|||b"},
        {"https://a.example/x/y.gguf", "url||||| https://a.example/x/y.gguf||y"},
        {"https://a.example/y.gguf?token=1#sha256=" HEX64,
         "url||||| https://a.example/y.gguf?token=1|" HEX64 "|y"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[3000];
        // a blank before an address only keeps the table readable
        size_t n = 0;
        for (const char *c = cases[i][1]; *c; c++)
            if (*c != ' ')
                want[n++] = *c;
        want[n] = 0;
        CHECK_TEXT(read(cases[i][0]), want);
    }
    static const char *const bad[] = {"",
                                      "/",
                                      "a b",
                                      "a/b/c/d",
                                      "../x",
                                      "a/../b",
                                      ".x",
                                      "x:",

                                      "hf.co/Own",
                                      "hf.co/a/b/c",
                                      "ftp://a/b.gguf",
                                      "https://a.example/",
                                      "https://a.example/x.bin",
                                      "https://u@a/x.gguf",
                                      "https://a.example/x.gguf#sha256=12",
                                      "https://a.example/x.gguf#md5=1",
                                      "https:///x.gguf",
                                      "https://a.example/.gguf",
                                      "caf\xc3\xa9",
                                      "https://a.example/.x.gguf",
                                      "hf.co/o/r:a b"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (!CHECK(strcmp(read(bad[i]), "refused") == 0))
            fprintf(stderr, "    '%s' is read as %s\n", bad[i], read(bad[i]));
    char name[STORE_NAME_BYTES];
    CHECK(source_name_here(name, bytes_of("hf.co/Own/Repo:Q8_0"), REGISTRY, HUB));
    CHECK_TEXT(name, "Repo:Q8_0");
    CHECK(!source_name_here(name, bytes_of("llama3.2"), REGISTRY, HUB));
}

// ---- listings -----------------------------------------------------------------------------------

static const char *list(bool is_tree, const char *source_text, const char *json)
{
    static char out[4000];
    struct source source;
    struct err err = {0};
    size_t n = 0, n_out = 0;
    struct source_file *files = calloc(SOURCE_FILES_MOST, sizeof(*files));
    if (source_read(&source, bytes_of(source_text), REGISTRY, HUB, &err) != OK)
        snprintf(out, sizeof(out), "no source: %s", err.text);
    else if ((is_tree ? source_read_tree : source_read_manifest)(&source, bytes_of(json), files, &n,
                                                                 &err) != OK)
        snprintf(out, sizeof(out), "%s: %s", status_name(err.status), err.text);
    else
        for (size_t i = 0; i < n; i++)
            n_out += (size_t)snprintf(out + n_out, sizeof(out) - n_out, "%s%s %s %llu %.4s",
                                      i ? "; " : "", files[i].name, files[i].url,
                                      (unsigned long long)files[i].n_bytes, files[i].sha256);
    free(files);
    return out;
}

// No beginning of a text that is good is good itself, and none breaks anything.
static void cuts(bool is_tree, const char *source_text, const char *json)
{
    char *part = malloc(strlen(json) + 1);
    for (size_t n = 0; n < strlen(json); n++) {
        memcpy(part, json, n);
        part[n] = 0;
        const char *got = list(is_tree, source_text, part);
        CHECK(strstr(got, ": ") && !strstr(got, ".example/v2"));
    }
    free(part);
}

static void manifests(void)
{
#define MODEL "application/vnd.ollama.image.model"
    static const char good[] =
        "{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.template\","
        "\"digest\":\"sha256:x\",\"size\":3},{\"mediaType\":\"" MODEL
        "\",\"digest\":\"sha256:" HEX64 "\",\"size\":123456789012}]}";
    CHECK_TEXT(list(false, "me/model:x", good),
               "model:x registry.example/v2/me/model/blobs/sha256:" HEX64 " 123456789012 0123");
    cuts(false, "me/model:x", good);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"layers\":{}}",
        "{\"layers\":[]}",
        "{\"layers\":[1,null]}",
        "{\"layers\":[{\"mediaType\":\"" MODEL "\"}]}",
        "{\"layers\":[{\"mediaType\":\"" MODEL "\",\"digest\":\"sha256:" HEX64 "\",\"size\":-1}]}",
        "{\"layers\":[{\"mediaType\":\"" MODEL "\",\"digest\":\"sha256:" HEX64 "\"}]}",
        "{\"layers\":[{\"mediaType\":\"" MODEL "\",\"digest\":\"sha256:..\",\"size\":1}]}",
        "{\"layers\":[{\"mediaType\":\"" MODEL "\",\"digest\":\"sha512:" HEX64 "\",\"size\":1}]}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (!CHECK(strstr(list(false, "m", bad[i]), ": ")))
            fprintf(stderr, "    %s\n", bad[i]);
    char two[1000];
    snprintf(two, sizeof(two),
             "{\"layers\":[{\"mediaType\":\"" MODEL "\",\"digest\":\"sha256:" HEX64
             "\",\"size\":1},{\"mediaType\":\"" MODEL "\",\"digest\":\"sha256:" HEX64
             "\",\"size\":1}]}");
    CHECK(strstr(list(false, "m", two), "2 GGUF models"));
}

static void trees(void)
{
#define FILE_(path) "{\"type\":\"file\",\"path\":\"" path "\",\"size\":7," OID "}"
#define OID "\"lfs\":{\"oid\":\"" HEX64 "\"}"
    // clang-format off
    static const char tree[] =
        "[{\"type\":\"directory\",\"path\":\"BF16\"},"
        "{\"type\":\"file\",\"path\":\"README.md\",\"size\":3},"
        FILE_("mmproj-model-f16.gguf") ","
        FILE_("m-Q8_0.gguf") ","
        FILE_("m-Q4_K_M.gguf") ","
        FILE_("m-UD-Q4_K_XL.gguf") ","
        FILE_("BF16/m-BF16-00001-of-00002.gguf") ","
        FILE_("BF16/m-BF16-00002-of-00002.gguf") ","
        FILE_("x y-F16.gguf") "]";
    // clang-format on
    CHECK_TEXT(list(true, "hf.co/o/r", tree),
               "r hub.example:8443/o/r/resolve/main/m-Q4_K_M.gguf 7 0123");
    CHECK_TEXT(list(true, "hf.co/o/r:q8_0", tree),
               "r:q8_0 hub.example:8443/o/r/resolve/main/m-Q8_0.gguf 7 0123");
    CHECK_TEXT(list(true, "hf.co/o/r:Q4_K_XL", tree),
               "r:Q4_K_XL hub.example:8443/o/r/resolve/main/m-UD-Q4_K_XL.gguf 7 0123");
    CHECK_TEXT(
        list(true, "hf.co/o/r:BF16", tree),
        "r:BF16-00001-of-00002 hub.example:8443/o/r/resolve/main/BF16/m-BF16-00001-of-00002.gguf 7 "
        "0123; r:BF16-00002-of-00002 "
        "hub.example:8443/o/r/resolve/main/BF16/m-BF16-00002-of-00002.gguf 7 0123");
    CHECK_TEXT(list(true, "https://hf.co/o/r/blob/main/x%20y-F16.gguf", tree),
               "not found: there is no such file in o/r: there are m-Q8_0, m-Q4_K_M, "
               "m-UD-Q4_K_XL, m-BF16, x y-F16");
    CHECK_TEXT(list(true, "hf.co/o/r:F16", tree),
               "r:F16 hub.example:8443/o/r/resolve/main/x%20y-F16.gguf 7 0123");
    CHECK(strstr(list(true, "hf.co/o/r:Q5_K_M", tree), "there is no Q5_K_M in o/r"));
    CHECK(strstr(list(true, "hf.co/o/r", "[]"), "no GGUF file"));
    CHECK(strstr(list(true, "hf.co/o/r", "[" FILE_("m-Q4_K_M-00001-of-00002.gguf") "]"),
                 "of the 2 parts"));
    CHECK_TEXT(list(true, "hf.co/o/r", "[" FILE_("odd.gguf") "]"),
               "r hub.example:8443/o/r/resolve/main/odd.gguf 7 0123");
    cuts(true, "hf.co/o/r", tree);
    static const char *const bad[] = {"{}", "[1,null,[],{}]", "[{\"type\":\"file\"}]",
                                      "[{\"type\":\"file\",\"path\":5}]", "\"x\""};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(strstr(list(true, "hf.co/o/r", bad[i]), ": "));
}

static const char *challenge(const char *text)
{
    static char url[SOURCE_TEXT_BYTES];
    return source_read_challenge(url, bytes_of(text), NULL) == OK ? url : "refused";
}

static void tokens(void)
{
    CHECK_TEXT(challenge("Bearer realm=\"https://a/t\",service=\"s p\",scope=\"repo:x/y:pull\""),
               "https://a/t?service=s%20p&scope=repo:x/y:pull");
    CHECK_TEXT(challenge("bearer scope=\"z&q\", realm=\"https://a/t?k=1\""),
               "https://a/t?k=1&scope=z%26q");
    CHECK_TEXT(challenge("Basic realm=\"x\""), "refused");
    CHECK_TEXT(challenge("Bearer"), "refused");
    CHECK_TEXT(challenge("Bearer realm=\"open"), "refused");
    CHECK_TEXT(challenge("Bearer xrealm=\"https://a\""), "refused");
    char token[8];
    CHECK(source_read_token(token, sizeof(token), bytes_of("{\"token\":\"abc\"}"), NULL) == OK &&
          strcmp(token, "abc") == 0);
    CHECK(source_read_token(token, sizeof(token), bytes_of("{\"access_token\":\"d\"}"), NULL) ==
          OK);
    static const char *const bad[] = {"", "{}", "{\"token\":\"too long it is\"}",
                                      "{\"token\":\"a\\r\\nb\"}", "{\"token\":5}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(source_read_token(token, sizeof(token), bytes_of(bad[i]), NULL) == BAD_INPUT);
}

int main(void)
{
    sources();
    manifests();
    trees();
    tokens();
    return check_done("api_source");
}
