/* init_update.c - bundles, the parts of a UKI, and slots: installed, tried, confirmed, given up,
 * and the power cut at every write.
 *
 * The oracle of header and signature is openssl: `vector` is what boot/bundle.py made with the key
 * below (its signature by `openssl pkeyutl`), of a UKI of 100,000 zeros. Slots lie in a folder of
 * /tmp instead of an ESP; that sectors are whole and names are not is for tests/boot/update.py.
 */
#include "../../init/update.h"
#include "check.h"

#include <bearssl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char vector[] = "5441574e595550440100000001000000803bb16a00000000a0860100000000009192c"
                             "25b734fcbadbe32dadc28089c60"
                             "db0e39f90cc20ce2e5733f57261acc0c76312e322d332d67616263646566000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "000000000000000000000000000000000000000000000000000000000000000000000"
                             "000000000000000000000000000"
                             "00000000000000000000000000000000194b35b29265e6bcef162fee78755adbe27fc"
                             "b46754f9be56e41da9fa367a732"
                             "7a676c6a692b264e2c3fb109a29efc568cf42630b7c4a8d04965f35c857f4699";

static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                          "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJcIO6Lu+dl9vxQHQQSzoTJaX0Gcu\n"
                          "xQRJ1d98ngAUXR9AOQSMCN+wau1bLSCqPZ2CsXrk5WFlSegFCls9n4JwtQ==\n"
                          "-----END PUBLIC KEY-----\n";
static const char other_pem[] =
    "-----BEGIN PUBLIC KEY-----\r\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWcNgzsE2R3nhQhELC2FzJJw6Fq0G\r\n"
    "nZajI5KebiP+A1xT7q7Whoxu33pw7zCGIuZxHACeohE6Y36JY5u6BpSDsg==\r\n"
    "-----END PUBLIC KEY-----\r\n";
static const char private_hex[] =
    "99ec8dfc2dd905fbac4795b936c2639a89acf7c700d85d8f8e17535207d19def";

enum { N_LINUX = 40000, N_INITRD = 50000, N_UKI = 1024 + 512 + 40448 + 50176 };
static const char cmdline[] = "console=tty0 panic=10";
static char root[64];
static struct update_key keys[2];
static int64_t may_write = INT64_MAX; // bytes until the power fails

/* In place of libc's: what is written behind the cut is lost; what lies in a sector is not torn. */
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    size_t now = (int64_t)n < may_write ? n : n <= ENV_BYTES ? 0 : (size_t)may_write;
    if (may_write != INT64_MAX)
        may_write -= (int64_t)now;
    ssize_t r = now ? syscall(SYS_pwrite64, fd, buf, now, at) : 0;
    return now == n ? r : -1;
}

static void unhex(const char *hex, uint8_t *out)
{
    for (size_t i = 0; hex[2 * i]; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/* ---- the header ---- */

static void check_header(void)
{
    uint8_t head[BUNDLE_HEADER];
    struct bundle b;
    struct err err = {""};
    const char *whose = "";

    unhex(vector, head);
    CHECK(bundle_read(&b, head, 100512, &err) == OK);
    CHECK_TEXT(b.version, "v1.2-3-gabcdef");
    CHECK(b.built == 1790000000 && b.n_uki == 100000 && b.data_format == 1);
    CHECK(bundle_verify(&b, keys, 1, &whose, &err) == OK);
    CHECK_TEXT(whose, "first");
    CHECK(bundle_verify(&b, keys + 1, 1, &whose, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "the update is signed by none of the 1 keys that this box trusts, or was "
                         "changed after it was signed");
    CHECK(bundle_verify(&b, keys, 0, &whose, &err) == UNSUPPORTED);
    CHECK(bundle_verify(&b, (struct update_key[]){keys[1], keys[0]}, 2, &whose, &err) == OK);
    for (uint64_t n = 0; n < 100600; n++) // every length but the right one
        if (n != 100512 && bundle_read(&b, head, n, &err) == OK)
            CHECK(!"a wrong length is taken");
    for (size_t i = 0; i < sizeof(head); i++) { // any changed byte
        head[i] ^= 1;
        if (bundle_read(&b, head, 100512, &err) == OK &&
            bundle_verify(&b, keys, 2, &whose, &err) == OK)
            CHECK(!"a changed byte is taken");
        head[i] ^= 1;
    }
    head[8] = 2;
    CHECK(bundle_read(&b, head, 100512, &err) == UNSUPPORTED);
    CHECK_TEXT(err.text, "the update is laid out in a way (2) that this version does not know (it "
                         "knows 1): write the image to the disk instead");
}

static void check_keys(void)
{
    struct update_key key;
    struct err err = {""};
    char text[sizeof(pem)];
    size_t n = sizeof(pem) - 1;

    CHECK(key_read(&keys[0], pem, n, &err) == OK);
    CHECK(key_read(&keys[1], other_pem, sizeof(other_pem) - 1, &err) == OK);
    CHECK(keys[0].point[0] == 4 && keys[0].point[1] == 0x25 && keys[0].point[64] == 0xb5);
    keys[0].whose = "first";
    keys[1].whose = "second";
    for (size_t i = 0; i < n - 30; i++) // cut anywhere before the end of its digits
        if (key_read(&key, pem, i, &err) == OK)
            CHECK(!"half a key is taken");
    memcpy(text, pem, sizeof(text));
    text[30] = '!';
    CHECK(key_read(&key, text, n, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "it is no public key of ECDSA P-256 as `openssl ec -pubout` writes it");
}

/* ---- a bundle of our own ---- */

static void section(uint8_t *at, const char *name, uint32_t n, uint32_t n_file, uint32_t where)
{
    memcpy(at, name, strlen(name));
    le_put(at + 8, 4, n);
    le_put(at + 16, 4, n_file);
    le_put(at + 20, 4, where);
}

static void make_uki(uint8_t uki[N_UKI], uint8_t fill)
{
    memset(uki, 0, N_UKI);
    memcpy(uki, "MZ", 2);
    le_put(uki + 60, 4, 128);
    memcpy(uki + 128, "PE\0\0", 4);
    le_put(uki + 134, 2, 4);
    le_put(uki + 148, 2, 240);
    section(uki + 392, ".text", 16, 512, 512);
    section(uki + 432, ".cmdline", sizeof(cmdline) - 1, 512, 1024);
    section(uki + 472, ".linux", N_LINUX, 40448, 1536);
    section(uki + 512, ".initrd", N_INITRD, 50176, 1536 + 40448);
    memcpy(uki + 1024, cmdline, sizeof(cmdline) - 1);
    for (int i = 0; i < N_LINUX + 448 + N_INITRD; i++)
        uki[1536 + i] = (uint8_t)(i * 7 + i / 251 + fill);
}

static void seal(uint8_t *head)
{
    uint8_t x[32], digest[32];
    br_ec_private_key key = {.curve = BR_EC_secp256r1, .x = x, .xlen = sizeof(x)};
    br_sha256_context hash;

    unhex(private_hex, x);
    br_sha256_init(&hash);
    br_sha256_update(&hash, head, 448);
    br_sha256_out(&hash, digest);
    CHECK(br_ecdsa_i31_sign_raw(&br_ec_p256_m31, &br_sha256_vtable, digest, &key, head + 448) ==
          64);
}

static uint8_t file[BUNDLE_HEADER + N_UKI];

static void make_bundle(const char *version, uint64_t built, uint8_t fill)
{
    br_sha256_context hash;

    memset(file, 0, BUNDLE_HEADER);
    make_uki(file + BUNDLE_HEADER, fill);
    memcpy(file, "TAWNYUPD", 8);
    le_put(file + 8, 4, 1);
    le_put(file + 12, 4, DATA_FORMAT);
    le_put(file + 16, 8, built);
    le_put(file + 24, 8, N_UKI);
    br_sha256_init(&hash);
    br_sha256_update(&hash, file + BUNDLE_HEADER, N_UKI);
    br_sha256_out(&hash, file + 32);
    memcpy(file + 64, version, strlen(version));
    seal(file);
}

static int bundle_fd(size_t n)
{
    char path[128];
    snprintf(path, sizeof(path), "%s.bundle", root);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && syscall(SYS_pwrite64, fd, file, n, 0) == (ssize_t)n);
    unlink(path);
    return fd;
}

/* ---- an ESP ---- */

static void put(const char *below, const void *bytes, size_t n)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", root, below);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static bool is_there(const char *below)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", root, below);
    return access(path, F_OK) == 0;
}

static void fresh(void)
{
    static const char *const folders[] = {"",      "EFI",     "EFI/Linux", "grub",
                                          "tawny", "tawny/1", "loader"};
    char path[160], block[ENV_BYTES];
    uint8_t *uki = malloc(N_UKI);

    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, folders[i]);
        mkdir(path, 0755);
    }
    env_write(&(struct env){.good = 1}, block);
    put("grub/grubenv", block, sizeof(block));
    make_uki(uki, 1);
    put("EFI/Linux/tawny-1.efi", uki, N_UKI);
    free(uki);
    put("tawny/1/about", "version=one\nbuilt=1000\n", 23);
    put("tawny/1/linux", "L", 1);
    put("tawny/1/initrd", "I", 1);
}

static void clear(void)
{
    static const char *const names[] = {"EFI/Linux",          "tawny",  "grub", "EFI",
                                        "loader/credentials", "loader", ""};
    static const char *const credentials[] = {DISK_CREDENTIAL, TRIAL_CREDENTIAL};
    char path[200];
    for (int n = 1; n < 9; n++) {
        static const char *const ukis[] = {"EFI/Linux/tawny-%d.efi", "EFI/Linux/tawny-%d+1.efi",
                                           "EFI/Linux/tawny-%d+0-1.efi"};
        static const char *const parts[] = {"linux", "initrd", "env", "about", "."};
        for (size_t i = 0; i < 3; i++) {
            char below[64];
            snprintf(below, sizeof(below), ukis[i], n);
            snprintf(path, sizeof(path), "%s/%s", root, below);
            unlink(path);
        }
        for (size_t i = 0; i < 4; i++) {
            snprintf(path, sizeof(path), "%s/tawny/%d/%s", root, n, parts[i]);
            unlink(path);
        }
        snprintf(path, sizeof(path), "%s/tawny/%d", root, n);
        rmdir(path);
    }
    snprintf(path, sizeof(path), "%s/grub/grubenv", root);
    unlink(path);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/loader/credentials/%s", root, credentials[i]);
        unlink(path);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, names[i]);
        rmdir(path);
    }
}

static const struct release one = {"one", 1000}, two = {"two", 2000};

static struct slots read_as(const struct release *mine)
{
    struct slots s;
    struct err err = {""};
    CHECK(slots_read(&s, root, mine, &err) == OK);
    return s;
}

static enum status install(struct slots *s, size_t n_file, bool may_be_older, struct err *err)
{
    const struct install how = {
        .root = root, .keys = keys, .n_keys = 2, .may_be_older = may_be_older};
    struct bundle b;
    int fd = bundle_fd(n_file);
    enum status status = install_bundle(s, &how, fd, &b, err);
    close(fd);
    return status;
}

static bool good_is_whole(void)
{
    char text[64];
    char path[160];
    struct stat st;
    snprintf(path, sizeof(path), "%s/EFI/Linux/tawny-1.efi", root);
    bool whole = stat(path, &st) == 0 && st.st_size == N_UKI;
    snprintf(path, sizeof(path), "%s/tawny/1/about", root);
    return whole && is_there("tawny/1/linux") && is_there("tawny/1/initrd") &&
           read_file(path, text, sizeof(text)) == 23;
}

/* What the system of that release hears of the loader when it is started now. */
static bool told(const struct release *r)
{
    char path[160], text[256] = "";

    snprintf(path, sizeof(path), "%s/loader/credentials/%s", root, TRIAL_CREDENTIAL);
    (void)read_file(path, text, sizeof(text));
    return trial_told(text, "", r);
}

static void check_life(void)
{
    struct err err = {""};
    char path[160], text[5000];

    fresh();
    struct slots s = read_as(&one);
    CHECK(s.n_slots == 1 && s.running == 1 && s.env.good == 1);
    CHECK(slots_state(&s, true) == UPDATE_NONE && slots_state(&s, false) == UPDATE_NONE);
    make_bundle("two", 2000, 2);
    CHECK(install(&s, sizeof(file), false, &err) == OK);
    s = read_as(&one);
    CHECK(s.n_slots == 2 && s.running == 1 && s.env.trial == 2 && s.env.last == 2);
    CHECK(slots_state(&s, true) == UPDATE_VERIFIED && slots_state(&s, false) == UPDATE_VERIFIED);
    CHECK(is_there("EFI/Linux/tawny-2+1.efi") && good_is_whole());
    snprintf(path, sizeof(path), "%s/tawny/2/env", root);
    CHECK(read_file(path, text, sizeof(text)) == 4096);
    text[60] = 0;
    CHECK_TEXT(text, "# GRUB Environment Block\ncmdline=console=tty0 panic=10\n#####");
    snprintf(path, sizeof(path), "%s/tawny/2/linux", root);
    struct stat st;
    CHECK(stat(path, &st) == 0 && st.st_size == N_LINUX);
    // it is tried: by UEFI, whose loader counted
    s = read_as(&two);
    CHECK(s.running == 2 && slots_state(&s, true) == UPDATE_TRYING);
    CHECK(slots_use_up(&s, 2, &err) == OK && is_there("EFI/Linux/tawny-2+0-1.efi"));
    CHECK(told(&two) && !told(&one));
    CHECK(slots_confirm(&s, &err) == OK && is_there("EFI/Linux/tawny-2.efi"));
    CHECK(!told(&two) && !told(&(struct release){"", 0}));
    s = read_as(&two);
    CHECK(s.env.good == 2 && s.env.trial == 0 && slots_state(&s, true) == UPDATE_CONFIRMED);
    CHECK(slots_state(&s, false) == UPDATE_CONFIRMED && s.n_slots == 2);
    // the next one takes the place of the first, and is given up
    make_bundle("three", 3000, 3);
    CHECK(install(&s, sizeof(file), false, &err) == OK);
    CHECK(!is_there("EFI/Linux/tawny-1.efi") && !is_there("tawny/1"));
    s = read_as(&(struct release){"three", 3000});
    CHECK(s.running == 3 && slots_state(&s, false) == UPDATE_TRYING);
    CHECK(told(&(struct release){"three", 3000}));
    CHECK(slots_give_up(&s, "its engine\nrefused the model", &err) == OK);
    CHECK(!told(&(struct release){"three", 3000}));
    s = read_as(&two);
    CHECK(s.running == 2 && s.env.good == 2 && is_there("EFI/Linux/tawny-3+0-1.efi"));
    CHECK(slots_state(&s, true) == UPDATE_WENT_BACK && slots_state(&s, false) == UPDATE_WENT_BACK);
    CHECK_TEXT(s.env.why, "its engine refused the model");
    // and the one behind that has a new number
    make_bundle("four", 4000, 4);
    CHECK(install(&s, sizeof(file), false, &err) == OK && is_there("EFI/Linux/tawny-4+1.efi"));
    CHECK(!is_there("tawny/3/about"));
    clear();
}

static void refused(struct slots *s, size_t n, const char *why)
{
    struct err err = {""};
    CHECK(install(s, n, false, &err) != OK);
    CHECK_TEXT(err.text, why);
    CHECK(good_is_whole() && !is_there("EFI/Linux/tawny-2+1.efi") && s->env.trial == 0);
}

/* The trial's slot is used up and its reason written whatever else cannot be; and whether the next
 * start tries it again is known by its name alone. */
static void check_half_given_up(void)
{
    const struct release other = {"two", 2001};
    struct err err = {""};
    char path[160], blocked[160];

    fresh();
    struct slots s = read_as(&one);
    make_bundle("two", 2000, 2);
    CHECK(install(&s, sizeof(file), false, &err) == OK);
    CHECK(told(&two) && !told(&other));
    s = read_as(&two);
    CHECK(!slots_used_up(&s, 2) && !slots_used_up(&s, 1) && slots_used_up(&s, 7));
    snprintf(path, sizeof(path), "%s/loader/credentials/%s", root, TRIAL_CREDENTIAL);
    CHECK(unlink(path) == 0 && mkdir(path, 0755) == 0); // not to be written
    CHECK(slots_give_up(&s, "no model", &err) == IO_ERROR);
    CHECK(strstr(err.text, TRIAL_CREDENTIAL) != NULL);
    CHECK(is_there("EFI/Linux/tawny-2+0-1.efi") && slots_used_up(&s, 2));
    s = read_as(&two);
    CHECK_TEXT(s.env.why, "no model");
    CHECK(slots_used_up(&s, 2) && s.env.trial == 0);
    rmdir(path);
    clear();
    // nor can the name be changed: the first failure is told, the rest is done
    fresh();
    s = read_as(&one);
    CHECK(install(&s, sizeof(file), false, &err) == OK);
    s = read_as(&two);
    snprintf(blocked, sizeof(blocked), "%s/EFI/Linux/tawny-2+0-1.efi", root);
    CHECK(mkdir(blocked, 0755) == 0);
    CHECK(slots_give_up(&s, "no model", &err) == IO_ERROR && !slots_used_up(&s, 2));
    CHECK(strstr(err.text, "tawny-2+0-1.efi") != NULL && !told(&two));
    rmdir(blocked);
    s = read_as(&two);
    CHECK_TEXT(s.env.why, "no model");
    clear();
}

static void check_refused(void)
{
    struct err err = {""};
    fresh();
    struct slots s = read_as(&one);
    make_bundle("two", 2000, 2);
    refused(&s, 300,
            "this is no update: the file does not begin with TAWNYUPD and a header of 512 "
            "bytes");
    refused(&s, sizeof(file) - 1,
            "the update has 92671 bytes and should have 92672: it was cut off or added to");
    file[BUNDLE_HEADER + 30000] ^= 1;
    refused(&s, sizeof(file),
            "the update was changed after it was signed: its SHA-256 is not the "
            "one in its header");
    make_bundle("one", 1000, 1);
    refused(&s, sizeof(file), "version one runs already");
    make_bundle("zero", 999, 1);
    refused(&s, sizeof(file),
            "version zero is older than one, which runs: to go back to it, say "
            "that an older one is wanted");
    make_bundle("two", 2000, 2);
    memset(file + BUNDLE_HEADER + 128, 0, 4);
    br_sha256_context hash;
    br_sha256_init(&hash);
    br_sha256_update(&hash, file + BUNDLE_HEADER, N_UKI);
    br_sha256_out(&hash, file + 32);
    seal(file);
    refused(&s, sizeof(file), "the update's system is no program for UEFI");
    CHECK(!is_there("tawny/2") && s.n_slots == 1);
    make_bundle("zero", 999, 1);
    CHECK(install(&s, sizeof(file), true, &err) == OK);
    s = read_as(&one);
    CHECK(slots_state(&s, true) == UPDATE_VERIFIED);
    s = read_as(
        &(struct release){"zero", 999}); // it runs, and nothing is replaced before it is good
    CHECK(slots_state(&s, true) == UPDATE_TRYING);
    make_bundle("two", 2000, 2);
    CHECK(install(&s, sizeof(file), false, &err) != OK && is_there("EFI/Linux/tawny-2+1.efi"));
    clear();
}

/* Whatever is lost behind a moment of the writing: the good slot is whole, the other is to be tried
 * with all its parts or not at all, and the next installation works. */
static void check_cuts(void)
{
    struct err err = {""};
    int n_verified = 0;

    make_bundle("two", 2000, 2);
    for (int64_t cut = 0; cut < 2 * N_UKI + 10000; cut += 1481) {
        fresh();
        struct slots s = read_as(&one);
        may_write = cut;
        (void)install(&s, sizeof(file), false, &err);
        may_write = INT64_MAX;
        s = read_as(&one);
        enum update_state uefi = slots_state(&s, true), bios = slots_state(&s, false);
        CHECK(good_is_whole() && s.running == 1 && s.env.good == 1);
        CHECK(uefi == UPDATE_NONE || uefi == UPDATE_VERIFIED);
        CHECK(bios == UPDATE_NONE || uefi == UPDATE_VERIFIED);
        n_verified += uefi == UPDATE_VERIFIED;
        if (uefi == UPDATE_VERIFIED)
            CHECK(is_there("tawny/2/linux") && is_there("tawny/2/initrd") &&
                  is_there("tawny/2/env") && is_there("tawny/2/about"));
        CHECK(install(&s, sizeof(file), false, &err) == OK);
        clear();
    }
    CHECK(n_verified > 0);
}

/* As a cut of the power leaves it: half a UKI under its name, and parts of the slot. */
static void check_half(void)
{
    static const uint8_t empty[4096];
    struct err err = {""};
    char path[160];

    fresh();
    put("EFI/Linux/tawny-2+1.efi", empty, sizeof(empty));
    snprintf(path, sizeof(path), "%s/tawny/2", root);
    mkdir(path, 0755);
    put("tawny/2/linux", "half", 4);
    struct slots s = read_as(&one);
    CHECK(slots_state(&s, true) == UPDATE_NONE && s.running == 1);
    make_bundle("two", 2000, 2);
    CHECK(install(&s, sizeof(file), false, &err) == OK);
    s = read_as(&one);
    CHECK(slots_state(&s, true) == UPDATE_VERIFIED && s.n_slots == 2);
    // a trial whose file a firmware lost
    snprintf(path, sizeof(path), "%s/EFI/Linux/tawny-%d+1.efi", root, s.env.last);
    unlink(path);
    s = read_as(&one);
    CHECK(slots_state(&s, true) == UPDATE_WENT_BACK);
    clear();
}

static void check_texts(void)
{
    struct env e;
    char block[ENV_BYTES];
    struct release r;

    memset(&e, 0, sizeof(e));
    memset(e.why, 'x', sizeof(e.why) - 1);
    e.good = e.trial = e.last = 1000000;
    env_write(&e, block);
    CHECK(memmem(block, 512, "x\n#", 3) != NULL); // all that changes is in the first sector
    env_read(&e, block, sizeof(block));
    CHECK(e.good == 1000000 && e.trial == 1000000 && strlen(e.why) == WHY_BYTES - 1);
    env_read(&e, "good=1\ntrial=-2\nlast=99999999999999999999\nwhy", 46);
    CHECK(e.good == 1 && e.trial == 0 && e.last == 0 && !e.why[0]);
    release_read(&r, "built=12\nversion=v1\n", 20);
    CHECK(r.built == 12);
    CHECK_TEXT(r.version, "v1");
    release_read(&r, "", 0);
    CHECK(r.built == 0 && !r.version[0]);
}

static const char id[] = "00112233445566778899aabbccddeeff";

static void check_trial(void)
{
    const struct release mine = {"v2", 2000}, none = {"", 0};

    CHECK(trial_told("v2", "", &mine) && trial_told("v2\n\n\n", "", &mine));
    CHECK(!trial_told("v", "", &mine) && !trial_told("v22\n", "", &mine));
    CHECK(trial_told("v2\nbuilt=2000\n\n\n", "", &mine));
    CHECK(!trial_told("v2\nbuilt=2001\n\n\n", "", &mine)); // the same name, made anew
    CHECK(!trial_told("v2\nbuilt=x\n", "", &mine));
    CHECK(!trial_told("\nv2", "", &mine) && !trial_told("", "", &none));
    CHECK(trial_told("", "quiet tawny.disk=x tawny.trial=2\n", &mine));
    CHECK(!trial_told("", "quiet tawny.trial= panic=10\n", &mine));
    CHECK(!trial_told("", "quiet tawny.trial=\n", &mine) && !trial_told("", "quiet", &mine));
    CHECK(!trial_told("", "xtawny.trial=2", &mine));
}

/* What systemd-boot leaves, as efivarfs shows it. */
static bool noted(uint8_t attributes, const char *path, size_t n_cut)
{
    uint8_t variable[500] = {attributes};
    size_t n = 4;

    for (const char *c = path; *c; c++, n += 2)
        variable[n] = (uint8_t)*c;
    return loader_noted(variable, n + 2 - n_cut); // with its zero
}

static void check_noted(void)
{
    const char *const name = "\\EFI\\Linux\\tawny-12+0-1.efi";
    char longest[200] = "\\";
    uint8_t wide[10] = {6, 0, 0, 0, 't', 1};

    CHECK(noted(6, name, 0) && noted(6, name, 2) && noted(6, "tawny-2+0.efi", 0));
    CHECK(!noted(7, name, 0));                             // it might be of any start before
    CHECK(!noted(6, "\\EFI\\Linux\\tawny-12+1-1.efi", 0)); // it would be tried again
    CHECK(!noted(6, "\\EFI\\Linux\\tawny-12.efi", 0) && !noted(6, "", 0));
    CHECK(!noted(6, "\\EFI\\Linux\\other-1+0-1.efi", 0));
    CHECK(!noted(6, name, 2 * strlen(name) + 2) && !loader_noted(wide, 0) &&
          !loader_noted(wide, 3));
    CHECK(!loader_noted(wide, 6) && !loader_noted(wide, sizeof(wide)));
    memset(longest + 1, 'x', sizeof(longest) - 2);
    CHECK(!noted(6, longest, 0));
}

static void check_origin(void)
{
    char found[DISK_ID_BYTES], other[] = "ffeeddccbbaa99887766554433221100";
    char line[200];
    struct err err = {""};

    snprintf(line, sizeof(line), "quiet xtawny.disk=%s tawny.disk=%s panic=10\n", other, id);
    CHECK(origin_find(found, "", line));
    CHECK_TEXT(found, id);
    CHECK(origin_find(found, other, line)); // what the stub gave comes first
    CHECK_TEXT(found, other);
    CHECK(!origin_find(found, "", "quiet tawny.disk= panic=10") && !found[0]);
    CHECK(!origin_find(found, "nonsense", "tawny.disk=00112233445566778899aabbccddeefg"));
    CHECK(!origin_find(found, "", ""));
    fresh();
    struct slots s = read_as(&one);
    CHECK(!s.env.disk[0] && slots_name_disk(&s, id, &err) == OK);
    s = read_as(&one);
    CHECK_TEXT(s.env.disk, id);
    CHECK(is_there("loader/credentials/tawny-disk.cred"));
    CHECK(slots_confirm(&s, &err) == OK && slots_give_up(&s, "x", &err) == OK);
    s = read_as(&one);
    CHECK_TEXT(s.env.disk, id); // it stays
    CHECK(!is_there("loader/credentials/tawny-trial.cred"));
    clear();
}

static void check_uki(void)
{
    uint8_t *uki = malloc(N_UKI);
    struct uki u;
    struct err err = {""};

    make_uki(uki, 0);
    CHECK(uki_read(&u, uki, UKI_HEAD, N_UKI, &err) == OK);
    CHECK(u.linux_.at == 1536 && u.linux_.n == N_LINUX && u.initrd.n == N_INITRD);
    CHECK(u.cmdline.n == sizeof(cmdline) - 1);
    for (size_t n = 0; n < 552; n++) { // every truncation of the section table
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, uki, n);
        if (uki_read(&u, cut, n, N_UKI, &err) == OK)
            CHECK(!"half a table is taken");
        free(cut);
    }
    CHECK(uki_read(&u, uki, UKI_HEAD, N_UKI - 177, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "a part of the update's system lies outside its file");
    uki[472] = 'x';
    CHECK(uki_read(&u, uki, UKI_HEAD, N_UKI, &err) == BAD_INPUT);
    CHECK_TEXT(err.text, "the update's system has no part .linux");
    free(uki);
}

int main(void)
{
    snprintf(root, sizeof(root), "/tmp/tawny-update-%d", (int)getpid());
    check_keys();
    check_header();
    check_texts();
    check_uki();
    check_origin();
    check_trial();
    check_noted();
    check_life();
    check_half_given_up();
    check_refused();
    check_half();
    check_cuts();
    return check_done("init_update");
}
