// node.c - the layers of /dev: is the GPU's render node there, may this process use it, does it
// open.
//
// Three things are told apart that all end in "permission denied": the node's group is not one of
// ours (another number in this container than outside, or a user who was not added to it); the
// group is not mapped into this user namespace at all; the container's manager forbids the device
// (EPERM, not EACCES). For each the lines that mend it are written out with this place's own
// numbers.
#include "inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// The lines that are written when no node is seen name this one, which is nearly always right.
static const char usual_node[] = "/dev/dri/renderD128";

static const char *path_of(const struct walk *walk)
{
    return walk->node ? walk->node->path : usual_node;
}

// The group inside this place that shall own the node: "render" of its /etc/group, else our own.
static uint32_t group_for_node(const struct place *place)
{
    uint32_t gid = place->gid;
    (void)place_group_find(place, "render", &gid);
    return gid;
}

// ---- what the node looks like -------------------------------------------------------------------

static void say_node(const struct walk *walk, const struct drm_node *node, char *out, size_t size)
{
    char group[32];
    put(out, size, "%s (owner %u, group %u", node->path, node->uid, node->gid);
    if (place_group_name(walk->place, node->gid, group) && (group[0] < '0' || group[0] > '9'))
        put(out, size, " %s", group);
    put(out, size, ", mode %04o", node->mode);
    if (node->device)
        put(out, size, ", device %u:%u", node->major, node->minor);
    put(out, size, ")");
}

// ---- how a container gets a device --------------------------------------------------------------

// Does a list of devices forbid the node? An unprivileged container has no such list unless someone
// gives it one, and a single line that allows a device would begin a list that lacks /dev/null.
static bool list_in_force(const struct walk *walk)
{
    bool forbidden = walk->node && walk->node->error == EPERM;
    for (int32_t i = 0; i < walk->device->nodes.n; i++)
        forbidden = forbidden || walk->device->nodes.node[i].error == EPERM;
    return forbidden || !walk->place->mapped_ids;
}

static void lines_lxc(const struct walk *walk, struct doctor_layer *layer)
{
    const struct place *place = walk->place;
    uint32_t gid = group_for_node(place);
    unsigned base = place->n_gid_maps ? place->gid_map[0].outside : 100000;
    unsigned minor = walk->node && walk->node->minor ? walk->node->minor : 128;
    PUT(layer->lines,
        "# Proxmox VE 8.2 or later: /etc/pve/lxc/CTID.conf on the host, then restart the "
        "container\n"
        "dev0: %s,gid=%u\n"
        "# older ones, or LXC alone: instead of that line\n"
        "lxc.mount.entry = %s %s none bind,optional,create=file\n"
        "%slxc.cgroup2.devices.allow = c 226:%u rwm\n",
        path_of(walk), gid, path_of(walk), path_of(walk) + 1,
        list_in_force(walk) ? "" : "# ... and if it is then \"Operation not permitted\": ", minor);
    if (!place->mapped_ids)
        return;
    PUT(layer->lines,
        "# ... and its group, HOSTGID = `stat -c %%g %s` on the host, as %u in here\n"
        "lxc.idmap = u 0 %u 65536\n"
        "lxc.idmap = g 0 %u %u\n"
        "lxc.idmap = g %u HOSTGID 1\n"
        "lxc.idmap = g %u %u %u\n"
        "# ... which /etc/subgid of the host must allow\n"
        "root:HOSTGID:1\n",
        path_of(walk), gid, base, base, gid, gid, gid + 1, base + gid + 1, 65535 - gid);
}

static void lines_docker(const struct walk *walk, struct doctor_layer *layer)
{
    const char *path = path_of(walk);
    char group[48];
    if (walk->node && walk->node->gid != walk->place->overflow_gid)
        snprintf(group, sizeof(group), "%u", walk->node->gid);
    else
        snprintf(group, sizeof(group), "$(stat -c %%g %s)", path);
    PUT(layer->lines,
        "docker run --device %s --group-add %s ...\n"
        "# compose:\n"
        "devices: [\"%s:%s\"]\n"
        "group_add: [\"%s\"]\n",
        path, group, path, path, group[0] == '$' ? "the number that `stat -c %g` prints" : group);
}

static void lines_podman(const struct walk *walk, struct doctor_layer *layer)
{
    PUT(layer->lines,
        "usermod -aG render USER              # on the host: who runs the container; log in again\n"
        "podman run --device %s --group-add keep-groups ...\n",
        path_of(walk));
}

static void lines_kubernetes(const struct walk *walk, struct doctor_layer *layer)
{
    PUT(layer->lines,
        "# with AMD's device plugin in the cluster; in the pod's spec:\n"
        "securityContext: {supplementalGroups: [HOSTGID]}   # `stat -c %%g %s` on "
        "the node\n"
        "containers: [{resources: {limits: {amd.com/gpu: 1}}}]\n",
        path_of(walk));
}

static void lines_nspawn(const struct walk *walk, struct doctor_layer *layer)
{
    PUT(layer->lines,
        "# /etc/systemd/nspawn/NAME.nspawn\n[Files]\nBind=%s\n"
        "# systemctl edit systemd-nspawn@NAME\n[Service]\nDeviceAllow=%s rw\n",
        path_of(walk), path_of(walk));
}

static void lines_container(const struct walk *walk, struct doctor_layer *layer)
{
    switch (walk->place->kind) {
    case PLACE_LXC:
        lines_lxc(walk, layer);
        break;
    case PLACE_DOCKER:
        lines_docker(walk, layer);
        break;
    case PLACE_PODMAN:
        lines_podman(walk, layer);
        break;
    case PLACE_KUBERNETES:
        lines_kubernetes(walk, layer);
        break;
    case PLACE_NSPAWN:
        lines_nspawn(walk, layer);
        break;
    case PLACE_MACHINE:
    case PLACE_CONTAINER:
        PUT(layer->lines, "# Proxmox, LXC\n");
        lines_lxc(walk, layer);
        PUT(layer->lines, "# Docker\n");
        lines_docker(walk, layer);
        break;
    }
}

// ---- the node is there --------------------------------------------------------------------------

void layer_nodes(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "nodes", "Device nodes", false);
    const struct drm_nodes *nodes = &walk->nodes;
    PUT(layer->wanted, "the GPU's render node, /dev/dri/renderD*");
    for (int32_t i = 0; i < nodes->n; i++) {
        PUT(layer->found, "%s", i ? "; " : "");
        say_node(walk, &nodes->node[i], layer->found, sizeof(layer->found));
        if (nodes->node[i].slot[0])
            PUT(layer->found, " of %s", nodes->node[i].slot);
    }
    if (walk->node) {
        layer->state = LAYER_OK;
        return;
    }
    if (nodes->error)
        PUT(layer->found, "/dev/dri cannot be read: %s%s", strerror(nodes->error),
            walk->place->dev ? "" : "; /dev has no devices at all");
    else if (nodes->n == 0)
        PUT(layer->found, "/dev/dri holds no render node (%d card nodes)", (int)nodes->n_cards);
    else
        PUT(layer->found, "; none of them is the GPU's");
    // Where the bus cannot be seen nothing is known before this layer, and both are to be mended.
    if (!walk->pci.error && walk_skips(walk, layer))
        return;
    layer->state = LAYER_REFUSED;
    if (walk->place->kind != PLACE_MACHINE || walk->place->mapped_ids) {
        PUT(layer->todo,
            "The GPU is in the machine; its node has to be handed into this container.");
        lines_container(walk, layer);
    } else if (!walk->place->dev) {
        PUT(layer->todo, "Mount devtmpfs at /dev.");
        PUT(layer->lines,
            "mount -t devtmpfs devtmpfs /dev      # in a chroot DIR: mount --rbind /dev "
            "DIR/dev\n");
    } else if (walk->place->unit[0]) {
        PUT(layer->todo, "If a shell sees the node, the unit hides it.");
        PUT(layer->lines, "# systemctl edit %s\n[Service]\nPrivateDevices=no\nDeviceAllow=%s rw\n",
            walk->place->unit, usual_node);
    } else {
        PUT(layer->todo, "The driver runs without making a node: see what the kernel says.");
        PUT(layer->lines, "dmesg | grep -iE 'amdgpu|drm'\nudevadm trigger --subsystem-match=drm\n");
    }
}

// ---- permission ---------------------------------------------------------------------------------

static void say_us(const struct place *place, char *out, size_t size)
{
    put(out, size, "uid %u with the groups", place->uid);
    for (int32_t i = 0; i < place->n_groups && i < 16; i++)
        put(out, size, " %u", place->group[i]);
}

// What the mode bits give to us: owner, group or others, never a mixture (path_resolution(7)).
static bool mode_allows(const struct place *place, const struct drm_node *node)
{
    unsigned shift = place->uid == node->uid ? 6 : place_in_group(place, node->gid) ? 3 : 0;
    return (node->mode >> shift & 6) == 6;
}

static bool unmapped(const struct place *place, uint32_t gid)
{
    return place->mapped_ids && gid == place->overflow_gid;
}

static void refuse_unmapped(struct walk *walk, struct doctor_layer *layer)
{
    const struct place *place = walk->place;
    const struct id_map *map = &place->gid_map[0];
    PUT(layer->found,
        ": that is the number of a group which is not mapped into this user namespace "
        "(its gid map begins %u %u %u: %u to %u in here are %u to %u outside)",
        map->inside, map->outside, map->count, map->inside, map->inside + map->count - 1,
        map->outside, map->outside + map->count - 1);
    PUT(layer->todo, "Map the host's render group into the container, or give the node a group of "
                     "the container's.");
    lines_container(walk, layer);
}

// The user may be put into the node's group right here: on a machine, and in a container that has a
// system of its own, when the number is the same in it.
static bool joinable(const struct place *place, const char *group)
{
    return place->kind == PLACE_MACHINE ||
           ((place->kind == PLACE_LXC || place->kind == PLACE_NSPAWN) &&
            (strcmp(group, "render") == 0 || strcmp(group, "video") == 0));
}

static void refuse_group(struct walk *walk, struct doctor_layer *layer)
{
    const struct place *place = walk->place;
    char group[32], user[64];
    uint32_t gid = walk->node->gid, render = gid;
    (void)place_group_name(place, gid, group);
    PUT(layer->found, ": the node's group is none of ours");
    if (place_group_find(place, "render", &render) && render != gid)
        PUT(layer->found, " (render is %u in here, and the node has %u)", render, gid);
    if (!joinable(place, group)) {
        PUT(layer->todo,
            "Let this container's processes have the group %u, or give the node one of theirs.",
            gid);
        lines_container(walk, layer);
    } else if (place->unit[0]) {
        PUT(layer->todo, "Add the group to the unit.");
        PUT(layer->lines, "# systemctl edit %s\n[Service]\nSupplementaryGroups=%s\n", place->unit,
            group);
    } else if (place_group_lists_us(place, gid, user)) {
        PUT(layer->found, ", though /etc/group lists %s in it", user);
        PUT(layer->todo, "Log out and in again: groups are taken at login.");
    } else {
        PUT(layer->todo, "Put the user into the group, then log in again (groups are taken at "
                         "login).");
        PUT(layer->lines, "sudo usermod -aG %s %s\n", group, user[0] ? user : "USER");
    }
}

static void refuse_mode(struct walk *walk, struct doctor_layer *layer)
{
    const struct drm_node *node = walk->node;
    char group[32];
    PUT(layer->found, ": its mode %04o lets %s in", node->mode,
        node->mode & 0666 ? "others, but not us," : "nobody");
    PUT(layer->todo, "Give it back the mode that it has on every system, 0660, and see which rule "
                     "of udev took it away.");
    PUT(layer->lines,
        "chmod 0660 %s\n"
        "# to stay: /etc/udev/rules.d/70-render.rules\n"
        "KERNEL==\"renderD*\", SUBSYSTEM==\"drm\", GROUP=\"%s\", MODE=\"0660\"\n",
        node->path, place_group_name(walk->place, node->gid, group));
}

void layer_permission(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "permission", "Permission", false);
    const struct place *place = walk->place;
    const struct drm_node *node = walk->node;
    if (!node) {
        PUT(layer->wanted, "reading and writing the render node");
        (void)walk_skips(walk, layer);
        return;
    }
    PUT(layer->wanted, "reading and writing %s for ", node->path);
    say_us(place, layer->wanted, sizeof(layer->wanted));
    say_node(walk, node, layer->found, sizeof(layer->found));
    bool allowed = mode_allows(place, node);
    layer->state = node->error == 0 ? LAYER_OK : LAYER_REFUSED;
    if (node->error == 0) {
        if (!allowed)
            PUT(layer->found, ": not for us by its mode, but root may");
    } else if ((node->mode & 0060) != 0060 && (node->mode & 0006) != 0006) {
        refuse_mode(walk, layer);
    } else if (unmapped(place, node->gid)) {
        refuse_unmapped(walk, layer);
    } else if (!allowed) {
        refuse_group(walk, layer);
    } else { // the mode lets us in, and yet: layer_open says what else it can be
        layer->state = LAYER_OK;
        PUT(layer->found, ": its mode lets us in");
    }
}

// ---- opening ------------------------------------------------------------------------------------

static void say_error(struct walk *walk, struct doctor_layer *layer, int error)
{
    bool container = walk->place->kind != PLACE_MACHINE || walk->place->mapped_ids;
    PUT(layer->found, "%s does not open: %s", walk->node->path, strerror(error));
    if (error == EPERM && walk->place->unit[0] && !container) {
        PUT(layer->todo, "The unit's device policy forbids it.");
        PUT(layer->lines, "# systemctl edit %s\n[Service]\nDeviceAllow=%s rw\n", walk->place->unit,
            walk->node->path);
    } else if (error == EPERM) {
        PUT(layer->found, "; that is a control group's list of devices, not the node's mode");
        PUT(layer->todo, "Allow the device where the container is configured.");
        lines_container(walk, layer);
    } else if (error == EACCES) {
        PUT(layer->found, ", though its mode lets us in");
        PUT(layer->todo, "Either the file system it lies on is mounted with nodev, or AppArmor or "
                         "SELinux forbids it: hand the node in as a device, not as a file.");
        lines_container(walk, layer);
    } else if (error == ENXIO || error == ENODEV) {
        PUT(layer->found, "; no driver stands behind it");
        PUT(layer->todo, "The node is a leftover or was made by hand: load the driver, or take the "
                         "node away.");
        PUT(layer->lines, "modprobe amdgpu\n");
    } else {
        PUT(layer->todo, "See what the kernel's log says about it.");
    }
}

// virtio-gpu opens on every virtual machine; whether the host lends it a GPU is another question.
static void say_virtio(struct doctor_layer *layer, const struct drm_node *opened)
{
    if (opened->venus) {
        PUT(layer->found, "; the host offers Vulkan through it (Venus)");
        return;
    }
    layer->state = LAYER_NONE;
    PUT(layer->found, ", but the host offers no Vulkan through it (Venus): it is a virtual screen, "
                      "not a GPU");
    PUT(layer->todo, "Let the host share its GPU, or hand one through.");
    PUT(layer->lines, VENUS_LINES);
}

void layer_open(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "open", "Opening", true);
    PUT(layer->wanted, "the render node opens, and the GPU's driver answers");
    if (!walk->node || walk_skips(walk, layer)) {
        (void)walk_skips(walk, layer);
        return;
    }
    const struct drm_node *opened = NULL;
    for (int32_t i = 0; i < walk->device->nodes.n; i++)
        if (strcmp(walk->device->nodes.node[i].path, walk->node->path) == 0)
            opened = &walk->device->nodes.node[i];
    if (!opened) {
        layer->state = LAYER_UNKNOWN;
        PUT(layer->found, "%s has come since: restart to try it", walk->node->path);
    } else if (opened->error) {
        layer->state = LAYER_REFUSED;
        say_error(walk, layer, opened->error);
    } else if (!opened->driver[0]) {
        layer->state = LAYER_NOTE;
        PUT(layer->found, "%s opens, but no graphics driver answers there", opened->path);
    } else {
        layer->state = LAYER_OK;
        PUT(layer->found, "%s opens, %s answers", opened->path, opened->driver);
        if (strcmp(opened->driver, "virtio_gpu") == 0)
            say_virtio(layer, opened);
    }
}
