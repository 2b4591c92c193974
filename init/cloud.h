/* cloud.h - the disk on which a hypervisor lays settings (cloud-init's NoCloud and ConfigDrive).
 *
 * iso.c finds files in the bytes of an ISO 9660 file system, cloud_yaml.c makes a tree of YAML or
 * JSON, cloud.c takes from the trees what this box has a place for: all pure, and what the unit
 * test and the fuzz target run. cloud_disk.c finds the disk, and has them run in a confined child.
 */
#ifndef INIT_CLOUD_H
#define INIT_CLOUD_H

#include "init.h"

#define CLOUD_DISK_MOST (8 << 20) // bytes of the disk that are read, from its beginning
#define CLOUD_FILE_MOST (64 << 10)
#define CLOUD_TEXT 8192

enum cloud_kind { CLOUD_NONE, CLOUD_NOCLOUD, CLOUD_CONFIG_DRIVE };

/* ---- iso.c ---- */

#define ISO_VOLUME_AT 32768 // where the disk says what it is
#define ISO_VOLUME 2048

/* By the label alone: cidata, config-2. */
enum cloud_kind iso_kind(const uint8_t volume[ISO_VOLUME]);

struct iso_file {
    const uint8_t *bytes; // borrowed from the disk
    size_t len;
};
/* path: "user-data", "openstack/latest/meta_data.json"; by Rock Ridge's names where there are any.
 * NOT_FOUND: there is no such file. BAD_INPUT: the disk is not whole. */
MUST_USE enum status iso_find(struct iso_file *out, const uint8_t *disk, size_t len,
                              const char *path, struct err *err);

/* ---- cloud_yaml.c ---- */

#define TREE_NODES 2048
#define TREE_DEPTH 16

enum node_kind { NODE_TEXT, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    const char *key;  // of a map's member; "" elsewhere
    const char *text; // of a NODE_TEXT; "" elsewhere
    struct node *first, *next;
};

struct tree {
    struct node node[TREE_NODES]; // the root first
    int n;
    char text[CLOUD_FILE_MOST * 2];
    size_t n_text;
};

/* The first document of a text. Aliases, keys that are no texts and zero bytes are refused; of two
 * members of one name the first counts. */
MUST_USE enum status tree_read(struct tree *t, const uint8_t *text, size_t len, struct err *err);
/* A member of a map, or NULL: also when `map` is NULL or none. */
const struct node *node_in(const struct node *map, const char *key);
const char *node_text(const struct node *map, const char *key); // "" when it is no text

/* ---- cloud.c ---- */

#define CLOUD_KEY_LEAST 16 // as the engine takes one (engine/api/key.c)
#define CLOUD_KEY_MOST 128

struct cloud {
    char hostname[64];
    char address[1024], gateway[1024], dns[512]; // as tawny.conf has them; "": not said
    char api_key[CLOUD_KEY_MOST + 1];
    char ignored[2048]; // "user-data: password, users; network-config: eth0 mtu"
    bool too_long;      // more was ignored than that holds
    int level;          // whose hostname it is: cloud.c's own
};

/* Takes what the disk's files say. Never fails: what is wrong is named in c->ignored. */
void cloud_read(struct cloud *c, enum cloud_kind kind, const uint8_t *disk, size_t len,
                struct tree *scratch);
/* The lines of tawny.conf that say the same; returns the length. */
size_t cloud_lines(const struct cloud *c, char *out, size_t cap);
bool cloud_key_good(const char *key);

/* For cloud_net.c: names what is left out; puts an entry, perhaps for a card, into the list of
 * `key`, or names it where it is none. */
void cloud_ignore(struct cloud *c, const char *file, const char *format, ...) PRINTF(3, 4);
void cloud_add(struct cloud *c, const char *file, enum static_key key, const char *card,
               const char *value);
/* The members of a map that `known` (ended by NULL) does not have are named. */
void cloud_unknown(struct cloud *c, const char *file, const char *of, const struct node *map,
                   const char *const known[]);

/* ---- cloud_net.c: the forms in which networks are told; all into *c ---- */

void cloud_net(struct cloud *c, const char *file, const struct node *root);      // version 1 or 2
void cloud_net_data(struct cloud *c, const char *file, const struct node *root); // OpenStack's
/* /etc/network/interfaces */
void cloud_net_interfaces(struct cloud *c, const char *file, const uint8_t *text, size_t len);

/* ---- cloud_disk.c ---- */

void cloud_disk_added(const char *name); // a whole disk, of any kind: "sr0"
/* Whether that disk may hold such settings: none of USB, which anybody can plug in, and none where
 * no hypervisor is. place: of stick_place. */
bool cloud_disk_wanted(const char *name, const char *place, bool in_hypervisor);
/* How many bytes of a list, parted by ", " and "; ", make a line of at most `most`. */
size_t cloud_line_of(const char *list, size_t most);
/* The API key in the engine's folder, of that owner from the first moment that it is there; never
 * over one that is. */
enum cloud_key { CLOUD_KEY_WRITTEN, CLOUD_KEY_THERE, CLOUD_KEY_FAILED };
enum cloud_key cloud_key_write(const char *dir, const char *key, uid_t uid, gid_t gid);
/* OK: what there is has been read. WAIT: it is being read. */
enum status cloud_ready(void);
/* What it says, for the engine: lines of tawny.conf, then perhaps "# ignored: ". */
#define CLOUD_TOLD_DIR "/run/cloud-init"
#define CLOUD_TOLD CLOUD_TOLD_DIR "/tawny.conf"

/* Before tawny.conf, which stands over it: into *c, and CLOUD_TOLD. */
void cloud_apply(struct conf *c);
/* The API key of such a disk becomes the box's where it has none yet; WAIT until that is done. */
enum status cloud_keep_key(const char *state_dir);

#endif
