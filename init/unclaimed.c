/* unclaimed.c - network devices that are there and have no driver, by what /sys says of them.
 *
 * PCI tells by its class: 0200 is Ethernet, 0280 is mostly Wi-Fi. USB tells by an interface's class
 * (communications devices: Ethernet, NCM; RNDIS under its two numbers), but many adapters call
 * themselves vendor-specific: those are known by the words in their product's name.
 */
#include "init.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define NAME 40

struct found {
    char (*out)[REACH_DEVICE];
    int n, most;
};

/* The first line of a small file without its end; "" when there is none. */
static void read_word(const char *dir, const char *file, char out[NAME])
{
    char path[512];

    out[0] = 0;
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) >= sizeof(path) ||
        read_file(path, out, NAME) < 0) {
        return;
    }
    out[strcspn(out, "\n")] = 0;
    for (char *c = out; *c; c++)
        *c = *c < 0x20 || *c > 0x7e || *c == '"' ? '?' : *c; // a device says what it likes
}

static bool has(const char *dir, const char *file)
{
    char path[512];
    struct stat st;

    return (size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) < sizeof(path) &&
           lstat(path, &st) == 0;
}

static void add(struct found *f, const char *text)
{
    for (int i = 0; i < f->n && i < f->most; i++)
        if (strcmp(f->out[i], text) == 0)
            return;
    if (f->n < f->most)
        snprintf(f->out[f->n], REACH_DEVICE, "%s", text);
    f->n++;
}

static void pci_device(struct found *f, const char *dir, const char *slot)
{
    char class[NAME], vendor[NAME], device[NAME], text[REACH_DEVICE];

    read_word(dir, "class", class);
    bool wifi = strncmp(class, "0x0280", 6) == 0;
    if ((strncmp(class, "0x0200", 6) != 0 && !wifi) || has(dir, "driver"))
        return;
    read_word(dir, "vendor", vendor);
    read_word(dir, "device", device);
    snprintf(text, sizeof(text), "a %s (PCI %.4s:%.4s at %.12s)",
             wifi ? "Wi-Fi card" : "network card", strlen(vendor) > 2 ? vendor + 2 : "?",
             strlen(device) > 2 ? device + 2 : "?", slot);
    add(f, text);
}

static bool sounds_like_network(const char *product)
{
    static const char *const words[] = {"ethernet", "lan", "gigabit", "gbe", "network"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t n = strlen(words[i]);
        for (const char *c = product; *c; c++)
            if (strncasecmp(c, words[i], n) == 0)
                return true;
    }
    return false;
}

/* class, subclass, protocol, in hexadecimal digits: "020600". */
static bool is_network(const char *triple, const char *product)
{
    return strncmp(triple, "0206", 4) == 0 || strncmp(triple, "020d", 4) == 0 || // ECM, NCM
           strcmp(triple, "0202ff") == 0 || strcmp(triple, "e00103") == 0 ||     // RNDIS
           strcmp(triple, "ef0401") == 0 ||
           (strncmp(triple, "ff", 2) == 0 && sounds_like_network(product));
}

static void usb_interface(struct found *f, const char *dir, const char *name)
{
    char parent[400], class[NAME], sub[NAME], protocol[NAME], product[NAME], vendor[NAME], id[NAME];
    char triple[8], text[REACH_DEVICE];
    size_t n = strlen(dir) - strlen(name) + strcspn(name, ":");

    if (!strchr(name, ':') || n >= sizeof(parent) || has(dir, "driver"))
        return;
    snprintf(parent, sizeof(parent), "%.*s", (int)n, dir); // "1-2:1.0" belongs to "1-2"
    read_word(dir, "bInterfaceClass", class);
    read_word(dir, "bInterfaceSubClass", sub);
    read_word(dir, "bInterfaceProtocol", protocol);
    read_word(parent, "product", product);
    snprintf(triple, sizeof(triple), "%.2s%.2s%.2s", class, sub, protocol);
    if (!is_network(triple, product))
        return;
    read_word(parent, "idVendor", vendor);
    read_word(parent, "idProduct", id);
    snprintf(text, sizeof(text), "a USB network adapter%s%s%s (%.4s:%.4s)", *product ? " \"" : "",
             product, *product ? "\"" : "", *vendor ? vendor : "?", *id ? id : "?");
    add(f, text);
}

static void each_entry(struct found *f, const char *root, const char *bus,
                       void (*look)(struct found *f, const char *dir, const char *name))
{
    char path[200], dir[400];
    struct dirent **entries;

    snprintf(path, sizeof(path), "%s/sys/bus/%s/devices", root, bus);
    int n = scandir(path, &entries, NULL, alphasort); // the same order each time
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (name[0] != '.' && (size_t)snprintf(dir, sizeof(dir), "%s/%s", path, name) < sizeof(dir))
            look(f, dir, name);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

int unclaimed_nics(const char *root, char out[][REACH_DEVICE], int most)
{
    struct found f = {.out = out, .most = most};

    each_entry(&f, root, "usb", usb_interface); // what was plugged in for this comes first
    each_entry(&f, root, "pci", pci_device);
    return f.n;
}
