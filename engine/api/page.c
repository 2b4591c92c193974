// page.c - GET /: what this box is, how to trust its certificate on every system, and how to talk
// to it.
//
// One self-contained page: no script, no image, no font or file from elsewhere, and a
// Content-Security-Policy that allows nothing but its own style (by a nonce). Names in it are
// @MARKED@ and filled in, escaped, when it is sent. It needs no key and shows none.
#include "inside.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_BYTES_MOST = 1 << 16 };

static const char style[] =
    ":root{color-scheme:light "
    "dark;--ink:#2b2118;--soft:#75665a;--paper:#fbf7f2;--card:#fff;--line:#e8ddd0;"
    "--tawny:#b4601c;--code:#f5ede3;--good:#2f7d4f;--bad:#b3372b}"
    "@media(prefers-color-scheme:dark){:root{--ink:#f0e7dc;--soft:#ad9c8b;--paper:#191410;--card:#"
    "231c16;--line:#3b3026;"
    "--tawny:#e9964e;--code:#2e241b;--good:#6cc48e;--bad:#ef8275}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,sans-serif}"
    "main{max-width:46rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}"
    "h1{font-size:2.2rem;margin:0;letter-spacing:-.02em;color:var(--tawny)}"
    "h2{font-size:1.25rem;margin:2.4rem 0 .6rem}"
    "p{margin:.5rem 0}a{color:var(--tawny)}"
    ".lead{color:var(--soft);font-size:1.05rem;margin:.2rem 0 1.4rem}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem "
    "1.2rem;margin:.8rem 0}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:0}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    ".ready{color:var(--good);font-weight:600}.failed{color:var(--bad);font-weight:600}.loading{"
    "font-weight:600}"
    "code,pre{font:.86rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    "code{background:var(--code);border-radius:4px;padding:.1em .35em;overflow-wrap:anywhere}"
    "pre{background:var(--code);border:1px solid var(--line);border-radius:8px;padding:.8rem "
    "1rem;overflow-x:auto;"
    "margin:.6rem 0}pre code{background:none;padding:0;overflow-wrap:normal}"
    ".print{font-size:.92rem;letter-spacing:.03em;display:block;padding:.6rem .8rem;margin:.5rem 0}"
    ".button{display:inline-block;background:var(--tawny);color:var(--paper);text-decoration:none;"
    "font-weight:600;"
    "border-radius:8px;padding:.55rem 1.1rem;margin:.3rem 0}"
    "details{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:.5rem "
    "0;padding:0 1.1rem}"
    "summary{cursor:pointer;font-weight:600;padding:.7rem 0}details[open]{padding-bottom:.7rem}"
    "ol{margin:.3rem 0;padding-left:1.3rem}li{margin:.25rem 0}"
    "footer{color:var(--soft);font-size:.88rem;margin-top:3rem;border-top:1px solid "
    "var(--line);padding-top:1rem}";

static const char head[] =
    "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width,initial-scale=1'>"
    "<title>Tawny on @NAME@</title><link rel='icon' href='data:,'>"
    "<style nonce='@NONCE@'>@STYLE@</style></head><body><main>\n"
    "<h1>Tawny</h1>\n<p class='lead'>A language model on your own machine, over HTTPS.</p>\n"
    "<div class='card'><dl>"
    "<dt>State</dt><dd class='@CLASS@'>@STATE@</dd>"
    "<dt>Model</dt><dd>@MODEL@</dd>"
    "<dt>Device</dt><dd>@DEVICE@</dd>"
    "<dt>Why this one</dt><dd>@REASON@</dd>"
    "<dt>Address</dt><dd>https://@HOST@/v1</dd>"
    "</dl></div>\n";

static const char trust[] =
    "<h2>1. Trust this box</h2>\n"
    "<p>This box made its own certificate authority (CA) when it first started; its private key "
    "never leaves it. Your "
    "devices trust the box once they trust that CA.</p>\n"
    "<p><a class='button' href='/ca.crt'>Download tawny-ca.crt</a></p>\n"
    "<p>Before you install it, compare the SHA-256 fingerprint of the <b>file you downloaded</b> "
    "with the one on the box's own console. They must be the same, or somebody sits between you "
    "and the box. Do not compare with this page: whoever sits there can write here what he "
    "likes. On macOS and Linux, and below for others:</p>\n"
    "<pre><code>openssl x509 -in tawny-ca.crt -noout -fingerprint -sha256</code></pre>\n"
    "<p>This box says of itself that it is:</p>\n"
    "<code class='print'>@FINGERPRINT@</code>\n"
    "<details><summary>Windows</summary><ol>"
    "<li>Open <code>tawny-ca.crt</code>, choose <b>Install Certificate</b>, <b>Current "
    "User</b>.</li>"
    "<li>Choose <b>Place all certificates in the following store</b> and pick <b>Trusted Root "
    "Certification "
    "Authorities</b>.</li></ol><p>Windows shows a SHA-1 fingerprint only. In PowerShell, the "
    "SHA-256 one, and the installation:</p>"
    "<pre><code>$c = New-Object Security.Cryptography.X509Certificates.X509Certificate2 "
    "\"$PWD\\tawny-ca.crt\"\n"
    "[BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($c.RawData)) "
    "-replace '-', ':'</code></pre>"
    "<pre><code>certutil -user -addstore Root tawny-ca.crt</code></pre></details>\n"
    "<details><summary>macOS</summary><ol>"
    "<li>Open <code>tawny-ca.crt</code>; Keychain Access adds it to <b>login</b>.</li>"
    "<li>Open it there, unfold <b>Trust</b>, and set <b>When using this certificate</b> to "
    "<b>Always Trust</b>.</li></ol>"
    "<p>Or in Terminal:</p><pre><code>sudo security add-trusted-cert -d -r trustRoot \\\n"
    "  -k /Library/Keychains/System.keychain tawny-ca.crt</code></pre></details>\n"
    "<details><summary>Linux</summary><p>Debian, Ubuntu, Proxmox:</p>"
    "<pre><code>sudo cp tawny-ca.crt /usr/local/share/ca-certificates/\nsudo "
    "update-ca-certificates</code></pre>"
    "<p>Fedora, RHEL:</p><pre><code>sudo cp tawny-ca.crt /etc/pki/ca-trust/source/anchors/\n"
    "sudo update-ca-trust</code></pre>"
    "<p>Chrome and Chromium keep their own list:</p>"
    "<pre><code>certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n tawny -i "
    "tawny-ca.crt</code></pre></details>\n"
    "<details><summary>iPhone and iPad</summary><ol>"
    "<li>In Safari open <code>http://@NAME@/ca.crt</code> and allow the profile to be "
    "downloaded.</li>"
    "<li>Settings &rarr; <b>Profile Downloaded</b> &rarr; <b>Install</b>.</li>"
    "<li>Settings &rarr; General &rarr; About &rarr; <b>Certificate Trust Settings</b>: switch it "
    "on. Without this step "
    "it is installed but not trusted.</li></ol></details>\n"
    "<details><summary>Android</summary><ol>"
    "<li>Download <code>tawny-ca.crt</code>.</li>"
    "<li>Settings &rarr; Security &rarr; Encryption &amp; credentials &rarr; Install a certificate "
    "&rarr; <b>CA "
    "certificate</b> &rarr; <b>Install anyway</b> (names differ a little between makers).</li></ol>"
    "<p>Browsers use it then; other apps only if their makers allow it.</p></details>\n"
    "<details><summary>Firefox</summary><p>On Windows, macOS and Android it follows the system. On "
    "Linux:</p><ol>"
    "<li>Settings &rarr; Privacy &amp; Security &rarr; <b>View Certificates</b> &rarr; "
    "<b>Authorities</b> &rarr; "
    "<b>Import</b>.</li><li>Tick <b>Trust this CA to identify websites</b>.</li></ol></details>\n"
    "<details><summary>Programs, without touching the system</summary>"
    "<pre><code>curl -o tawny-ca.crt http://@NAME@/ca.crt\n"
    "openssl x509 -in tawny-ca.crt -noout -fingerprint -sha256   # compare with the console\n\n"
    "export SSL_CERT_FILE=$PWD/tawny-ca.crt          # Python (httpx, openai), Go, OpenSSL\n"
    "export NODE_EXTRA_CA_CERTS=$PWD/tawny-ca.crt    # Node.js\n"
    "curl --cacert tawny-ca.crt https://@HOST@/health</code></pre></details>\n";

static const char use[] =
    "<h2>2. Talk to it</h2>\n"
    "<p>It speaks OpenAI's API. The key was made at the first start: the box shows it on its "
    "console, and keeps it in "
    "<code>api-key</code> in its state directory.</p>\n"
    "<details open><summary>curl</summary><pre><code>export TAWNY_KEY=tawny-...\n"
    "curl --cacert tawny-ca.crt https://@HOST@/v1/chat/completions \\\n"
    "  -H \"Authorization: Bearer $TAWNY_KEY\" -H 'Content-Type: application/json' \\\n"
    "  -d "
    "'{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}],\"stream\":true}'</code></pre></"
    "details>\n"
    "<details><summary>Python (openai)</summary><pre><code>from openai import OpenAI\n\n"
    "client = OpenAI(base_url=\"https://@HOST@/v1\", api_key=\"tawny-...\")\n"
    "stream = client.chat.completions.create(\n    model=\"@MODEL@\", stream=True,\n"
    "    messages=[{\"role\": \"user\", \"content\": \"Hello!\"}])\n"
    "for chunk in stream:\n    print(chunk.choices[0].delta.content or \"\", end=\"\", "
    "flush=True)</code></pre></details>\n"
    "<details><summary>JavaScript (openai)</summary><pre><code>import OpenAI from \"openai\";\n\n"
    "const client = new OpenAI({ baseURL: \"https://@HOST@/v1\", apiKey: \"tawny-...\" });\n"
    "const answer = await client.chat.completions.create({\n  model: \"@MODEL@\",\n"
    "  messages: [{ role: \"user\", content: \"Hello!\" }],\n});\n"
    "console.log(answer.choices[0].message.content);</code></pre></details>\n"
    "<details><summary>Chat programs and editors</summary><p>Choose &ldquo;OpenAI "
    "compatible&rdquo; and give them:</p><dl>"
    "<dt>Base URL</dt><dd><code>https://@HOST@/v1</code></dd><dt>API key</dt><dd>the one on the "
    "console</dd>"
    "<dt>Model</dt><dd><code>@MODEL@</code></dd></dl></details>\n"
    "<footer>Tawny @VERSION@ &middot; <a href='/health'>health</a> &middot; <a "
    "href='/notices'>licences</a> &middot; everything on this "
    "page came from this box; it "
    "loads nothing from elsewhere.</footer>\n</main></body></html>\n";

static enum status html_text(struct buf *out, struct bytes text)
{
    enum status status = OK;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        uint8_t c = text.p[i];
        if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
            status = buf_format(out, "&#%d;", c);
        else
            status = buf_add(out, &text.p[i], 1);
    }
    return status;
}

struct mark {
    const char *name;
    const char *text;
    bool raw; // our own, not escaped
};

// Copies `template` with every @NAME@ replaced.
static enum status fill(struct buf *out, const char *template, const struct mark *marks,
                        size_t n_marks)
{
    enum status status = OK;
    while (*template && status == OK) {
        size_t plain = strcspn(template, "@");
        status = buf_add(out, template, plain);
        template += plain;
        if (!*template || status != OK)
            break;
        size_t n = strcspn(template + 1, "@");
        const struct mark *found = NULL;
        for (size_t i = 0; i < n_marks; i++)
            if (strlen(marks[i].name) == n && memcmp(marks[i].name, template + 1, n) == 0)
                found = &marks[i];
        if (!found)
            die("page.c: a mark @%.20s is not filled in", template + 1);
        status = found->raw ? buf_add(out, found->text, strlen(found->text))
                            : html_text(out, bytes_of(found->text));
        template += n + 2;
    }
    return status;
}

// The host as the visitor typed it (with its port), when it looks like one; else the box's own
// name.
static void host_of(const struct api *api, const struct request *request, char *host, size_t size,
                    char *name, size_t name_size)
{
    bool good = request->host.n > 0 && request->host.n < size;
    for (size_t i = 0; i < request->host.n && good; i++) {
        uint8_t c = request->host.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("-._[]:", c));
    }
    snprintf(host, size, "%s.local", api->hostname);
    if (good) {
        memcpy(host, request->host.p, request->host.n);
        host[request->host.n] = 0;
    }
    snprintf(name, name_size, "%s", host);
    char *port = strrchr(name, ':'), *bracket = strrchr(name, ']');
    if (port && port > bracket)
        *port = 0;
}

static void state_of(const struct api *api, const char **class_name, char *text, size_t size)
{
    const struct sched_status *now = sched_status(api->options.sched);
    static const char *const classes[] = {"loading", "ready", "failed", "failed"};
    *class_name = classes[now->state];
    if (now->state == SCHED_READY)
        snprintf(text, size, "ready");
    else if (now->state == SCHED_LOADING)
        snprintf(text, size, "loading the model");
    else if (now->state == SCHED_STOPPING)
        snprintf(text, size, "shutting down");
    else
        snprintf(text, size, "failed: %s. GET /v1/doctor (with the key) says what to do.",
                 now->err.text);
}

// "AMD Radeon 8060S Graphics (integrated, vulkan, radv 25.0.7), 36 of 36 layers on it"
static void device_of(const struct sched_status *now, char *text, size_t size)
{
    const struct compute_info *device = &now->device;
    snprintf(text, size, "%s",
             device->device[0]             ? device->device
             : now->state == SCHED_LOADING ? "not opened yet"
                                           : "none");
    if (device->driver[0])
        snprintf(text + strlen(text), size - strlen(text), " (%s, %s, %s)", device->kind,
                 device->backend, device->driver);
    if (now->model.id[0])
        snprintf(text + strlen(text), size - strlen(text), ", %d of %d layers on it",
                 (int)now->model.n_layer_on_device, (int)now->model.n_layer);
}

void page_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct sched_status *now = sched_status(api->options.sched);
    char host[256], name[256], nonce[33], state[480], policy[200], fingerprint[96], device[320];
    const char *class_name;
    uint8_t random[16];
    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(nonce + 2 * i, 3, "%02x", random[i]);
    host_of(api, request, host, sizeof(host), name, sizeof(name));
    state_of(api, &class_name, state, sizeof(state));
    net_ca_fingerprint(api->net, fingerprint);
    device_of(now, device, sizeof(device));
    const struct mark marks[] = {
        {"NAME", name, false},
        {"NONCE", nonce, true},
        {"STYLE", style, true},
        {"CLASS", class_name, true},
        {"STATE", state, false},
        {"MODEL", now->model.id[0] ? now->model.id : "none", false},
        {"DEVICE", device, false},
        {"REASON", now->device.reason[0] ? now->device.reason : "see the state", false},
        {"HOST", host, false},
        {"FINGERPRINT", fingerprint, false},
        {"VERSION", api->version, false},
    };
    struct buf body;
    buf_init(&body, PAGE_BYTES_MOST);
    enum status status = fill(&body, head, marks, COUNT_OF(marks));
    if (status == OK)
        status = fill(&body, trust, marks, COUNT_OF(marks));
    if (status == OK)
        status = fill(&body, use, marks, COUNT_OF(marks));
    snprintf(policy, sizeof(policy),
             "default-src 'none'; style-src 'nonce-%s'; img-src data:; base-uri 'none'; "
             "form-action 'none'; "
             "frame-ancestors 'none'",
             nonce);
    exchange_reply_header(exchange, "Content-Security-Policy", policy);
    exchange_reply_header(exchange, "Referrer-Policy", "no-referrer");
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    if (status == OK)
        exchange_reply(exchange, 200, "text/html; charset=utf-8", buf_view(&body));
    else
        exchange_reply(exchange, 500, "text/plain",
                       bytes_of("The page does not fit its buffer.\n"));
    buf_free(&body);
}
