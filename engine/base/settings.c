// settings.c - tawny.conf and the command line: one table says what exists, what it may be and
// where it lives.
//
// File format: lines `key = value`; blanks around both are dropped; a `#` at the start of a line,
// or after a blank outside quotes, begins a comment; a value may stand in double quotes ("" is an
// empty value). CR LF line ends and a UTF-8 byte order mark are accepted (the file is edited on any
// PC). A key that does not exist, is given twice or has a bad value is an error that names file,
// line, key and what is expected: nothing a person wrote is silently ignored.
#include "settings_net.h"

#include <stdio.h>
#include <string.h>

enum { FILE_CAP = 65536 };
enum kind { TEXT, NUMBER, CONTEXT, LEVEL, KV_TYPE, DURATION, FLAG, AUTO_OFF };

static const struct key {
    const char *name;
    char letter; // -x on a command line; 0: none
    enum kind kind;
    size_t offset, size; // in struct settings; size of a TEXT's array
    int32_t least, most; // of a NUMBER
    bool may_be_empty;
    const char *value, *what; // for --help
} keys[] = {
#define AT(field) offsetof(struct settings, field), sizeof(((struct settings *)0)->field)
    {"model", 'm', TEXT, AT(model), 0, 0, false, "FILE",
     "which model: builtin, a file, or a name as requests have it"},
    {"models", 0, TEXT, AT(models), 0, 0, true, "DIR,...",
     "further folders with models, which are only read"},
    {"alias", 0, TEXT, AT(aliases), 0, 0, true, "NAME: MODEL,...",
     "other names of models; *: MODEL answers for every name that nothing else has"},
    {"keep-alive", 0, DURATION, AT(keep_s), 0, 0, false, "TIME",
     "how long a model that nobody asks stays loaded: 300, 5m, 24h; always; 0: not at all"},
    {"pin", 0, TEXT, AT(pinned), 0, 0, true, "MODEL,...",
     "models that are never unloaded once they are loaded"},
    {"registry", 0, TEXT, AT(registry), 0, 0, false, "HOST",
     "where models are pulled from that are named without a host"},
    {"hub", 0, TEXT, AT(hub), 0, 0, false, "HOST", "where hf.co/OWNER/REPO is pulled from"},
    {"tokens", 0, TEXT, AT(tokens), 0, 0, true, "HOST TOKEN,...",
     "what pulls show to a host, and to no other"},
    {"ca", 0, TEXT, AT(ca), 0, 0, true, "FILE,...",
     "files of certificates (PEM) that pulls trust beside the usual authorities"},
    {"pull-plain", 0, TEXT, AT(pull_plain), 0, 0, true, "HOST:PORT,...",
     "hosts that pulls may ask by plain http"},
    {"proxy", 0, TEXT, AT(proxy), 0, 0, true, "HOST:PORT", "pulls go through it (CONNECT)"},
    {"listen", 0, TEXT, AT(listen), 0, 0, false, "ADDR:PORT,...",
     "addresses for HTTPS; [::] and * are all of them"},
    {"listen-http", 0, TEXT, AT(listen_http), 0, 0, true, "ADDR:PORT,...",
     "plain HTTP, for the certificate and the way to HTTPS; auto: port 80 on listen's addresses, "
     "none when listen stands on the command line; \"\": none"},
    {"state", 0, TEXT, AT(state), 0, 0, true, "DIR",
     "keys, certificates and models; \"\": ~/.local/state/tawny"},
    {"api-settings", 0, FLAG, AT(api_settings), 0, 0, false, "yes|no",
     "whether what was set over the network (PUT /v1/settings) counts; no: it is left out"},
    {"device", 0, TEXT, AT(device), 0, 0, false, "NAME",
     "what computes: auto, vulkan, cpu, or a part of a device's name"},
    {"hostname", 0, TEXT, AT(hostname), 0, 0, false, "NAME", "stands in the certificate"},
    {"address", 0, TEXT, AT(address), 0, 0, true, "CARD ADDR/BITS,...",
     "the appliance's fixed addresses; \"\": DHCP and IPv6 routers say them"},
    {"gateway", 0, TEXT, AT(gateway), 0, 0, true, "CARD ADDR,...",
     "the appliance's gateways to fixed addresses"},
    {"dns", 0, TEXT, AT(dns), 0, 0, true, "ADDR,...",
     "the appliance's name servers, asked before those that DHCP names"},
    {"ntp", 0, TEXT, AT(ntp), 0, 0, false, "HOST,...",
     "the appliance's time servers; auto: those that DHCP names, and public ones; off: none"},
    {"cors", 0, TEXT, AT(cors), 0, 0, true, "ORIGIN,...",
     "web pages of these origins may ask; *: all; \"\": none"},
    {"open-metrics", 0, FLAG, AT(open_metrics), 0, 0, false, "yes|no",
     "whether /metrics answers without a key, for gateways that have none"},
    {"ctx", 0, CONTEXT, AT(n_ctx), 0, 1 << 20, false, "N",
     "tokens that a conversation may hold; auto: as many as fit the memory, at most 131072; 0: "
     "what "
     "the model was trained for"},
    {"threads", 't', NUMBER, AT(n_threads), 0, 1024, false, "N",
     "processor threads; 0: one a core"},
    {"parallel", 0, NUMBER, AT(n_parallel), 1, 64, false, "N",
     "conversations that are worked on at once"},
    {"kv-type", 0, KV_TYPE, AT(kv_q8_0), 0, 0, false, "TYPE",
     "how conversations are kept in memory: f16 or q8_0"},
    {"share-prefixes", 0, FLAG, AT(share_prefixes), 0, 0, false, "yes|no",
     "whether what one key's requests left in memory may serve another's"},
    {"keep-prefixes", 0, NUMBER, AT(keep_prefixes_mb), 0, 1 << 20, false, "MB",
     "how much of the disk keeps what was computed of conversations, over restarts; 0: nothing"},
    {"speculation", 0, AUTO_OFF, AT(speculation), 0, 0, false, "WHEN",
     "guess tokens ahead where that is faster (the answers are the same): auto or off"},
    {"draft", 0, TEXT, AT(draft), 0, 0, true, "MODEL",
     "a small model that guesses too, of the same vocabulary: a file, or a name, as for model; "
     "NAME: MODEL,... for those models alone"},
    {"hot-plug", 0, FLAG, AT(hot_plug), 0, 0, false, "yes|no",
     "the appliance: whether drivers are loaded for what is plugged in later"},
    {"log", 0, LEVEL, AT(log), 0, 0, false, "LEVEL", "how much is told: info or debug"},
#undef AT
};

void settings_default(struct settings *settings)
{
    *settings = (struct settings){
        .model = "builtin",
        .listen = "[::]:443,[::]:11434",
        .listen_http = "auto",
        .state = "",
        .device = "auto",
        .hostname = "tawny",
        .ntp = "auto",
        .registry = "registry.ollama.ai",
        .hub = "huggingface.co",
        .n_ctx = CTX_AUTO,
        .n_threads = 0,
        .n_parallel = 4,
        .keep_prefixes_mb = 4096,
        .keep_s = KEEP_ALWAYS,
        .speculation = true,
        .hot_plug = true,
        .api_settings = true,
        .log = LOG_INFO,
    };
}

static void value_text(const struct settings *settings, const struct key *key, char *out,
                       size_t size)
{
    const char *field = (const char *)settings + key->offset;
    int32_t number = 0;
    int64_t s = 0;
    bool flag = false;
    switch (key->kind) {
    case TEXT:
        snprintf(out, size, "%s", field);
        break;
    case NUMBER:
    case CONTEXT:
        memcpy(&number, field, sizeof(number));
        if (key->kind == CONTEXT && number == CTX_AUTO)
            snprintf(out, size, "auto");
        else
            snprintf(out, size, "%d", (int)number);
        break;
    case DURATION:
        memcpy(&s, field, sizeof(s));
        if (s == KEEP_ALWAYS)
            snprintf(out, size, "always");
        else
            snprintf(out, size, "%lld", (long long)s);
        break;
    case LEVEL:
        snprintf(out, size, "%s", settings->log == LOG_DEBUG ? "debug" : "info");
        break;
    case KV_TYPE:
        snprintf(out, size, "%s", settings->kv_q8_0 ? "q8_0" : "f16");
        break;
    case FLAG:
    case AUTO_OFF:
        memcpy(&flag, field, sizeof(flag));
        snprintf(out, size, "%s", key->kind == FLAG ? flag ? "yes" : "no" : flag ? "auto" : "off");
        break;
    }
}

bool settings_value(const struct settings *settings, size_t i, char *out, size_t size)
{
    if (i >= COUNT_OF(keys))
        return false;
    value_text(settings, &keys[i], out, size);
    return true;
}

bool settings_describe(size_t i, struct setting *out)
{
    static struct settings defaults; // the same each time
    if (i >= COUNT_OF(keys))
        return false;
    const struct key *key = &keys[i];
    settings_default(&defaults);
    *out = (struct setting){key->name, key->letter, key->value, key->what, ""};
    value_text(&defaults, key, out->fallback, sizeof(out->fallback));
    if (!out->fallback[0])
        snprintf(out->fallback, sizeof(out->fallback), "\"\"");
    return true;
}

static struct bytes trim(struct bytes text)
{
    while (text.n && (text.p[0] == ' ' || text.p[0] == '\t')) {
        text.p++;
        text.n--;
    }
    while (text.n &&
           (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t' || text.p[text.n - 1] == '\r'))
        text.n--;
    return text;
}

// How a value from outside is shown in a sentence.
static int shown(struct bytes text)
{
    return (int)(text.n < 60 ? text.n : 60);
}

// The first mark of a direction, or break of a line, by which a text reads otherwise than it is
// (UAX 9, 2); 0: none. In valid UTF-8 all of them begin with e2 80 or e2 81, but one.
static uint32_t unseen_in(struct bytes text)
{
    for (size_t i = 0; i + 1 < text.n; i++) {
        const uint8_t *p = text.p + i;
        if (p[0] == 0xd8 && p[1] == 0x9c)
            return 0x61c;
        if (p[0] != 0xe2 || (p[1] != 0x80 && p[1] != 0x81) || i + 2 >= text.n)
            continue;
        const uint32_t c = 0x2000 + (uint32_t)(p[1] - 0x80) * 64 + (p[2] & 63u);
        if (c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
            (c >= 0x2066 && c <= 0x2069))
            return c;
    }
    return 0;
}

static enum status set_text(struct settings *settings, const struct key *key, struct bytes value,
                            struct err *err)
{
    if (value.n >= key->size)
        return err_set(err, TOO_LARGE, "%s: %zu bytes, at most %zu are allowed", key->name, value.n,
                       key->size - 1);
    if (value.n == 0 && !key->may_be_empty)
        return err_set(err, BAD_INPUT, "%s: a value is missing", key->name);
    if (!utf8_valid(value))
        return err_set(err, BAD_INPUT, "%s: the value is not valid UTF-8", key->name);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < 0x20 || value.p[i] == 0x7f)
            return err_set(err, BAD_INPUT, "%s: a control character (0x%02x) in the value",
                           key->name, value.p[i]);
    const uint32_t unseen = unseen_in(value);
    if (unseen)
        return err_set(err, BAD_INPUT, "%s: a character that nobody sees (U+%04X) in the value",
                       key->name, (unsigned)unseen);
    char *field = (char *)settings + key->offset;
    memset(field, 0, key->size);
    if (value.n)
        memcpy(field, value.p, value.n);
    return OK;
}

static enum status set_number(struct settings *settings, const struct key *key, struct bytes value,
                              struct err *err)
{
    int64_t number = 0;
    bool good = value.n > 0 && value.n <= 9;
    for (size_t i = 0; i < value.n && good; i++) {
        good = value.p[i] >= '0' && value.p[i] <= '9';
        number = number * 10 + (value.p[i] - '0');
    }
    if (key->kind == CONTEXT && bytes_equal_text(value, "auto")) {
        number = CTX_AUTO;
    } else if (!good || number < key->least || number > key->most) {
        return err_set(err, BAD_INPUT, "%s: \"%.*s\" is not a whole number from %d to %d%s",
                       key->name, shown(value), (const char *)value.p, (int)key->least,
                       (int)key->most, key->kind == CONTEXT ? ", nor auto" : "");
    }
    int32_t field = (int32_t)number;
    memcpy((char *)settings + key->offset, &field, sizeof(field));
    return OK;
}

static enum status set_level(struct settings *settings, const struct key *key, struct bytes value,
                             struct err *err)
{
    if (bytes_equal_text(value, "info"))
        settings->log = LOG_INFO;
    else if (bytes_equal_text(value, "debug"))
        settings->log = LOG_DEBUG;
    else
        return err_set(err, BAD_INPUT, "%s: \"%.*s\" is neither info nor debug", key->name,
                       shown(value), (const char *)value.p);
    return OK;
}

static enum status set_kv_type(struct settings *settings, const struct key *key, struct bytes value,
                               struct err *err)
{
    if (!bytes_equal_text(value, "f16") && !bytes_equal_text(value, "q8_0"))
        return err_set(err, BAD_INPUT, "%s: \"%.*s\" is neither f16 nor q8_0", key->name,
                       shown(value), (const char *)value.p);
    settings->kv_q8_0 = bytes_equal_text(value, "q8_0");
    return OK;
}

static enum status set_flag(struct settings *settings, const struct key *key, struct bytes value,
                            struct err *err)
{
    const bool flag = bytes_equal_text(value, "yes");
    if (!flag && !bytes_equal_text(value, "no"))
        return err_set(err, BAD_INPUT, "%s: \"%.*s\" is neither yes nor no", key->name,
                       shown(value), (const char *)value.p);
    memcpy((char *)settings + key->offset, &flag, sizeof(flag));
    return OK;
}

static enum status set_auto_off(struct settings *settings, const struct key *key,
                                struct bytes value, struct err *err)
{
    const bool is_auto = bytes_equal_text(value, "auto");
    if (!is_auto && !bytes_equal_text(value, "off"))
        return err_set(err, BAD_INPUT, "%s: \"%.*s\" is neither auto nor off", key->name,
                       shown(value), (const char *)value.p);
    memcpy((char *)settings + key->offset, &is_auto, sizeof(is_auto));
    return OK;
}

enum { DURATION_DIGITS = 9 }; // 31 years in seconds

bool duration_read(struct bytes text, int64_t *out_s)
{
    const bool negative = text.n > 0 && text.p[0] == '-';
    int64_t total = 0;
    size_t i = negative;
    if (bytes_equal_text(text, "always")) {
        *out_s = KEEP_ALWAYS;
        return true;
    }
    if (i >= text.n)
        return false;
    while (i < text.n) {
        static const struct {
            const char *name;
            int64_t s;
        } units[] = {{"ms", 0}, {"h", 3600}, {"m", 60}, {"s", 1}, {"d", 86400}};
        const size_t from = i;
        int64_t number = 0;
        size_t k = 0;
        for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
            if (i - from == DURATION_DIGITS)
                return false;
            number = number * 10 + (text.p[i] - '0');
        }
        if (i == from)
            return false;
        if (i == text.n && from == (size_t)negative) { // a number alone: seconds
            *out_s = negative && number > 0 ? KEEP_ALWAYS : number;
            return true;
        }
        while (k < COUNT_OF(units) &&
               (i + strlen(units[k].name) > text.n ||
                memcmp(text.p + i, units[k].name, strlen(units[k].name)) != 0))
            k++;
        if (k == COUNT_OF(units))
            return false;
        total += units[k].s > 0 ? number * units[k].s : (number + 999) / 1000;
        i += strlen(units[k].name);
    }
    *out_s = negative && total > 0 ? KEEP_ALWAYS : total;
    return true;
}

static enum status set_duration(struct settings *settings, const struct key *key,
                                struct bytes value, struct err *err)
{
    int64_t s;
    if (!duration_read(value, &s))
        return err_set(err, BAD_INPUT,
                       "%s: \"%.*s\" is not a time: seconds, or numbers with h, m and s behind "
                       "them (1h30m), or always",
                       key->name, shown(value), (const char *)value.p);
    memcpy((char *)settings + key->offset, &s, sizeof(s));
    return OK;
}

static bool hostname_is_good(struct bytes name)
{
    if (name.n == 0 || name.n > 63 || name.p[0] == '-' || name.p[name.n - 1] == '-')
        return false;
    bool any = false; // of digits alone it is read as an address
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
        any = any || letter || c == '-';
    }
    return any && !(name.n == 9 && strncasecmp((const char *)name.p, "localhost", 9) == 0);
}

static const struct key *key_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (bytes_equal_text(name, keys[i].name))
            return &keys[i];
    return NULL;
}

size_t settings_place(const char *name)
{
    const struct key *key = key_find(bytes_of(name));
    return key ? (size_t)(key - keys) : COUNT_OF(keys);
}

static enum status unknown_key(struct bytes name, struct err *err)
{
    char list[240];
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        int m = snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", keys[i].name);
        n += m > 0 && (size_t)m < sizeof(list) - n ? (size_t)m : 0;
    }
    return err_set(err, BAD_INPUT, "there is no setting \"%.*s\"; the settings are %s", shown(name),
                   (const char *)name.p, list);
}

enum status settings_set(struct settings *settings, const char *name, struct bytes value,
                         struct err *err)
{
    const struct key *key = key_find(bytes_of(name));
    if (!key)
        return unknown_key(bytes_of(name), err);
    if (strcmp(name, "hostname") == 0 && !hostname_is_good(value))
        return err_set(err, BAD_INPUT,
                       "hostname: \"%.*s\" is not a host name (1-63 letters, digits and inner "
                       "hyphens; not digits alone, "
                       "nor localhost)",
                       shown(value), (const char *)value.p);
    enum status status = settings_net_check(name, value, err);
    if (status != OK)
        return status;
    switch (key->kind) {
    case TEXT:
        return set_text(settings, key, value, err);
    case NUMBER:
    case CONTEXT:
        return set_number(settings, key, value, err);
    case LEVEL:
        return set_level(settings, key, value, err);
    case KV_TYPE:
        return set_kv_type(settings, key, value, err);
    case FLAG:
        return set_flag(settings, key, value, err);
    case AUTO_OFF:
        return set_auto_off(settings, key, value, err);
    case DURATION:
        return set_duration(settings, key, value, err);
    }
    return UNSUPPORTED;
}

// Takes the value apart from quotes and a comment behind it.
static enum status value_of(struct bytes raw, struct bytes *value, struct err *err)
{
    raw = trim(raw);
    if (raw.n && raw.p[0] == '"') {
        const uint8_t *end = memchr(raw.p + 1, '"', raw.n - 1);
        if (!end)
            return err_set(err, BAD_INPUT, "the closing quote is missing");
        struct bytes rest = trim((struct bytes){end + 1, raw.n - (size_t)(end + 1 - raw.p)});
        if (rest.n && rest.p[0] != '#')
            return err_set(err, BAD_INPUT, "there is text after the closing quote");
        *value = (struct bytes){raw.p + 1, (size_t)(end - raw.p) - 1};
        return OK;
    }
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] == '#' && (i == 0 || raw.p[i - 1] == ' ' || raw.p[i - 1] == '\t'))
            raw.n = i;
    *value = trim(raw);
    return OK;
}

static enum status read_line(struct settings *settings, struct bytes line, int line_at,
                             int *seen_at, struct err *err)
{
    line = trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return OK;
    const uint8_t *equals = memchr(line.p, '=', line.n);
    if (!equals)
        return err_set(err, BAD_INPUT, // what stands there may be anything, a password too
                       "this is not a `key = value` line (a comment begins with #)");
    struct bytes name = trim((struct bytes){line.p, (size_t)(equals - line.p)}), value;
    const struct key *key = key_find(name);
    if (!key)
        return unknown_key(name, err);
    int *seen = &seen_at[key - keys];
    if (*seen)
        return err_set(err, BAD_INPUT, "%s was set in line %d already", key->name, *seen);
    *seen = line_at;
    enum status status =
        value_of((struct bytes){equals + 1, line.n - (size_t)(equals + 1 - line.p)}, &value, err);
    if (status != OK) {
        (void)err_prefix(err, "%s", key->name);
        return status;
    }
    return settings_set(settings, key->name, value, err);
}

// The next line of *text, which then begins behind it; false: there is none.
static bool next_line(struct bytes *text, struct bytes *line)
{
    if (!text->n)
        return false;
    const uint8_t *end = memchr(text->p, '\n', text->n);
    line->p = text->p;
    line->n = end ? (size_t)(end - text->p) : text->n;
    text->p += line->n + (end ? 1 : 0);
    text->n -= line->n + (end ? 1 : 0);
    return true;
}

static struct bytes without_mark(struct bytes text) // a UTF-8 byte order mark
{
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0) {
        text.p += 3;
        text.n -= 3;
    }
    return text;
}

enum status settings_parse(struct settings *settings, struct bytes text, const char *name,
                           struct err *err)
{
    struct settings changed = *settings;
    struct bytes line;
    int seen_at[COUNT_OF(keys)] = {0};
    enum status status = OK;
    text = without_mark(text);
    for (int line_at = 1; status == OK && next_line(&text, &line); line_at++) {
        status = read_line(&changed, line, line_at, seen_at, err);
        if (status != OK)
            (void)err_prefix(err, "%s line %d", name, line_at);
    }
    if (status == OK)
        *settings = changed;
    return status;
}

const char *settings_named(const char *text)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const size_t n = strlen(keys[i].name);
        if (strncmp(text, keys[i].name, n) == 0 && (text[n] == ':' || text[n] == ' '))
            return keys[i].name;
    }
    return NULL;
}

void settings_reset(struct settings *settings, const char *name)
{
    struct settings usual;
    const struct key *key = key_find(bytes_of(name));
    if (!key)
        return;
    settings_default(&usual);
    memcpy((char *)settings + key->offset, (const char *)&usual + key->offset, key->size);
}

void settings_fault(struct settings_report *report, const char *file, int line,
                    const struct err *err)
{
    const size_t at = report->n_faults++;
    if (at >= SETTING_FAULTS)
        return;
    const char *name = settings_named(err->text), *slash = file ? strrchr(file, '/') : NULL;
    char *place = report->place[at];
    report->fault[at] = *err;
    if (file) {
        (void)err_prefix(&report->fault[at], "%s line %d", file, line);
        snprintf(place, SETTING_PLACE_BYTES, "%.60s line %d%s%s", slash ? slash + 1 : file, line,
                 name ? ": " : "", name ? name : "");
    } else {
        snprintf(place, SETTING_PLACE_BYTES, "%s", name ? name : "a file of settings");
    }
    place[utf8_whole(bytes_of(place))] = 0;
}

void settings_parse_rest(struct settings *settings, struct bytes text, const char *name,
                         enum setting_source source, struct settings_report *report)
{
    struct bytes line;
    int seen_at[COUNT_OF(keys)] = {0};
    _Static_assert(COUNT_OF(keys) <= SETTINGS_MOST, "a report has a place for each setting");
    text = without_mark(text);
    for (int line_at = 1; next_line(&text, &line); line_at++) {
        struct err err = {0};
        if (read_line(settings, line, line_at, seen_at, &err) == OK)
            continue;
        for (size_t i = 0; i < COUNT_OF(keys); i++)
            seen_at[i] = seen_at[i] == line_at ? 0 : seen_at[i]; // a right one may follow
        settings_fault(report, name, line_at, &err);
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (seen_at[i])
            report->source[i] = (uint8_t)source;
}

enum status settings_read(struct settings *settings, const char *path, struct err *err)
{
    struct buf file;
    enum status status = file_read(&file, path, FILE_CAP, err);
    if (status != OK)
        return status;
    status = settings_parse(settings, buf_view(&file), path, err);
    buf_free(&file);
    return status;
}
