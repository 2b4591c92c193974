// page_files.c - GET /page/NAME: the files of the start page but its HTML: engine/page/ and the
// libraries it uses, which the build puts into the binary, each as it is and in gzip.
//
// They need no key, as the page itself. A file has a tag (ETag) of its contents: a browser asks
// each time whether its copy is right, and gets 304 when it is, so that after an update of the box
// no page is made of old parts and new ones.
#include "inside.h"

#include <stdio.h>
#include <string.h>

// engine/page/embed.sh
extern const struct page_file {
    const char *name;
    const uint8_t *p;
    uint64_t n;
    const uint8_t *zipped;
    uint64_t n_zipped;
    const char *tag; // of the contents
} page_table[];
extern const uint32_t page_count;

static const struct page_file *find(struct bytes name)
{
    for (uint32_t i = 0; i < page_count; i++)
        if (bytes_equal_text(name, page_table[i].name))
            return &page_table[i];
    return NULL;
}

struct bytes page_file(const char *name)
{
    const struct page_file *file = find(bytes_of(name));
    if (!file)
        die("engine/page/%s is not in this build", name);
    return (struct bytes){file->p, file->n};
}

static const char *type_of(const char *name)
{
    static const char *const types[][2] = {{".css", "text/css; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".svg", "image/svg+xml"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < COUNT_OF(types); i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return NULL; // index.html: only filled in, at /
}

static bool takes_gzip(const struct request *request)
{
    const struct bytes codings = request_header(request, "accept-encoding");
    const uint8_t *at = codings.n ? memmem(codings.p, codings.n, "gzip", 4) : NULL;
    const size_t left = at ? (size_t)(codings.p + codings.n - at) : 0;
    return at && !(left >= 8 && memcmp(at + 4, ";q=0", 4) == 0 && (left == 8 || at[8] != '.'));
}

void page_file_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct page_file *file = find(path_behind(request, "/page/"));
    const char *type = file ? type_of(file->name) : NULL;
    char tag[40];
    (void)api;
    if (!type) {
        exchange_reply(exchange, 404, "text/plain; charset=utf-8",
                       bytes_of("The page has no such file.\n"));
        return;
    }
    const bool zipped = takes_gzip(request);
    snprintf(tag, sizeof(tag), "\"%s%s\"", file->tag, zipped ? "z" : "");
    exchange_reply_header(exchange, "ETag", tag);
    exchange_reply_header(exchange, "Vary", "Accept-Encoding");
    exchange_reply_header(exchange, "Cache-Control", "no-cache");
    if (bytes_equal_text(request_header(request, "if-none-match"), tag)) {
        exchange_reply(exchange, 304, type, (struct bytes){NULL, 0});
        return;
    }
    if (zipped)
        exchange_reply_header(exchange, "Content-Encoding", "gzip");
    exchange_reply(exchange, 200, type,
                   zipped ? (struct bytes){file->zipped, file->n_zipped}
                          : (struct bytes){file->p, file->n});
}
