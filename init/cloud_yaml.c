/* cloud_yaml.c - a tree of YAML or JSON (of which every text is YAML), out of libyaml's events.
 * Pure, but for libyaml's memory.
 *
 * The tree has room for TREE_NODES nodes and TREE_DEPTH levels; what has more is refused as a
 * whole. Aliases are refused too: with them a small text is a large tree. What a person would get
 * wrong: all scalars are texts, also true and 12.
 */
#include "cloud.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct level {
    struct node *node;  // a list or a map
    struct node **next; // where its next member goes
    const char *key;    // of a map: whose value comes; NULL: a key comes
};

struct builder {
    struct tree *tree;
    struct level level[TREE_DEPTH];
    int depth;
};

static const char *keep(struct tree *t, const char *text, size_t len)
{
    if (len >= sizeof(t->text) - t->n_text || memchr(text, 0, len))
        return NULL;
    char *at = t->text + t->n_text;
    memcpy(at, text, len);
    at[len] = 0;
    t->n_text += len + 1;
    return at;
}

/* A new node in its place; NULL: there is no room, or no place. */
static struct node *place(struct builder *b, enum node_kind kind)
{
    struct level *at = b->depth ? &b->level[b->depth - 1] : NULL;

    if (b->tree->n == TREE_NODES || (!at && b->tree->n > 0))
        return NULL;
    struct node *node = &b->tree->node[b->tree->n++];
    *node = (struct node){.kind = kind, .key = "", .text = ""};
    if (!at)
        return node;
    if (at->node->kind == NODE_MAP) {
        if (!at->key)
            return NULL;
        node->key = at->key;
        at->key = NULL;
    }
    *at->next = node;
    at->next = &node->next;
    return node;
}

static bool begin(struct builder *b, enum node_kind kind)
{
    struct node *node = b->depth < TREE_DEPTH ? place(b, kind) : NULL;

    if (node)
        b->level[b->depth++] = (struct level){.node = node, .next = &node->first};
    return node != NULL;
}

static bool scalar(struct builder *b, const yaml_event_t *event)
{
    struct level *at = b->depth ? &b->level[b->depth - 1] : NULL;
    const char *text =
        keep(b->tree, (const char *)event->data.scalar.value, event->data.scalar.length);

    if (text && at && at->node->kind == NODE_MAP && !at->key) {
        at->key = text;
        return true;
    }
    struct node *node = text ? place(b, NODE_TEXT) : NULL;
    if (node)
        node->text = text;
    return node != NULL;
}

/* False: the event has no place in a tree. *done: the document is over. */
static bool take(struct builder *b, const yaml_event_t *event, bool *done)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return begin(b, NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return begin(b, NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return true;
    case YAML_DOCUMENT_END_EVENT:
    case YAML_STREAM_END_EVENT:
        *done = true;
        return true;
    case YAML_ALIAS_EVENT:
        return false;
    default:
        return true;
    }
}

enum status tree_read(struct tree *t, const uint8_t *text, size_t len, struct err *err)
{
    struct builder b = {.tree = t};
    yaml_parser_t parser;
    yaml_event_t event;
    enum status s = OK;

    t->n = 0;
    t->n_text = 0;
    if (len > CLOUD_FILE_MOST || !yaml_parser_initialize(&parser))
        return err_set(err, BAD_INPUT, "it is too long");
    yaml_parser_set_input_string(&parser, text, len);
    for (bool done = false; s == OK && !done;) {
        if (!yaml_parser_parse(&parser, &event)) {
            s = err_set(err, BAD_INPUT, "line %zu: it is no YAML: %s", parser.problem_mark.line + 1,
                        parser.problem ? parser.problem : "");
            break;
        }
        if (!take(&b, &event, &done)) {
            s = err_set(err, BAD_INPUT,
                        "line %zu: it has more parts or levels than are read, an alias, a zero "
                        "byte or a key that is no text",
                        event.start_mark.line + 1);
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (s == OK && t->n == 0)
        s = err_set(err, BAD_INPUT, "it is empty");
    return s;
}

const struct node *node_in(const struct node *map, const char *key)
{
    const struct node *n = map && map->kind == NODE_MAP ? map->first : NULL;

    while (n && strcmp(n->key, key) != 0)
        n = n->next;
    return n;
}

const char *node_text(const struct node *map, const char *key)
{
    const struct node *n = node_in(map, key);

    return n && n->kind == NODE_TEXT ? n->text : "";
}
