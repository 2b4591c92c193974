// base.h - floor 0: what every floor above may use: status and errors, logging, bytes and buffers,
// arenas, a JSON writer, rings between the two threads, the clock, files written atomically, and
// the settings.
//
// Conventions (they hold in the whole engine):
//   - what can fail returns `enum status`; results leave through pointers, untouched on failure;
//   - where a person will read why, the last parameter is `struct err *`: filled once, where the
//     fact is known;
//   - programming errors, out of memory and a lost device end the process with die(): PID 1
//     starts it again;
//   - bytes travel as {pointer, length}; nothing that comes from outside is trusted to end in NUL;
//   - x_open/x_close: heap handle; x_init/x_free: caller's storage; x_take: yours now;
//     x_view: borrowed.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// ---- status and errors (err.c) --------------------------------------------------------------

enum status {
    OK = 0,
    AGAIN,     // not enough input or room yet: call again when there is more
    CLOSED,    // the other side ended
    BAD_INPUT, // a file, request, setting or packet breaks its format
    TOO_LARGE, // over a cap
    NO_ROOM,   // memory, disk, KV cache or queue is full
    NOT_FOUND,
    UNSUPPORTED,  // well formed, but not something this build can do
    DENIED,       // no or a wrong key
    IO_ERROR,     // the operating system refused
    DEVICE_ERROR, // the compute device refused or was lost
    CANCELLED,
    BROKEN, // what we computed cannot be right (NaN, an impossible state): do not try again
};

struct err {
    enum status status;
    char text[320]; // one sentence: what was wanted, what was found, in which file/tensor/field
};

const char *status_name(enum status status);

// Fills *err (when not NULL) and returns `status`, so that `return err_set(err, BAD_INPUT, "...")`
// reads well.
enum status err_set(struct err *err, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

// Puts "<prefix>: " in front of err's sentence; returns err->status.
enum status err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

// Takes the folder of `path` out of err's sentence, wherever it stands: clients need not know where
// files lie here.
void err_hide_folder(struct err *err, const char *path);

// ---- log (log.c) ----------------------------------------------------------------------------

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_level_set(enum log_level level);
// One line on stderr: "HH:MM:SS.mmm level text\n", written with one write(2); safe from every
// thread.
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
// The same, but at the level info it is only kept in memory; with the level debug it is a line too.
void log_note(const char *format, ...) PRINTF_LIKE(1, 2);
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

// The last lines are kept in memory, and of warnings and errors the last LOG_KEPT_GRAVE.
enum { LOG_KEPT = 1024, LOG_KEPT_GRAVE = 256, LOG_TEXT_BYTES = 480 };
struct log_line {
    uint64_t number; // of all lines since the start, from 1
    int64_t at_ms;   // unix time
    enum log_level level;
    char text[LOG_TEXT_BYTES]; // what is longer ends in "..."
};
const char *log_level_name(enum log_level level);
// Copies lines whose number is above `since` and whose level is at least `least`, in order: the
// first `most` of them, or with last the last ones. How many; safe from every thread.
size_t log_read(struct log_line *out, size_t most, uint64_t since, enum log_level least, bool last);
uint64_t log_last(void); // the number of the newest line

// Logs the sentence and ends the process with exit code 70. For programming errors, out of memory,
// a lost device.
_Noreturn void die(const char *format, ...) PRINTF_LIKE(1, 2);
void die_first(void (*act)(void)); // what die() does first, in whichever thread; NULL: nothing

// ---- memory (memory.c) ----------------------------------------------------------------------

void *mem_alloc(size_t n_bytes);                           // zeroed; die()s when there is none
void *mem_array(size_t n, size_t size);                    // zeroed; checks n * size; die()s
void *mem_resize(void *old, size_t n_bytes);               // realloc; die()s
bool mul_overflows(uint64_t a, uint64_t b, uint64_t *out); // true: a * b does not fit
bool add_overflows(uint64_t a, uint64_t b, uint64_t *out);

// A job's memory: bump allocation, freed as a whole. cap_bytes bounds the sum; over it arena_take
// returns NULL.
struct arena {
    struct arena_block *blocks;
    size_t used_bytes, cap_bytes;
};
void arena_init(struct arena *arena, size_t cap_bytes);
void arena_free(struct arena *arena);
void *arena_take(struct arena *arena, size_t n_bytes); // zeroed, 16-aligned; NULL when over the cap

// ---- bytes (bytes.c) ------------------------------------------------------------------------

struct bytes { // borrowed
    const uint8_t *p;
    size_t n;
};
struct bytes bytes_of(const char *text); // view of a NUL-terminated literal or own string
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_text(struct bytes a, const char *text);
bool bytes_equal_secret(struct bytes a, struct bytes b); // constant time in the contents
int bytes_compare(struct bytes a, struct bytes b);       // < 0, 0, > 0, by the values of bytes
bool bytes_begins_with(struct bytes text, const char *start);
bool bytes_ends_in(struct bytes text, const char *end); // also where it is nothing else
// Takes the ending off where something stands before it; else the text is left as it is.
bool bytes_cut_end(struct bytes *text, const char *end);
// p == NULL when the arena is full; a NUL follows the bytes.
struct bytes bytes_copy(struct arena *arena, struct bytes from);
#define NAME_TEXT 72 // room for a name from outside made printable
// What is not printable ASCII becomes '?', what is too long ends in "..."; returns out.
const char *name_text(char out[NAME_TEXT], struct bytes name);

// Growable, capped: buf_* return NO_ROOM and leave the contents alone when cap_bytes would be
// passed.
struct buf {
    uint8_t *p;
    size_t n, allocated, cap_bytes;
};
void buf_init(struct buf *buf, size_t cap_bytes);
void buf_free(struct buf *buf);
MUST_USE enum status buf_add(struct buf *buf, const void *p, size_t n);
MUST_USE enum status buf_format(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
// Appends text (valid UTF-8) as a JSON string, with quotes and escapes.
MUST_USE enum status buf_json(struct buf *out, struct bytes text);
void buf_drop_front(struct buf *buf, size_t n);
struct bytes buf_view(const struct buf *buf);

// Length of the longest prefix of `text` that is whole UTF-8 sequences: what may be sent now. An
// invalid byte counts as whole (utf8_clean turns it into U+FFFD later); only a sequence cut off at
// the end is held back (at most 3 bytes).
size_t utf8_whole(struct bytes text);
// Appends text with every invalid byte replaced by U+FFFD.
MUST_USE enum status utf8_clean(struct buf *out, struct bytes text);
// Appends valid UTF-8 with every control character but newline and tab replaced by U+FFFD, so that
// a terminal shows the text and does not obey it.
MUST_USE enum status utf8_tame(struct buf *out, struct bytes text);
bool utf8_valid(struct bytes text);
size_t utf8_length(struct bytes text); // its characters

// ---- SHA-256 (sha256.c) ---------------------------------------------------------------------

enum { SHA256_BYTES = 32 };
struct sha256 { // of what comes in pieces
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t block[64];
};
void sha256_init(struct sha256 *hash);
void sha256_add(struct sha256 *hash, struct bytes piece);
void sha256_done(struct sha256 *hash, uint8_t out[SHA256_BYTES]); // and it is forgotten
void sha256_of(struct bytes text, uint8_t out[SHA256_BYTES]);
void hex_write(char *out, const uint8_t *p, size_t n);             // 2 * n small digits and a NUL
MUST_USE bool hex_read(uint8_t *out, size_t n, struct bytes text); // false: it is not 2 * n of them
enum { SHA256_TEXT = 2 * SHA256_BYTES + 1 };
// 64 hexadecimal digits, large ones too, as small ones and a NUL; false: it is no SHA-256, and
// nothing is written.
bool sha256_read(char out[SHA256_TEXT], struct bytes text);

// ---- JSON writer (json.c) -------------------------------------------------------------------

// Writes one JSON value into `text`. The first error (the cap) is kept, and nothing is written
// after it. `name` is the member's; NULL in an array and for the whole. To leave one open, or to
// close one too many, is a programming error.
struct json {
    struct buf text;
    enum status status;
    uint32_t n_open;
    char close[192]; // what ends each that is open
};
void json_init(struct json *json, size_t cap_bytes);
void json_free(struct json *json);
void json_object(struct json *json, const char *name);
void json_array(struct json *json, const char *name);
void json_end(struct json *json); // the object or array opened last
// Bytes that are not UTF-8 become U+FFFD.
void json_text(struct json *json, const char *name, struct bytes text);
void json_string(struct json *json, const char *name, const char *text); // NULL and "": null
void json_whole(struct json *json, const char *name, int64_t value);
// NaN and the infinities: null.
void json_real(struct json *json, const char *name, double value, int n_decimals);
// With the digits that give the same double again.
void json_exact(struct json *json, const char *name, double value);
void json_bool(struct json *json, const char *name, bool value);
void json_null(struct json *json, const char *name);
MUST_USE enum status json_done(struct json *json); // the first error; the value is in `text`

// ---- hash (bytes.c) ---------------------------------------------------------------------------

// Tells damage and one file from another; it keeps nobody from making two that are alike. Goes on
// from an earlier one.
#define HASH_BEGIN 14695981039346656037ull
uint64_t hash_on(uint64_t hash, const void *p, size_t n);

// ---- ring: one producer thread, one consumer thread (ring.c) --------------------------------

// Pointers travel; a pointer pushed is no longer yours. The consumer sleeps on ring_fd() (an
// eventfd) in poll/epoll.
struct ring;
void ring_open(struct ring **out, size_t n_slots);             // n_slots: a power of two
void ring_close(struct ring *ring);                            // must be empty
MUST_USE enum status ring_push(struct ring *ring, void *item); // NO_ROOM when full
// NULL when empty; then the eventfd is cleared.
void *ring_pop(struct ring *ring);
int ring_fd(const struct ring *ring);
void ring_wait(struct ring *ring); // sleeps until there is something to pop

// ---- clock (clock.c) ------------------------------------------------------------------------

uint64_t clock_ms(void);    // monotonic
uint64_t clock_us(void);    // monotonic
int64_t clock_unix_s(void); // wall clock
int64_t clock_unix_ns(void);

// ---- files (file.c) -------------------------------------------------------------------------

// Reads a whole file of at most cap_bytes into *out (buf_init'ed here).
MUST_USE enum status file_read(struct buf *out, const char *path, size_t cap_bytes,
                               struct err *err);
// The number in a file of sysfs or procfs, to the base of strtoull, behind `key` when that is not
// NULL; 0 when there is none.
uint64_t file_number(const char *path, const char *key, int base);
// Writes atomically: temporary file beside it, fsync, rename, fsync of the directory. A power cut
// leaves old or new.
MUST_USE enum status file_write(const char *path, struct bytes content, unsigned mode,
                                struct err *err);
MUST_USE enum status file_make_dir(const char *path, unsigned mode,
                                   struct err *err); // OK when it is there already
void random_bytes(void *out, size_t n);              // from the kernel; die()s if it has none

// ---- files in memory (mapped.c) -------------------------------------------------------------

// A file to be read in place. One that cannot be read any more (it was cut short, its disk was
// pulled) reads as zeros from then on, wherever, and is lost. Any thread.
MUST_USE enum status file_map(struct bytes *out, int fd, size_t n_bytes, struct err *err);
void file_unmap(struct bytes file);
bool file_lost(struct bytes file); // false of what file_map did not make

// ---- settings (settings.c) ------------------------------------------------------------------

enum { CTX_AUTO = -1 };    // as n_ctx: the largest that fits
enum { KEEP_ALWAYS = -1 }; // as keep_s: until the memory is needed

struct settings {
    char model[1024];      // "builtin", a path, or a name under <state>/models/
    char models[1024];     // further folders with models, comma separated; "" = none
    char aliases[2048];    // other names of models: "NAME: MODEL, ..."
    char pinned[1024];     // models that are never unloaded, comma separated
    int64_t keep_s;        // how long a model that nobody asks stays loaded; or KEEP_ALWAYS
    char listen[512];      // comma separated ADDR:PORT, TLS
    char listen_http[512]; // plain HTTP for /ca.crt and the redirect; "auto", "" = off
    char state[512];       // directory: api-key, tls/, models/
    char device[64];       // auto | vulkan | cpu | a part of a device's name
    char hostname[64];
    char address[512], gateway[512], dns[512], ntp[512]; // of the appliance: PID 1 acts on them
    char registry[256];       // HOST or HOST:PORT that a pull of NAME:TAG asks
    char hub[256];            // the same of hf.co/OWNER/REPO
    char tokens[4096];        // "HOST TOKEN, ...": what pulls show to that host
    char ca[1024];            // files of PEM certificates that pulls trust, comma separated
    char pull_plain[512];     // hosts that pulls may ask by http, comma separated
    char proxy[256];          // HOST:PORT by which pulls go; "" = none
    char cors[512];           // origins whose pages may use the API, comma separated; "" = none
    int32_t n_ctx;            // tokens a sequence may hold; 0 = the model's own limit; or CTX_AUTO
    int32_t n_threads;        // CPU threads; 0 = one a core we may run on
    int32_t n_parallel;       // sequences decoded together
    bool kv_q8_0;             // kv-type: keys and values in 8 bits (q8_0), else in 16 (f16)
    int32_t keep_prefixes_mb; // of what is kept of texts on the disk; 0: nothing is
    bool share_prefixes;      // what one key's requests left in memory may serve another's
    bool speculation;         // tokens are guessed ahead where that is faster,
    char draft[2200];         // by this model too, where its vocabulary is the same; "" = none
    bool open_metrics;        // GET /metrics wants no key
    bool hot_plug;            // of the appliance: PID 1 acts on it
    bool api_settings;        // what was set through the API (SETTINGS_KEPT) counts
    enum log_level log;
};

void settings_default(struct settings *settings);
// tawny.conf: `key = value` lines, # comments. An unknown key or a bad value is BAD_INPUT naming
// file, line, key and what is expected. NOT_FOUND when there is no such file.
MUST_USE enum status settings_read(struct settings *settings, const char *path, struct err *err);
// The same over a text in memory; `name` is what its sentences call it.
MUST_USE enum status settings_parse(struct settings *settings, struct bytes text, const char *name,
                                    struct err *err);
// One `key`, `value` pair, as from the command line (without the dashes).
MUST_USE enum status settings_set(struct settings *settings, const char *key, struct bytes value,
                                  struct err *err);

// Whether the IPv4 gateways are in networks of `address`: BAD_INPUT where one could not be reached.
MUST_USE enum status settings_gateways_good(const struct settings *settings, struct err *err);

// Seconds of "300", "5m", "1h30m", "250ms" (rounded up) or "always"; negative ones are KEEP_ALWAYS.
// false: it is no time.
bool duration_read(struct bytes text, int64_t *out_s);

struct setting { // what --help says of one
    const char *name;
    char letter;              // 'm': also -m; 0 = none
    const char *value, *what; // "FILE", its meaning
    char fallback[64];        // the default, as a person would write it
};
bool settings_describe(size_t i, struct setting *out); // false: there are fewer
size_t settings_place(const char *name); // in that order; behind the last: no setting is called so
// The value of that setting as it would stand in the file, cut at the end of `out`.
bool settings_value(const struct settings *settings, size_t i, char *out, size_t size);

// For a server that nobody sees: what is right counts, and of what is wrong it is known.
enum setting_source { SETTING_DEFAULT, SETTING_FILE, SETTING_API, SETTING_COMMAND_LINE };
enum {
    SETTINGS_MOST = 64,
    SETTING_FAULTS = 16,
    SETTINGS_FILE_BYTES = 65536,
    SETTING_PLACE_BYTES = 120
};
#define SETTINGS_KEPT "settings.conf" // under STATE: what was set through the API
struct settings_report {
    uint8_t source[SETTINGS_MOST]; // who set each, in settings_describe's order
    struct settings beneath;       // what counts where SETTING_API is taken back
    size_t n_faults;               // wrong lines; of these the first SETTING_FAULTS are here:
    struct err fault[SETTING_FAULTS];
    // The same for whoever asks: which setting or line, and nothing of what stands there, which may
    // be a password.
    char place[SETTING_FAULTS][SETTING_PLACE_BYTES];
};
// file NULL: it is about no line of one.
void settings_fault(struct settings_report *report, const char *file, int line,
                    const struct err *err);
// The setting whose name a sentence begins with, as those of settings_set do; NULL: with none.
const char *settings_named(const char *text);
// What the setting is where nobody sets it.
void settings_reset(struct settings *settings, const char *name);
// As settings_parse, but a line that is wrong is noted, and leaves its setting as it was.
void settings_parse_rest(struct settings *settings, struct bytes text, const char *name,
                         enum setting_source source, struct settings_report *report);
