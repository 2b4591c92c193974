/* cloud.c - what this box takes from the files of a cloud-init disk. Pure.
 *
 *   NoCloud: meta-data (hostname, local-hostname), user-data (#cloud-config: hostname, fqdn, and
 *   `tawny: {api-key: ...}`, which is ours), network-config
 *   ConfigDrive, below openstack/: latest/meta_data.json (hostname, name; network_config names a
 *   file as Debian's /etc/network/interfaces), latest/user_data, latest/network_data.json
 *
 * All else is named as ignored: users, passwords and SSH keys, since nobody can log in here, and
 * what would install or run something. Of several hostnames that of user-data counts.
 */
#include "cloud.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what is left out ---- */

void cloud_ignore(struct cloud *c, const char *file, const char *format, ...)
{
    char what[160], last[64] = "";
    size_t n = strlen(c->ignored);
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    for (char *s = what; *s; s++)
        if ((unsigned char)*s < ' ' || (unsigned char)*s > 126)
            *s = '?';
    for (const char *s = c->ignored, *next; s; s = next ? next + 2 : NULL) {
        snprintf(last, sizeof(last), "%.*s", (int)strcspn(s, ":"), s);
        next = strstr(s, "; ");
    }
    bool same = n && strcmp(last, file) == 0;
    if (n + strlen(file) + strlen(what) + 5 > sizeof(c->ignored)) {
        c->too_long = true;
        return;
    }
    snprintf(c->ignored + n, sizeof(c->ignored) - n, "%s%s%s%s",
             same ? ", "
             : n  ? "; "
                  : "",
             same ? "" : file, same ? "" : ": ", what);
}

void cloud_unknown(struct cloud *c, const char *file, const char *of, const struct node *map,
                   const char *const known[])
{
    for (const struct node *m = map ? map->first : NULL; m; m = m->next) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], m->key) != 0)
            i++;
        if (!known[i])
            cloud_ignore(c, file, "%s%s%.40s", of, of[0] ? " " : "", m->key);
    }
}

/* ---- what is taken ---- */

void cloud_add(struct cloud *c, const char *file, enum static_key key, const char *card,
               const char *value)
{
    struct {
        char *text;
        size_t cap;
    } list = key == STATIC_ADDRESS   ? (__typeof__(list)){c->address, sizeof(c->address)}
             : key == STATIC_GATEWAY ? (__typeof__(list)){c->gateway, sizeof(c->gateway)}
                                     : (__typeof__(list)){c->dns, sizeof(c->dns)};
    struct net_static scratch;
    struct err err;
    char entry[160], whole[1024];
    int n = snprintf(entry, sizeof(entry), "%s%s%s", card, card[0] ? " " : "", value);

    if (n >= (int)sizeof(entry) || strchr(entry, ',') || strchr(entry, '\n') ||
        static_read(&scratch, key, entry, (size_t)n, &err) != OK) {
        cloud_ignore(c, file, "\"%.60s\"", value);
        return;
    }
    n = snprintf(whole, sizeof(whole), "%s%s%s", list.text, list.text[0] ? ", " : "", entry);
    if ((size_t)n >= list.cap || n >= (int)sizeof(whole) ||
        static_read(&scratch, key, whole, (size_t)n, &err) != OK) {
        cloud_ignore(c, file, "\"%.60s\" (more than %d)", value, STATIC_MOST);
        return;
    }
    memcpy(list.text, whole, (size_t)n + 1);
}

/* The first label of a name, over one of a lower level. */
static void take_hostname(struct cloud *c, const char *file, const char *name, int level)
{
    char good[64];

    if (!name[0])
        return;
    if (!conf_hostname(name, strcspn(name, "."), good))
        cloud_ignore(c, file, "the hostname \"%.60s\"", name);
    else if (level > c->level) {
        memcpy(c->hostname, good, sizeof(good));
        c->level = level;
    }
}

bool cloud_key_good(const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return n >= CLOUD_KEY_LEAST && n <= CLOUD_KEY_MOST;
}

static void take_tawny(struct cloud *c, const char *file, const struct node *ours)
{
    static const char *const known[] = {"api-key", NULL};
    const char *key = node_text(ours, "api-key");

    if (key[0] && cloud_key_good(key))
        snprintf(c->api_key, sizeof(c->api_key), "%s", key);
    else if (ours)
        cloud_ignore(c, file, "tawny: api-key, which has %d to %d printable characters",
                     CLOUD_KEY_LEAST, CLOUD_KEY_MOST);
    cloud_unknown(c, file, "tawny:", ours && ours->kind == NODE_MAP ? ours : NULL, known);
}

/* ---- the files ---- */

struct disk {
    const uint8_t *bytes;
    size_t len;
    struct tree *tree;
};

/* False: it is not there, or (named) cannot be read. */
static bool file_of(struct cloud *c, const struct disk *disk, const char *path, struct iso_file *f)
{
    struct err err;
    enum status s = iso_find(f, disk->bytes, disk->len, path, &err);

    if (s != OK && s != NOT_FOUND)
        cloud_ignore(c, path, "%s", err.text);
    return s == OK && f->len > 0;
}

static const struct node *tree_of(struct cloud *c, const struct disk *disk, const char *path)
{
    struct iso_file f;
    struct err err;

    if (!file_of(c, disk, path, &f))
        return NULL;
    if (tree_read(disk->tree, f.bytes, f.len, &err) == OK)
        return disk->tree->node;
    cloud_ignore(c, path, "all of it (%s)", err.text);
    return NULL;
}

static void user_data(struct cloud *c, const struct disk *disk, const char *path)
{
    static const char head[] = "#cloud-config";
    static const char *const known[] = {"hostname", "fqdn", "tawny", NULL};
    struct iso_file f;

    if (!file_of(c, disk, path, &f))
        return;
    if (f.len < sizeof(head) || memcmp(f.bytes, head, sizeof(head) - 1) != 0) {
        cloud_ignore(c, path, "all of it (it does not begin with %s)", head);
        return;
    }
    const struct node *root = tree_of(c, disk, path);
    if (root && root->kind == NODE_MAP) {
        take_hostname(c, path, node_text(root, "fqdn"), 3);
        take_hostname(c, path, node_text(root, "hostname"), 4);
        take_tawny(c, path, node_in(root, "tawny"));
        cloud_unknown(c, path, "", root, known);
    }
}

static void nocloud(struct cloud *c, const struct disk *disk)
{
    static const char *const known[] = {"instance-id", "hostname", "local-hostname", NULL};
    const struct node *root = tree_of(c, disk, "meta-data");

    take_hostname(c, "meta-data", node_text(root, "hostname"), 1);
    take_hostname(c, "meta-data", node_text(root, "local-hostname"), 2);
    if (root && root->kind == NODE_MAP)
        cloud_unknown(c, "meta-data", "", root, known);
    user_data(c, disk, "user-data");
    root = tree_of(c, disk, "network-config");
    if (root)
        cloud_net(c, "network-config", root);
    struct iso_file f;
    if (file_of(c, disk, "vendor-data", &f))
        cloud_ignore(c, "vendor-data", "all of it");
}

static void config_drive(struct cloud *c, const struct disk *disk)
{
    static const char *const known[] = {"uuid", "hostname", "name", "network_config", NULL};
    static const char meta[] = "openstack/latest/meta_data.json";
    static const char net[] = "openstack/latest/network_data.json";
    const struct node *root = tree_of(c, disk, meta);
    char path[64] = "";
    struct iso_file f;

    take_hostname(c, meta, node_text(root, "name"), 1);
    take_hostname(c, meta, node_text(root, "hostname"), 2);
    if (root && root->kind == NODE_MAP)
        cloud_unknown(c, meta, "", root, known);
    const char *content = node_text(node_in(root, "network_config"), "content_path");
    if (strncmp(content, "/content/", 9) == 0)
        snprintf(path, sizeof(path), "openstack%.40s", content);
    user_data(c, disk, "openstack/latest/user_data");
    root = tree_of(c, disk, net);
    if (root)
        cloud_net_data(c, net, root);
    else if (path[0] && file_of(c, disk, path, &f))
        cloud_net_interfaces(c, path, f.bytes, f.len);
}

void cloud_read(struct cloud *c, enum cloud_kind kind, const uint8_t *disk, size_t len,
                struct tree *scratch)
{
    const struct disk d = {disk, len, scratch};

    memset(c, 0, sizeof(*c));
    if (kind == CLOUD_NOCLOUD)
        nocloud(c, &d);
    else if (kind == CLOUD_CONFIG_DRIVE)
        config_drive(c, &d);
}

size_t cloud_lines(const struct cloud *c, char *out, size_t cap)
{
    const struct {
        const char *key, *value;
    } lines[] = {{"hostname", c->hostname},
                 {"address", c->address},
                 {"gateway", c->gateway},
                 {"dns", c->dns}};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (lines[i].value[0] && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s = %s\n", lines[i].key, lines[i].value);
    return n < cap ? n : cap - 1;
}
