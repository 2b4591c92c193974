"""The surface over curl: what is open and what wants the key, the certificate, answers and refusals."""

import gzip
import json
import re
import subprocess

from tools import SHORT, Server, WORK, check, curl, events_of


def page_files(server):
    """What the page is made of: without a key, in gzip where that is taken, again only when it changed, and nothing else there."""
    for name, kind in (("main.js", "text/javascript"), ("base.css", "text/css"), ("owl.svg", "image/svg+xml"), ("markdown-it.js", "text/javascript")):
        plain = server.ask("GET", "/page/" + name, key=False)
        zipped = server.ask("GET", "/page/" + name, key=False, headers={"Accept-Encoding": "br, gzip;q=0.8"})
        check("curl: /page/%s, plain and in gzip" % name, plain[0] == zipped[0] == 200 and plain[1]["content-type"].startswith(kind) and
              "content-encoding" not in plain[1] and zipped[1]["content-encoding"] == "gzip" and gzip.decompress(zipped[2]) == plain[2] and
              len(zipped[2]) < len(plain[2]) and plain[1]["etag"] != zipped[1]["etag"] and "Accept-Encoding" in plain[1]["vary"], (plain[:2], zipped[:2]))
        again = server.ask("GET", "/page/" + name, key=False, headers={"If-None-Match": plain[1]["etag"]})
        check("curl: ... and nothing of it again while it is the same", again[0] == 304 and again[2] == b"", again)
    refused = server.ask("GET", "/page/main.js", key=False, headers={"Accept-Encoding": "gzip;q=0"})
    check("curl: gzip;q=0 means none", "content-encoding" not in refused[1], refused[:2])
    for name in ("index.html", "embed.sh", "../page.c", "%2e%2e/health", "main.js/", "MAIN.JS", "x"):
        status = server.ask("GET", "/page/" + name, key=False)[0]
        check("curl: /page/%s" % name, status in ((200,) if name == "main.js/" else (400, 404)), status)


def curl_public(server):
    bearer = ("-H", "Authorization: Bearer " + server.key())
    code, text = curl(server, server.url + "/health")
    health = json.loads(text) if code == 0 else {}
    check("curl: /health without a key names device, backend, layers, model, version",
          health.get("status") == "ready" and health.get("device") and health.get("backend") and health.get("model")
          and health.get("version") and re.fullmatch(r"\d+/\d+", health.get("layers") or ""), text)
    code, text = curl(server, "-D-", "-o", "/dev/null", server.url + "/")
    check("curl: the page has a strict policy", code == 0 and all(
        part in text for part in ("default-src 'none'", "script-src 'self';", "style-src 'self';", "require-trusted-types-for 'script'")) and
        "unsafe" not in text, text)
    code, text = curl(server, server.url + "/")
    check("curl: the page names the fingerprint and every system",
          all(word in text for word in ("Windows", "macOS", "Linux", "iPhone", "Android", "Firefox")) and
          re.search(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", text) and "http-equiv" not in text and
          re.findall("<script[^>]*>", text) == ['<script type="module" src="/page/main.js">'] and not re.search(r"\son\w+=|\sstyle=", text), text)
    check("curl: nothing on the page comes from elsewhere", not re.search(r"(?:src|href)=['\"](?!/|data:,)", text), text)
    check("curl: no secret on the page", server.key() not in text)
    page_files(server)
    code, text = curl(server, "http://127.0.0.1:%d/ca.crt" % server.plain)
    check("curl: /ca.crt on the plain port is the CA", code == 0 and text == server.ca.read_text(), text)
    code, text = curl(server, server.url + "/ca.crt")
    check("curl: /ca.crt over TLS too", code == 0 and text == server.ca.read_text(), text)
    for path, method in (("/", "GET"), ("/v1/models", "GET"), ("/v1/chat/completions", "POST")):
        code, text = curl(server, "-i", "-X", method, *bearer, "http://127.0.0.1:%d%s" % (server.plain, path))
        check("curl: the plain port sends %s %s to https" % (method, path),
              " 308 " in text.splitlines()[0] and "https://127.0.0.1:%d/" % server.port in text, text)
    code, text = curl(server, server.url + "/notices")
    check("curl: the licences of what is linked in", code == 0 and "bearssl" in text.lower() and "yyjson" in text.lower(), text)
    code, text = curl(server, "-I", server.url + "/health")
    check("curl: HEAD /health", code == 0 and " 200 " in text, text)
    done = subprocess.run(["curl", "-sS", server.url + "/health"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    check("curl: without the CA the certificate is refused", done.returncode == 60, done)
    for name, address in (("localhost", "127.0.0.1"), ("tawny.local", "127.0.0.1"), ("tawny", "127.0.0.1")):
        code, text = curl(server, "--resolve", "%s:%d:%s" % (name, server.port, address),
                          "https://%s:%d/health" % (name, server.port))
        check("curl: the certificate covers %s" % name, code == 0, text)


def curl_keys(server):
    url, key = server.url + "/v1/models", server.key()
    for name, arguments in (("no key", ()), ("a wrong key", ("-H", "Authorization: Bearer tawny-wrong")),
                            ("the key cut short", ("-H", "Authorization: Bearer " + key[:-1])),
                            ("the key and more", ("-H", "Authorization: Bearer " + key + "x")),
                            ("another scheme", ("-H", "Authorization: Basic " + key)),
                            ("an empty key", ("-H", "Authorization: Bearer ")),
                            ("a wrong x-api-key", ("-H", "x-api-key: nonsense"))):
        code, text = curl(server, "-i", *arguments, url)
        check("curl: %s is a 401" % name, " 401 " in text.splitlines()[0] and "WWW-Authenticate: Bearer" in text, text)
    for name, arguments in (("Bearer", ("-H", "Authorization: Bearer " + key)), ("bearer", ("-H", "Authorization: bearer " + key)),
                            ("x-api-key", ("-H", "x-api-key: " + key))):
        code, text = curl(server, *arguments, url)
        check("curl: the key as %s" % name, '"object":"list"' in text, text)
    code, text = curl(server, "-i", server.url + "/secret/path")
    check("curl: an unknown path is a 401 without a key", " 401 " in text.splitlines()[0], text)
    code, text = curl(server, "-i", "-H", "x-api-key: " + key, server.url + "/secret/path")
    check("curl: an unknown path is a 404 with one", " 404 " in text.splitlines()[0] and "nothing at /secret/path" in text and
          "/v1/chat/completions" in text, text)
    code, text = curl(server, "-H", "x-api-key: " + key, server.url + "/api/nothing")
    check("curl: an unknown path is told its neighbours", "/api/embed" in text and "/v1/" not in text, text)
    code, text = curl(server, "-i", "-X", "DELETE", "-H", "x-api-key: " + key, server.url + "/v1/models")
    check("curl: a wrong method is a 405 with Allow", " 405 " in text.splitlines()[0] and "Allow: GET" in text, text)
    code, text = curl(server, "-i", "-X", "OPTIONS", "-H", "Origin: https://evil.example", "-H",
                      "Access-Control-Request-Method: POST", server.url + "/v1/chat/completions")
    check("curl: another origin is not let in", "access-control" not in text.lower(), text)


def curl_answers(server):
    post = ("-H", "Authorization: Bearer " + server.key(), "-H", "Content-Type: application/json", "-N")
    chat, plain = server.url + "/v1/chat/completions", server.url + "/v1/completions"
    ask = '"messages":[{"role":"user","content":"hello"}],"temperature":0,"max_tokens":12'
    code, text = curl(server, *post, "-d", "{%s}" % ask, chat)
    whole = json.loads(text)["choices"][0]["message"]["content"]
    check("curl: chat", code == 0 and whole, text)
    code, text = curl(server, *post, "-d", '{%s,"stream":true}' % ask, chat)
    streamed = "".join(e["choices"][0]["delta"].get("content", "") for e in events_of(text))
    check("curl: chat, streamed, is the same text", streamed == whole and text.rstrip().endswith("data: [DONE]"), text)
    check("curl: no usage unless asked for", all("usage" not in e for e in events_of(text)), text)
    code, text = curl(server, *post, "-d", '{%s,"stream":true,"stream_options":{"include_usage":true}}' % ask, chat)
    last = events_of(text)[-1]
    check("curl: usage in the last chunk", last["choices"] == [] and last["usage"]["total_tokens"] ==
          last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"], last)
    code, text = curl(server, *post, "-d", '{"prompt":[5,6,7],"max_tokens":3,"temperature":0}', plain)
    check("curl: completions of token ids", json.loads(text)["usage"]["prompt_tokens"] == 3, text)
    code, text = curl(server, *post, "-d", '{"prompt":[5,2147483647],"max_tokens":3}', plain)
    check("curl: an id beyond the vocabulary", json.loads(text)["error"]["param"] == "prompt" and "2147483647" in text, text)
    code, text = curl(server, *post, "-d", '{"prompt":"x","logit_bias":{"2147483647":1}}', plain)
    check("curl: a bias for a token beyond it", json.loads(text)["error"]["param"] == "logit_bias" and "2147483647" in text, text)
    code, text = curl(server, *post, "-d", '{"prompt":"abc","max_tokens":3,"echo":true,"temperature":0}', plain)
    check("curl: completions with echo", json.loads(text)["choices"][0]["text"].startswith("abc"), text)
    stop = whole[3:6]
    for stops in (json.dumps(stop), json.dumps(["\u0001never", stop])):
        code, text = curl(server, *post, "-d", '{%s,"stop":%s}' % (ask, stops), chat)
        choice = json.loads(text)["choices"][0]
        check("curl: stop %s" % stops, choice["message"]["content"] == whole[:whole.index(stop)] and
              choice["finish_reason"] == "stop", text)
    code, text = curl(server, *post, "-d", '{%s,"max_completion_tokens":2}' % ask.replace(',"max_tokens":12', ""), chat)
    answer = json.loads(text)
    check("curl: max_completion_tokens", answer["usage"]["completion_tokens"] == 2 and
          answer["choices"][0]["finish_reason"] == "length", text)
    refusals = (("unknown model", '{%s,"model":"x"}' % ask, 404, "model_not_found"), ("no JSON", "hello", 400, "invalid_json"),
                ("n=17", '{%s,"n":17}' % ask, 400, "invalid_value"), ("temperature", '{%s,"temperature":9}' % ask, 400, None),
                ("duplicate key", '{%s,"max_tokens":3}' % ask, 400, "invalid_json"),
                ("too long", '{"messages":[{"role":"user","content":"%s"}]}' % ("wort " * 9000), 400, "context_length_exceeded"),
                ("too long, streamed", '{"stream":true,"messages":[{"role":"user","content":"%s"}]}' % ("wort " * 9000), 400,
                 "context_length_exceeded"))
    for name, body, status, code_wanted in refusals:
        (WORK / "body").write_text(body)
        code, text = curl(server, "-w", "\n%{http_code}", *post, "-d", "@%s" % (WORK / "body"), chat)
        error = json.loads(text.rsplit("\n", 1)[0])["error"]
        check("curl: %s is a %d" % (name, status), text.endswith(str(status)) and error["message"] and
              (code_wanted is None or error["code"] == code_wanted), text)


def run(model):
    server = Server("curl", model, options=SHORT)
    health = server.wait()
    if not check("serve: ready", health and health["status"] == "ready", server.log.read_text()[-500:]):
        server.stop()
        return
    curl_public(server)
    curl_keys(server)
    curl_answers(server)
    check("serve: stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    check("serve: the key never reaches the log", server.key() not in server.log.read_text())
