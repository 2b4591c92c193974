"""edges.py - how the server ends, what it is started with, and pages of other origins; called by tests/api/run.

A stop over real TLS: what waits or arrives is refused at once, a stream that runs gets an error event, [DONE] and its last
chunk. SIGHUP that was ignored (nohup) stays ignored. The setting cors, off and on.
"""
import json
import shutil
import signal
import socket
import threading
import time


def raw(server, request, timeout=30):
    """(all that came until the end, seconds it took)"""
    began = time.time()
    s = server.context().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=timeout),
                                     server_hostname="127.0.0.1")
    s.sendall(request)
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except OSError as error:
        data += b"<" + str(error).encode() + b">"  # not a proper end
    s.close()
    return data, time.time() - began


def post(server, **fields):
    body = json.dumps(dict({"messages": [{"role": "user", "content": "Count."}], "max_tokens": 900}, **fields)).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
            % (server.key().encode(), len(body))) + body


def long_post(server):
    """A stream of as many tokens as the context holds: a second and a half for the server under ASan."""
    return post(server, stream=True, ignore_eos=True)


def in_thread(results, name, *arguments):
    thread = threading.Thread(target=lambda: results.__setitem__(name, raw(*arguments)))
    thread.start()
    return thread


def stop(t, model):
    server = t.Server("stop", model, flavour="asan", options=("--parallel", "1", "--threads", "1", *t.SHORT))  # slow: the stream is long
    server.wait()
    results = {}
    threads = [in_thread(results, "running", server, long_post(server))]
    time.sleep(0.2)
    if "running" in results:
        t.check("stop: a long stream runs", False, results)
    threads += [in_thread(results, "waiting", server, post(server)),
                in_thread(results, "waiting, streamed", server, post(server, stream=True))]
    time.sleep(0.2)
    running = [name for name in ("running", "waiting", "waiting, streamed") if name not in results]
    t.check("stop: one runs and two wait", len(running) == 3, results)
    server.process.send_signal(signal.SIGTERM)
    began = time.time()
    time.sleep(0.1)
    arriving, took = raw(server, post(server))
    t.check("stop: a request that arrives gets 503 at once", arriving.startswith(b"HTTP/1.1 503 ") and b'"stopping"' in arriving and
            b"<" not in arriving and took < 2, (arriving, took))
    for thread in threads:
        thread.join(20)
    server.process.wait(10)  # a second SIGTERM would end it at once
    status = server.stop()
    t.check("stop: it ends within its grace", status == 0 and time.time() - began < 8, (status, time.time() - began))
    data, took = results["waiting"]
    t.check("stop: one that waits gets 503 at once", data.startswith(b"HTTP/1.1 503 ") and took < 3 and data.endswith(b"}"), (data, took))
    data, took = results["waiting, streamed"]
    t.check("stop: one that waits for its stream is told at once", took < 3 and b"The server is stopping" in data and
            (data.startswith(b"HTTP/1.1 503 ") or data.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")), (data[-400:], took))
    data, took = results["running"]
    events = [line[6:].strip() for line in data.decode(errors="replace").split("\n") if line.startswith("data: ")]
    ended = len(events) > 3 and events[-1] == "[DONE]" and data.endswith(b"\r\n0\r\n\r\n")
    error = json.loads(events[-3]).get("error") if ended else None
    last = json.loads(events[-2])["choices"][0]["finish_reason"] if ended else None
    whole = ended and not error and last in ("stop", "length")  # a fast machine: it was done before the grace was over
    t.check("stop: a stream that runs ends with an error event, its last chunk and [DONE]", whole or (ended and
            error["message"] == "The server is stopping." and last == "length"), data[-600:])


def nohup(t, model):
    server = t.Server("nohup", model, prefix=("nohup",))
    server.wait()
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    t.check("edges: under nohup, SIGHUP is ignored", server.process.poll() is None and
            (server.wait(seconds=5) or {}).get("status") == "ready", server.process.poll())
    t.check("edges: ... and SIGTERM is not", server.stop() == 0)
    server = t.Server("hup", model)
    server.wait()
    t.check("edges: without nohup, SIGHUP stops it", server.stop(signal.SIGHUP) == 0)


def cors(t, model):
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    path, good, bad = "/v1/chat/completions", "https://chat.example", "https://evil.example"
    off = t.Server("cors-off", model)
    off.wait()
    status, headers, answer = off.ask("OPTIONS", path, key=False, headers=dict(preflight, Origin=good))
    t.check("cors: off: a preflight is refused, with the setting's name", status == 403 and "cors" in answer["error"]["message"] and
            not [h for h in headers if h.startswith("access-control")], (status, headers, answer))
    _, headers, _ = off.ask("GET", "/v1/models", headers={"Origin": good})
    t.check("cors: off: no answer names an origin", not [h for h in headers if h.startswith("access-control")], headers)
    off.stop()
    on = t.Server("cors-on", model, options=("--cors", "%s, http://localhost:3000" % good))
    on.wait()
    status, headers, _ = on.ask("OPTIONS", path, key=False, headers=dict(preflight, Origin=good))
    t.check("cors: on: a preflight is answered without a key", status == 204 and headers.get("access-control-allow-origin") == good and
            headers.get("access-control-allow-methods") == "POST" and headers.get("vary") == "Origin" and
            headers.get("access-control-allow-headers") == preflight["Access-Control-Request-Headers"], (status, headers))
    status, headers, _ = on.ask("OPTIONS", path, key=False, headers=dict(preflight, Origin=bad))
    t.check("cors: on: another origin is refused", status == 403 and "access-control-allow-origin" not in headers, (status, headers))
    status, headers, _ = on.ask("GET", "/v1/models", headers={"Origin": good})
    t.check("cors: on: an answer can be read by its page", status == 200 and headers.get("access-control-allow-origin") == good, headers)
    status, headers, _ = on.ask("POST", path, b"{}", key=False, headers={"Origin": good})
    t.check("cors: on: a refusal too, and the key is wanted", status == 401 and headers.get("access-control-allow-origin") == good, headers)
    on.stop()
    for text in ("chat.example", "https://chat.example/", "https://Chat.example", "https://a.example/path", "https://"):
        done = t.run_verb("serve", "--model", model, "--device", "cpu", "--state", t.WORK / "cors-bad-state", "--listen",
                          "127.0.0.1:%d" % t.free_ports(1)[0], "--listen-http", "", "--cors", text)
        t.check("cors: %s is not an origin" % text, done[0] in (1, 2) and "is not an origin" in done[2], done)


def settings(t, model):
    """Values that cannot be are refused at the start; what is not there only is said. Models are found by their names."""
    for option, text, words in (("--registry", "a b", "registry: 'a b' is not HOST"), ("--hub", "https://x/", "hub: 'https://x/' is not HOST"),
                                ("--proxy", "http://x", "proxy: "), ("--ca", "ca.crt", "begins with a slash")):
        done = t.run_verb("serve", "--model", model, "--device", "cpu", "--state", t.WORK / "bad-state", "--listen",
                          "127.0.0.1:%d" % t.free_ports(1)[0], "--listen-http", "", option, text)
        t.check("settings: %s %s" % (option, text), done[0] in (1, 2) and words in done[2], done)
    other = t.WORK / "settings-models"
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir()
    shutil.copy(model, other / "small.gguf")
    shutil.copy(model, other / "large.gguf")
    (t.WORK / "not.crt").write_text("no certificate\n")
    server = t.Server("settings", "large", options=("--models", "%s, /nowhere/models" % other, "--draft", "other: absent, second, large: second", "--alias", "second: small",
                                                    "--pin", "builtin, absent", "--ca", "%s" % (t.WORK / "not.crt"), *t.SHORT))
    health = server.wait()
    log = server.log.read_text()
    t.check("settings: the model of the start by its name in a further folder", health and health["status"] == "ready" and health["model"] == "large", health)
    t.check("settings: the draft model by an alias", "draft: there is no model \"absent\"" in log and log.count("draft: ") == 1, log[-2000:])
    answer = server.chat("a b c d e f g h i j k l", max_tokens=200, ignore_eos=True)[2]
    t.check("settings: it guesses", "draft" in str(answer.get("timings", {}).get("draft_by")), answer.get("timings"))
    for words in ("models: the folder /nowhere/models is not there now", "pin: there is no model 'absent' now", "not.crt: no PEM certificate"):
        t.check("settings: the log says: " + words, words in log, log[-2000:])
    t.check("settings: and it answers", server.chat()[0] == 200 and server.stop() == 0)
    server = t.Server("settings-none", "nothing", options=("--draft", "nothing"))
    health = server.wait()
    t.check("settings: a model that is not there: /health says it without the box's paths", health["status"] == "failed" and
            'there is no model "nothing"' in health["error"] and str(t.WORK) not in health["error"], health)
    t.check("settings: a draft that is not there is said", "draft: there is no model" in server.log.read_text() and server.stop() == 0)


def shapes(t, model):
    """Whatever is refused, also before a handler sees it, has the shape of its path's dialect."""
    server = t.Server("shapes", model)
    server.wait()
    key = b"Authorization: Bearer " + server.key().encode() + b"\r\n"
    head = b"Host: a\r\nConnection: close\r\n" + key

    def kind(answer):
        error = answer.get("error")
        return "ollama" if isinstance(error, str) else "anthropic" if answer.get("type") == "error" and answer["request_id"] else "openai" if error["message"] else None
    for path, shape in ((b"/v1/chat/completions", "openai"), (b"/api/chat", "ollama"), (b"//api/chat", "ollama"), (b"/v1/messages", "anthropic")):
        for what, code, request in (
                ("a header twice", 400, b"POST %s HTTP/1.1\r\n" + head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
                ("a length that is none", 400, b"POST %s HTTP/1.1\r\n" + head + b"Content-Length: x\r\n\r\n"),
                ("no host", 400, b"POST %s HTTP/1.1\r\n\r\n"),
                ("a coding that is unknown", 501, b"POST %s HTTP/1.1\r\n" + head + b"Transfer-Encoding: zip\r\n\r\n"),
                ("a chunk that is none", 400, b"POST %s HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
                ("a body that is too long", 413, b"POST %s HTTP/1.1\r\n" + head + b"Content-Length: 99999999\r\n\r\n"),
                ("an encoding", 415, b"POST %s HTTP/1.1\r\n" + head + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
                ("no length", 411, b"POST %s HTTP/1.1\r\n" + head + b"\r\n"),
                ("another method", 405, b"PUT %s HTTP/1.1\r\n" + head + b"Content-Length: 0\r\n\r\n"),
                ("what is not there", 404, b"POST %s/nothing/x HTTP/1.1\r\n" + head + b"Content-Length: 0\r\n\r\n"),
                ("no key", 401, b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
                ("too many headers", 431, b"POST %s HTTP/1.1\r\n" + head + b"".join(b"X-%d: y\r\n" % i for i in range(300)) + b"\r\n")):
            data, _ = raw(server, request % path)
            first, _, body = data.partition(b"\r\n\r\n")
            try:
                found = kind(json.loads(body))
            except (ValueError, KeyError, TypeError):
                found = body
            t.check("shapes: %s at %s" % (what, path.decode()), first.startswith(b"HTTP/1.1 %d " % code) and found == shape, data[:600])
    for path, body in (("/v1/chat/completions", {"model": "a\0b", "messages": [{"role": "user", "content": "x"}]}), ("/api/show", {"model": "a\0b"}),
                       ("/api/delete", {"model": "a\0b"}), ("/v1/models/load", {"model": "a\0b"}), ("/v1/models/copy", {"from": "builtin", "to": "a\0b"}),
                       ("/v1/models/pull", {"source": "a\0b"}), ("/v1/models/alias", {"alias": "a\0b", "model": "builtin"})):
        status, _, answer = server.ask("DELETE" if path == "/api/delete" else "POST", path, body)
        text = answer["error"] if isinstance(answer["error"], str) else answer["error"]["message"]
        t.check("shapes: a NUL in a name at %s" % path, status in (400, 404) and "a?b" in text, (status, answer))
    t.check("shapes: it stops", server.stop() == 0)


def run(t, model):
    settings(t, model)
    shapes(t, model)
    stop(t, model)
    nohup(t, model)
    cors(t, model)
