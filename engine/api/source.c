// source.c - what people write to say where a model is: a registry's NAME:TAG, a hub's OWNER/REPO,
// or the address of a file; and the name that it gets here.
//
//   llama3.2  llama3.2:1b  someone/model:tag  registry.lan:5000/team/model:tag
//   hf.co/OWNER/REPO  hf.co/OWNER/REPO:Q4_K_M  https://HUB/OWNER/REPO/resolve/main/FILE.gguf
//   https://HOST/PATH/FILE.gguf  https://HOST/PATH/FILE.gguf#sha256=HEX
//
// The name here is the last part: NAME, NAME:TAG (not :latest), REPO, REPO:QUANT, FILE. So a client
// that asks for what it had pulled by its long name finds it (source_name_here).
#include "source.h"

#include <stdio.h>
#include <string.h>

static const char *const hub_names[] = {"hf.co", "huggingface.co", "www.huggingface.co"};

static const char WAYS[] = "what can be pulled is NAME:TAG or HOST/NAMESPACE/NAME:TAG of a "
                           "registry, hf.co/OWNER/REPO:QUANT, or https://HOST/PATH/FILE.gguf";

static bool part_good(struct bytes part)
{
    for (size_t i = 0; i < part.n; i++) {
        const uint8_t c = part.p[i], letter = c | 0x20;
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' &&
            c != '-')
            return false;
    }
    return part.n > 0 && part.n < 120 && part.p[0] != '.';
}

static bool take(char *out, size_t size, struct bytes part)
{
    if (part.n >= size)
        return false;
    if (part.n > 0)
        memcpy(out, part.p, part.n);
    out[part.n] = 0;
    return true;
}

// Splits at the slashes; how many parts there are, at most `most`, the last with all the rest.
static size_t split(struct bytes text, struct bytes *parts, size_t most)
{
    size_t n = 0;
    while (n + 1 < most) {
        const uint8_t *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
        if (!slash)
            break;
        const size_t n_part = (size_t)(slash - text.p);
        parts[n++] = (struct bytes){text.p, n_part};
        text = (struct bytes){slash + 1, text.n - n_part - 1};
    }
    parts[n++] = text;
    return n;
}

// NAME:TAG; without one, tag.n == 0.
static void split_tag(struct bytes text, struct bytes *name, struct bytes *tag)
{
    const uint8_t *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    *name = colon ? (struct bytes){text.p, (size_t)(colon - text.p)} : text;
    *tag = colon ? (struct bytes){colon + 1, text.n - name->n - 1} : (struct bytes){NULL, 0};
}

static bool is_hub(struct bytes host, const char *hub)
{
    for (size_t i = 0; i < COUNT_OF(hub_names); i++)
        if (bytes_equal_text(host, hub_names[i]))
            return true;
    return bytes_equal_text(host, hub);
}

static bool name_here(struct source *source, struct bytes base, struct bytes tag)
{
    int n = snprintf(source->name, sizeof(source->name), "%.*s%s%.*s", (int)base.n,
                     (const char *)base.p, tag.n ? ":" : "", (int)tag.n, (const char *)tag.p);
    return n > 0 && (size_t)n < sizeof(source->name) && store_name_good(bytes_of(source->name));
}

// ---- each kind ----------------------------------------------------------------------------------

static bool read_registry(struct source *out, const struct bytes *parts, size_t n,
                          const char *registry)
{
    struct bytes name, tag, space = bytes_of("library");
    const bool has_host =
        n == 3 || (n == 2 && parts[0].n > 0 && memchr(parts[0].p, ':', parts[0].n));
    if (n > 3)
        return false;
    split_tag(parts[n - 1], &name, &tag);
    if (n == 3 || (n == 2 && !has_host))
        space = parts[n - 2];
    if (!part_good(name) || !part_good(space) || (tag.p && !part_good(tag)))
        return false;
    out->kind = SOURCE_REGISTRY;
    const bool latest = !tag.p || bytes_equal_text(tag, "latest");
    int n_path = snprintf(out->path, sizeof(out->path), "%.*s/%.*s", (int)space.n,
                          (const char *)space.p, (int)name.n, (const char *)name.p);
    return n_path > 0 && (size_t)n_path < sizeof(out->path) &&
           take(out->host, sizeof(out->host), has_host ? parts[0] : bytes_of(registry)) &&
           take(out->tag, sizeof(out->tag), tag.p ? tag : bytes_of("latest")) &&
           name_here(out, name, latest ? (struct bytes){NULL, 0} : tag);
}

// OWNER/REPO[:QUANT], or OWNER/REPO/(resolve|blob|tree)/REVISION[/FILE]
static bool read_hub(struct source *out, struct bytes text, const char *hub)
{
    struct bytes parts[5], repo, tag = {NULL, 0};
    const size_t n = split(text, parts, COUNT_OF(parts));
    out->kind = SOURCE_HUB;
    if (n < 2 || n == 3 || !take(out->host, sizeof(out->host), bytes_of(hub)))
        return false;
    split_tag(parts[1], &repo, &tag);
    if (bytes_equal_text(tag, "latest")) // what Ollama's clients write where there is none
        tag = (struct bytes){NULL, 0};
    if (!part_good(parts[0]) || !part_good(repo) || (tag.p && !part_good(tag)))
        return false;
    int n_path = snprintf(out->path, sizeof(out->path), "%.*s/%.*s", (int)parts[0].n,
                          (const char *)parts[0].p, (int)repo.n, (const char *)repo.p);
    if (n_path < 0 || (size_t)n_path >= sizeof(out->path) ||
        !take(out->tag, sizeof(out->tag), tag) ||
        !take(out->revision, sizeof(out->revision), n > 3 ? parts[3] : bytes_of("main")) ||
        !part_good(bytes_of(out->revision)))
        return false;
    if (n < 5)
        return name_here(out, repo, tag);
    struct bytes file = parts[4], base;
    const uint8_t *slash = memrchr(file.p, '/', file.n);
    base = slash ? (struct bytes){slash + 1, file.n - (size_t)(slash + 1 - file.p)} : file;
    if (!bytes_cut_end(&base, ".gguf") || !take(out->file, sizeof(out->file), file))
        return false;
    unsigned no, count;
    const size_t stem = split_stem((const char *)base.p, base.n, &no, &count);
    base.n = stem ? stem : base.n;
    return name_here(out, base, (struct bytes){NULL, 0});
}

static bool read_url(struct source *out, struct bytes text, struct err *err)
{
    static const char digest[] = "sha256=";
    const uint8_t *mark = memchr(text.p, '#', text.n);
    struct bytes url = mark ? (struct bytes){text.p, (size_t)(mark - text.p)} : text,
                 fragment =
                     mark ? (struct bytes){mark + 1, text.n - url.n - 1} : (struct bytes){NULL, 0};
    out->kind = SOURCE_URL;
    if (!take(out->url, sizeof(out->url), url) || net_url_good(out->url, err) != OK)
        return false;
    const size_t n = sizeof(digest) - 1;
    if (fragment.n > 0 &&
        (fragment.n <= n || memcmp(fragment.p, digest, n) != 0 ||
         !sha256_read(out->sha256, (struct bytes){fragment.p + n, fragment.n - n}))) {
        (void)err_set(err, BAD_INPUT, "behind # stands what is not sha256= and 64 digits");
        return false;
    }
    const uint8_t *query = memchr(url.p, '?', url.n);
    struct bytes path = query ? (struct bytes){url.p, (size_t)(query - url.p)} : url, base;
    const uint8_t *slash = memrchr(path.p, '/', path.n);
    base = (struct bytes){slash + 1, path.n - (size_t)(slash + 1 - path.p)};
    if (!bytes_cut_end(&base, ".gguf")) {
        (void)err_set(err, BAD_INPUT, "the address does not end in .gguf");
        return false;
    }
    return name_here(out, base, (struct bytes){NULL, 0});
}

// The host of an address, and what comes behind it and a slash.
static bool split_url(struct bytes text, struct bytes *host, struct bytes *rest)
{
    struct bytes parts[4];
    if (text.n < 8 || (memcmp(text.p, "https://", 8) != 0 && memcmp(text.p, "http://", 7) != 0))
        return false;
    const uint8_t *mark = memchr(text.p, '?', text.n); // ?download=true
    if (mark)
        text.n = (size_t)(mark - text.p);
    if (split(text, parts, COUNT_OF(parts)) < 4)
        return false;
    *host = parts[2];
    *rest = parts[3];
    return true;
}

static bool read_any(struct source *out, struct bytes text, const char *registry, const char *hub,
                     struct err *err)
{
    struct bytes parts[4], host, rest;
    if (memmem(text.p, text.n, "://", 3)) {
        if (split_url(text, &host, &rest) && is_hub(host, hub) && !memchr(text.p, '#', text.n) &&
            read_hub(out, rest, hub))
            return true;
        *out = (struct source){.kind = SOURCE_URL};
        return read_url(out, text, err);
    }
    const size_t n = split(text, parts, COUNT_OF(parts));
    if (n >= 2 && is_hub(parts[0], hub)) {
        const size_t n_host = parts[0].n + 1;
        return read_hub(out, (struct bytes){text.p + n_host, text.n - n_host}, hub);
    }
    return read_registry(out, parts, n, registry);
}

enum status source_read(struct source *out, struct bytes text, const char *registry,
                        const char *hub, struct err *err)
{
    char shown[NAME_TEXT];
    struct source source = {0};
    struct err why = {0};
    if (text.n >= SOURCE_PULL_BYTES)
        return err_set(err, TOO_LARGE, "a source of %zu bytes is too long", text.n);
    if (text.n > 0 && !memchr(text.p, 0, text.n) && read_any(&source, text, registry, hub, &why)) {
        *out = source;
        return OK;
    }
    if (why.text[0])
        return err_set(err, BAD_INPUT, "'%s' cannot be pulled: %s", name_text(shown, text),
                       why.text);
    return err_set(err, BAD_INPUT, "'%s' cannot be pulled: %s", name_text(shown, text), WAYS);
}

bool source_name_here(char out[STORE_NAME_BYTES], struct bytes text, const char *registry,
                      const char *hub)
{
    struct source source;
    if (text.n == 0 || text.n >= SOURCE_TEXT_BYTES || !memchr(text.p, '/', text.n) || !registry ||
        !hub || source_read(&source, text, registry, hub, NULL) != OK)
        return false;
    snprintf(out, STORE_NAME_BYTES, "%s", source.name);
    return true;
}
