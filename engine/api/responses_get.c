// responses_get.c - the responses that are kept: GET and DELETE /v1/responses/ID, and
// GET /v1/responses/ID/input_items.
//
// A response is found with the key that it was asked with. Of its input those items are listed that
// came with its own request; what came before is with the response that previous_response_id names.
#include "responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_LEAST = 1, ITEMS_USUAL = 20, ITEMS_MOST = 100 };

struct target { // of a request: /v1/responses/ID or /v1/responses/ID/REST
    struct bytes id, rest;
};

static struct target target_of(const struct request *request)
{
    struct target target = {path_behind(request, "/v1/responses/"), bytes_of("")};
    const uint8_t *slash = memchr(target.id.p, '/', target.id.n);
    if (slash) {
        const size_t n_id = (size_t)(slash - target.id.p);
        target.rest = (struct bytes){slash + 1, target.id.n - n_id - 1};
        target.id.n = n_id;
    }
    return target;
}

// The value of a parameter of the query, as it was sent; p == NULL: it is not there.
static struct bytes parameter(struct bytes query, const char *name)
{
    const size_t n_name = strlen(name);
    while (query.n > 0) {
        const uint8_t *and = memchr(query.p, '&', query.n);
        const size_t n = and ? (size_t)(and-query.p) : query.n;
        if (n > n_name && memcmp(query.p, name, n_name) == 0 && query.p[n_name] == '=')
            return (struct bytes){query.p + n_name + 1, n - n_name - 1};
        query = (struct bytes){query.p + n + (and!= NULL), query.n - n - (and!= NULL)};
    }
    return (struct bytes){NULL, 0};
}

// ---- the input ------------------------------------------------------------------------------

struct page { // which items of how many, the first of a list being 0
    size_t first, n;
    bool falling; // the last first
};

static void id_of(char out[RESPONSE_ID_BYTES + 16], const struct kept_response *response,
                  yyjson_val *item, size_t at)
{
    const char *id = yyjson_get_str(yyjson_obj_get(item, "id"));
    if (id)
        snprintf(out, RESPONSE_ID_BYTES + 16, "%s", id);
    else
        snprintf(out, RESPONSE_ID_BYTES + 16, "msg_%s_%zu", strchr(response->id, '_') + 1, at);
}

static bool read_page(const struct request *request, struct page *page, struct refusal *refusal)
{
    const struct bytes limit = parameter(request->query, "limit"),
                       order = parameter(request->query, "order");
    page->n = limit.p ? 0 : ITEMS_USUAL;
    for (size_t i = 0; i < limit.n; i++) {
        const bool digit = limit.p[i] >= '0' && limit.p[i] <= '9';
        page->n =
            digit && page->n <= ITEMS_MOST ? 10 * page->n + (limit.p[i] - '0') : SIZE_MAX / 11;
    }
    if (page->n < ITEMS_LEAST || page->n > ITEMS_MOST)
        return refuse(refusal, 400, "invalid_value", "limit",
                      "'limit' must be a whole number from %d to %d.", ITEMS_LEAST, ITEMS_MOST);
    page->falling = !bytes_equal_text(order, "asc");
    if (order.p && page->falling && !bytes_equal_text(order, "desc"))
        return refuse(refusal, 400, "invalid_value", "order", "'order' must be asc or desc.");
    return true;
}

// An item as it was sent, with an id.
static void item_write(struct json *json, const struct kept_response *response, yyjson_val *item,
                       size_t at)
{
    char id[RESPONSE_ID_BYTES + 16];
    size_t n = 0;
    char *text = yyjson_val_write(item, YYJSON_WRITE_NOFLAG, &n);
    if (!text)
        die("out of memory");
    json_object(json, NULL);
    if (!yyjson_obj_get(item, "id")) {
        id_of(id, response, item, at);
        json_string(json, "id", id);
    }
    if (!yyjson_obj_get(item, "type"))
        json_string(json, "type", "message");
    if (n > 2)
        json_splice(json, NULL, (struct bytes){(const uint8_t *)text + 1, n - 2});
    json_end(json);
    free(text);
}

static void page_write(struct json *json, const struct kept_response *response, yyjson_val *items,
                       const struct page *page)
{
    const size_t n_all = yyjson_arr_size(items),
                 n_left = page->first < n_all ? n_all - page->first : 0,
                 n = page->n < n_left ? page->n : n_left;
    char id[2][RESPONSE_ID_BYTES + 16] = {"", ""};
    json_object(json, NULL);
    json_string(json, "object", "list");
    json_array(json, "data");
    for (size_t i = 0; i < n; i++) {
        const size_t at = page->falling ? n_all - 1 - page->first - i : page->first + i;
        yyjson_val *item = yyjson_arr_get(items, at);
        item_write(json, response, item, at);
        id_of(id[i > 0], response, item, at);
        if (i == 0)
            memcpy(id[1], id[0], sizeof(id[0]));
    }
    json_end(json);
    json_string(json, "first_id", id[0]);
    json_string(json, "last_id", id[1]);
    json_bool(json, "has_more", n < n_left);
    json_end(json);
}

// Where the item of that id stands in a list; false: nowhere.
static bool find_item(const struct kept_response *response, yyjson_val *items, struct bytes id,
                      bool falling, size_t *at)
{
    const size_t n = yyjson_arr_size(items);
    for (size_t i = 0; i < n; i++) {
        char name[RESPONSE_ID_BYTES + 16];
        id_of(name, response, yyjson_arr_get(items, i), i);
        if (bytes_equal_text(id, name)) {
            *at = falling ? n - 1 - i : i;
            return true;
        }
    }
    return false;
}

static bool input_items(struct exchange *exchange, const struct request *request,
                        const struct kept_response *response, struct refusal *refusal)
{
    const struct bytes after = parameter(request->query, "after");
    struct page page = {0};
    struct json json;
    size_t at = 0;
    if (!read_page(request, &page, refusal))
        return false;
    yyjson_doc *doc = kept_items_read(response->items->before);
    yyjson_val *items = yyjson_doc_get_root(doc);
    const bool good = !after.p || find_item(response, items, after, page.falling, &at);
    page.first = after.p ? at + 1 : 0;
    if (good) {
        json_init(&json, 2 * (size_t)BODY_BYTES_MOST);
        page_write(&json, response, items, &page);
        json_reply(exchange, 200, &json);
    }
    yyjson_doc_free(doc);
    return good || refuse(refusal, 400, "invalid_value", "after",
                          "'after' must be the id of an item of this response's input.");
}

// ---- the routes -----------------------------------------------------------------------------

static struct kept_response *find(struct api *api, const struct request *request, struct bytes id,
                                  struct refusal *refusal)
{
    struct kept_response *response = kept_find(api->kept, request->who, id);
    if (!response)
        (void)kept_missing(refusal, id, NULL);
    return response;
}

static bool get(struct api *api, struct exchange *exchange, const struct request *request,
                struct refusal *refusal)
{
    const struct target target = target_of(request);
    const bool items = bytes_equal_text(target.rest, "input_items");
    if (target.rest.n > 0 && !items)
        return refuse(refusal, 404, "unknown_url", NULL,
                      "There is nothing at this address; of a response there are /v1/responses/ID "
                      "and /v1/responses/ID/input_items.");
    if (bytes_equal_text(parameter(request->query, "stream"), "true"))
        return refuse(refusal, 400, "unsupported_value", "stream",
                      "'stream' is not supported: a response that is kept is complete.");
    const struct kept_response *response = find(api, request, target.id, refusal);
    if (!response)
        return false;
    if (items)
        return input_items(exchange, request, response, refusal);
    exchange_reply(exchange, 200, "application/json", buf_view(&response->object));
    return true;
}

void responses_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    if (!get(api, exchange, request, &refusal))
        refusal_reply(exchange, &refusal);
}

void responses_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct json json;
    const struct target target = target_of(request);
    if (target.rest.n > 0)
        (void)refuse(&refusal, 404, "unknown_url", NULL,
                     "What can be deleted is a response: /v1/responses/ID.");
    struct kept_response *response =
        target.rest.n > 0 ? NULL : find(api, request, target.id, &refusal);
    if (!response) {
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "id", response->id);
    json_string(&json, "object", "response");
    json_bool(&json, "deleted", true);
    json_end(&json);
    kept_remove(api->kept, response);
    json_reply(exchange, 200, &json);
}
