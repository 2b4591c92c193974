"""Keys over HTTP: made, listed, changed, rotated, revoked; what each may do and how much; whose prompts share memory."""

import json
import statistics
import threading
import time

import qr
from tools import Server, check, curl, stream

CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "temperature": 0}
KEYS = "/v1/keys"


def make(server, name, **fields):
    status, _, answer = server.ask("POST", KEYS, dict({"name": name}, **fields))
    return answer if status == 201 else {"status": status, "answer": answer, "secret": "none", "id": "none"}


def lists(server):
    return {key["name"]: key for key in server.ask("GET", KEYS)[2]["data"]}


def administration(server):
    check("keys: at first there is the box's own", [k["id"] for k in server.ask("GET", KEYS)[2]["data"]] == ["box"])
    status, headers, key = server.ask("POST", KEYS, {"name": "phone", "limits": {"requests_per_minute": 600}})
    check("keys: one is made, its secret shown", status == 201 and key["secret"].startswith("tawny-") and len(key["secret"]) == 58 and
          key["scopes"] == ["chat"] and key["limits"] == {"requests_per_minute": 600, "tokens_per_minute": None, "at_once": None} and
          key["last_used"] is None and headers["cache-control"] == "no-store", (status, headers, key))
    check("keys: it works", server.ask("POST", "/v1/chat/completions", CHAT, key=key["secret"])[0] == 200)
    shown = lists(server)["phone"]
    check("keys: the list says when it was used, and no secret", "secret" not in shown and time.time() - shown["last_used"] < 120 and
          shown["since_start"]["requests"] == 1 and shown["since_start"]["completion_tokens"] == 4, shown)
    file = server.state / "keys.json"
    check("keys: the file holds no secret, and is its owner's", key["secret"] not in file.read_text() and key["id"] in file.read_text() and
          file.stat().st_mode & 0o777 == 0o600, file.read_text())
    path = KEYS + "/" + key["id"]
    status, _, again = server.ask("POST", path, {"rotate": True})
    check("keys: rotated: another secret, all else the same", status == 200 and again["secret"] != key["secret"] and
          again["id"] == key["id"] and again["limits"] == key["limits"], again)
    check("keys: the old secret is none, the new one is", server.ask("GET", "/v1/models", key=key["secret"])[0] == 401 and
          server.ask("GET", "/v1/models", key=again["secret"])[0] == 200)
    status, _, changed = server.ask("POST", path, {"name": "tablet", "scopes": ["chat", "admin"], "limits": {"at_once": 3}})
    check("keys: changed, and only what was said", status == 200 and changed["name"] == "tablet" and changed["scopes"] == ["chat", "admin"] and
          changed["limits"] == {"requests_per_minute": 600, "tokens_per_minute": None, "at_once": 3} and "secret" not in changed, changed)
    check("keys: one is asked for", server.ask("GET", path)[2] == lists(server)["tablet"])
    status, _, _ = server.ask("GET", KEYS, key=again["secret"])
    check("keys: its new scope counts at once", status == 200, status)
    status, _, gone = server.ask("DELETE", path)
    check("keys: revoked", status == 200 and gone["deleted"] is True and server.ask("GET", "/v1/models", key=again["secret"])[0] == 401 and
          server.ask("GET", path)[0] == 404 and server.ask("DELETE", path)[0] == 404, gone)


def refusals(server):
    make(server, "taken")
    bad = (({}, "name"), ({"name": ""}, "name"), ({"name": 7}, "name"), ({"name": "x" * 65}, "name"), ({"name": "a\nb"}, "name"),
           ({"name": "a", "scopes": []}, "scopes"), ({"name": "a", "scopes": ["root"]}, "scopes"), ({"name": "a", "scopes": "chat"}, "scopes"),
           ({"name": "a", "limits": {"requests": 5}}, "limits"), ({"name": "a", "limits": {"at_once": 0}}, "limits.at_once"),
           ({"name": "a", "limits": {"at_once": 1.5}}, "limits.at_once"), ({"name": "a", "limits": 5}, "limits"),
           ({"name": "a", "rotate": True}, "rotate"), ({"name": "a", "scope": ["chat"]}, "scope"))
    for body, param in bad:
        status, _, answer = server.ask("POST", KEYS, body)
        check("keys: refused: %s" % json.dumps(body)[:60], status == 400 and answer["error"]["param"] == param, (status, answer))
    status, _, answer = server.ask("POST", KEYS, {"name": "taken"})
    check("keys: a name that is taken", status == 409 and answer["error"]["code"] == "name_taken", answer)
    for method, body in (("DELETE", None), ("POST", {}), ("POST", {"name": "x"}), ("POST", {"rotate": True, "scopes": ["chat"]})):
        status, _, answer = server.ask(method, KEYS + "/box", body)
        check("keys: the box's own key is not to be changed: %s %s" % (method, body), status == 409 and "rotated" in answer["error"]["message"], answer)
    status, headers, answer = server.ask("PUT", KEYS, {})
    check("keys: a wrong method names those there are", status == 405 and headers["allow"] == "GET, HEAD, POST", (status, headers, answer))
    status, headers, _ = server.ask("PATCH", KEYS + "/box", {})
    check("keys: ... of one", status == 405 and headers["allow"] == "GET, HEAD, POST, DELETE", headers)
    check("keys: nothing of it without a key", server.ask("GET", KEYS, key=False)[0] == 401 and
          server.ask("POST", KEYS, {"name": "x"}, key=False)[0] == 401)
    check("keys: no refused one was made", set(lists(server)) == {"the box's own key", "taken"}, lists(server))


def scopes(server):
    secrets = {scope: make(server, "only " + scope, scopes=[scope])["secret"] for scope in ("chat", "models", "admin", "metrics")}
    asks = {"/v1/chat/completions": ("POST", CHAT, {"chat"}), "/v1/models": ("GET", None, {"chat", "models"}), KEYS: ("GET", None, {"admin"}),
            "/v1/doctor": ("GET", None, {"admin"}), "/apply-template": ("POST", {"messages": CHAT["messages"]}, {"chat"})}
    for path, (method, body, allowed) in asks.items():
        for scope, secret in secrets.items():
            status, _, answer = server.ask(method, path, body, key=secret)
            if scope in allowed:
                check("keys: %s may %s %s" % (scope, method, path), status == 200, (status, answer))
            else:
                error = answer["error"] if status == 403 else {}
                check("keys: %s may not %s %s, and is told what is missing" % (scope, method, path), error.get("code") == "missing_scope" and
                      error["type"] == "permission_error" and all(word in error["message"] for word in allowed) and
                      "'only %s'" % scope in error["message"], (status, answer))
    for method, path in (("DELETE", "/v1/models/x"), ("PUT", "/v1/models/x"), ("POST", "/v1/models/load"), ("POST", "/v1/models/unload"),
                         ("DELETE", "/api/delete"), ("POST", "/api/copy"), ("POST", "/api/create"), ("POST", "/api/pull"),
                         ("POST", "/api/push"), ("POST", "/api/blobs/sha256:00")):
        status, _, answer = server.ask(method, path, {"model": "x"}, key=secrets["chat"])
        check("keys: chat may not %s %s, once there is such a thing" % (method, path), status in (403, 404, 405) and
              (status == 403 or "here is nothing at" in json.dumps(answer) or status == 405), (status, answer))
    for secret in secrets.values():
        check("keys: what is open stays so", server.ask("GET", "/health", key=secret)[0] == 200)
    big = b"x" * 100000
    status, _, _ = server.ask("POST", "/v1/chat/completions", big, key=secrets["admin"])
    check("keys: a missing scope is told before the body is read", status == 403, status)


def limits(server):
    key = make(server, "three", limits={"requests_per_minute": 3})
    got = [server.ask("POST", "/v1/chat/completions", CHAT, key=key["secret"]) for _ in range(4)]
    check("keys: three requests a minute", [g[0] for g in got] == [200, 200, 200, 429], [g[0] for g in got])
    check("keys: what is left is told", [g[1].get("x-ratelimit-remaining-requests") for g in got] == ["2", "1", "0", "0"] and
          got[0][1]["x-ratelimit-limit-requests"] == "3" and got[0][1]["x-ratelimit-reset-requests"].endswith("s") and
          "x-ratelimit-limit-tokens" not in got[0][1], got[0][1])
    status, headers, answer = got[3]
    check("keys: and when to come again", 1 <= int(headers["retry-after"]) <= 20 and answer["error"]["code"] == "rate_limit_exceeded" and
          answer["error"]["type"] == "rate_limit_error" and "3 requests a minute" in answer["error"]["message"], (headers, answer))
    check("keys: others do not feel it", server.chat()[0] == 200 and server.ask("GET", "/v1/models", key=key["secret"])[0] == 200)
    server.ask("POST", KEYS + "/" + key["id"], {"limits": {"requests_per_minute": None}})
    status, headers, _ = server.ask("POST", "/v1/chat/completions", CHAT, key=key["secret"])
    check("keys: a limit that was lifted", status == 200 and "x-ratelimit-limit-requests" not in headers, headers)
    key = make(server, "tokens", limits={"tokens_per_minute": 40})
    first = server.ask("POST", "/v1/chat/completions", dict(CHAT, max_tokens=60, ignore_eos=True), key=key["secret"])
    second = server.ask("POST", "/v1/chat/completions", CHAT, key=key["secret"])
    used = first[2]["usage"]["total_tokens"] if first[0] == 200 else 0
    wait = int(second[1].get("retry-after", 0))
    check("keys: what was overdrawn is waited for", used > 40 and second[0] == 429 and abs(wait - (used - 39) * 60 / 40) <= 3 and
          second[1]["x-ratelimit-remaining-tokens"] == "0", (used, second))
    key = make(server, "refused", limits={"tokens_per_minute": 100})
    long = [{"role": "user", "content": "x " * 40000}]
    server.ask("POST", "/v1/chat/completions", {"messages": long}, key=key["secret"])
    counted = server.ask("POST", "/v1/messages/count_tokens", {"model": "builtin", "messages": long}, key=key["secret"])
    found = server.ask("GET", KEYS + "/" + key["id"])[2]
    check("keys: a prompt that is refused or only counted costs no tokens", counted[0] == 200 and counted[2]["input_tokens"] > 33000 and
          found["since_start"]["prompt_tokens"] == 0, (counted, found))
    key = make(server, "one at once", limits={"at_once": 1})
    post = ("-sN", "-H", "Authorization: Bearer " + key["secret"], "-d",
            json.dumps(dict(CHAT, stream=True, max_tokens=400, ignore_eos=True)), server.url + "/v1/chat/completions")
    code, text = curl(server, "--parallel", "--parallel-immediate", *post, "--next", "--cacert", str(server.ca), *post)
    check("keys: one at once", text.count("rate_limit_exceeded") == 1 and text.count("data: [DONE]") == 1, text[:600])
    check("keys: and again when it has ended", server.ask("POST", "/v1/chat/completions", CHAT, key=key["secret"])[0] == 200)


def restart(server, model):
    kept = make(server, "kept", scopes=["chat", "metrics"], limits={"tokens_per_minute": 12345})
    gone = make(server, "gone")
    server.ask("DELETE", KEYS + "/" + gone["id"])
    server.ask("GET", "/v1/models", key=kept["secret"])
    names = set(lists(server))
    server.process.kill()  # no time to write anything
    server.process.wait()
    server.stop()
    server = Server("keys", model, fresh=False)
    server.wait()
    found = lists(server)
    check("keys: they are there after a kill, and the revoked one is not", set(found) == names and
          server.ask("GET", "/v1/models", key=kept["secret"])[0] == 200 and server.ask("GET", "/v1/models", key=gone["secret"])[0] == 401 and
          found["kept"]["limits"]["tokens_per_minute"] == 12345 and found["kept"]["scopes"] == ["chat", "metrics"], found)
    check("keys: a clean end keeps when they were used", server.stop() == 0 and
          [k for k in json.loads((server.state / "keys.json").read_text())["keys"] if k["name"] == "kept"][0]["used"] > 0)
    (server.state / "keys.json").write_text("{broken")
    server = Server("keys", model, fresh=False)
    server.wait()
    check("keys: a spoilt file is set aside, and the box's key works", list(lists(server)) == ["the box's own key"] and
          (server.state / "keys.json.bad").exists() and "set aside" in server.log.read_text(), server.log.read_text()[-300:])
    full = server.state / "keys.json.new"
    full.mkdir()
    (full / "x").write_text("")  # it cannot be written
    status, _, answer = server.ask("POST", KEYS, {"name": "unkept"})
    check("keys: one that cannot be kept is not made", status == 500 and "cannot be kept" in answer["error"]["message"] and
          list(lists(server)) == ["the box's own key"], (status, answer))
    server.stop()


def logs(server):
    status, headers, answer = server.chat("a most secret prompt that no log may hold", max_tokens=3)
    name = headers.get("x-request-id", "")
    check("logs: an answer has a name", status == 200 and len(name) == 28 and name.startswith("req_"), headers)
    others = [server.ask("GET", "/v1/models", key=False)[1], server.ask("GET", "/health", key=False)[1], server.ask("GET", "/nothing")[1],
              server.ask("POST", "/v1/chat/completions", b"{")[1]]
    names = {headers["x-request-id"] for headers in others} | {name}
    check("logs: so has every refusal, each its own", len(names) == 5, others)
    code, text = curl(server, "-i", "-H", "Content-Length: 5x", "--request", "POST", server.url + "/v1/models")
    check("logs: and what is no request", " 400 " in text.splitlines()[0] and "x-request-id: req_" in text, text)
    status, _, answer = server.ask("GET", "/v1/logs?limit=1000")
    lines = [line for line in answer["data"] if name in line["text"]]
    check("logs: the log names it, with what came of it", status == 200 and any(
        "POST /v1/chat/completions: 200 after " in line["text"] and line["text"].endswith(", box") and line["level"] == "info" for line in lines), lines)
    check("logs: no prompt, no key", "secret prompt" not in json.dumps(answer) and server.key() not in json.dumps(answer))
    check("logs: those without a key leave no line", others[0]["x-request-id"] not in json.dumps(answer))
    numbers = [line["number"] for line in answer["data"]]
    check("logs: in order, to the last", numbers == sorted(numbers) and numbers[-1] == answer["last"], numbers[-5:])
    server.ask("GET", "/v1/models")
    later = server.ask("GET", "/v1/logs?since=%d" % answer["last"])[2]
    check("logs: what came since", later["data"] and later["data"][0]["number"] == answer["last"] + 1 and
          any("GET /v1/models: 200" in line["text"] for line in later["data"]), later)
    stream(server, "Count.", 400, leave_after=2, ignore_eos=True)
    until, left = time.time() + 20, []
    while not left and time.time() < until:
        left = [line for line in server.ask("GET", "/v1/logs?limit=50")[2]["data"] if "the client left after" in line["text"]]
        time.sleep(0.1)
    check("logs: a client that left is told so", len(left) == 1 and "req_" in left[0]["text"], left)
    check("logs: by level", all(line["level"] in ("warn", "error") for line in server.ask("GET", "/v1/logs?level=warn")[2]["data"]))
    check("logs: so many", len(server.ask("GET", "/v1/logs?limit=2")[2]["data"]) == 2)
    for query in ("limit=0", "limit=1001", "limit=x", "since=-1", "level=loud", "sinse=1", "limit=", "since=99999999999999999999"):
        status, _, answer = server.ask("GET", "/v1/logs?" + query)
        check("logs: refused: %s" % query, status == 400 and "must" in answer["error"]["message"] or "may have" in answer["error"]["message"], answer)
    beyond = server.ask("GET", "/v1/logs?since=9999999999")[2]
    check("logs: behind the last line there is nothing, and who polls begins anew", beyond["data"] == [] and
          beyond["last"] == 0, beyond)


def audit(server, model):
    key = make(server, "auditor", scopes=["admin"])
    chat = make(server, "chatter")
    path = KEYS + "/" + chat["id"]
    name = server.ask("POST", path, {"rotate": True}, key=key["secret"])[1]["x-request-id"]
    server.ask("POST", path, {"scopes": ["everything"]})
    server.ask("DELETE", path, key=make(server, "nosy")["secret"])  # has not the scope
    server.ask("DELETE", path)
    server.ask("GET", KEYS)
    entries = server.ask("GET", "/v1/audit?limit=6")[2]["data"]
    shown = [(e["key"], e["method"], e["path"] == path, e["status"]) for e in entries]
    nosy = lists(server)["nosy"]["id"]
    check("audit: what was done, by whom, with which outcome", shown == [("box", "POST", False, 201), (key["id"], "POST", True, 200),
          ("box", "POST", True, 400), ("box", "POST", False, 201), (nosy, "DELETE", True, 403), ("box", "DELETE", True, 200)], shown)
    check("audit: the words say which key", entries[1]["request"] == name and entries[1]["what"].startswith("rotated: " + chat["id"]) and
          entries[5]["what"].startswith("revoked: ") and entries[0]["name"] == "the box's own key" and
          entries[0]["peer"].startswith("127.0.0.1:"), entries)
    file = server.state / "audit.log"
    for _ in range(100):  # a thread of its own writes it
        text = file.read_text()
        if json.loads(text.splitlines()[-1])["request"] == entries[5]["request"]:
            break
        time.sleep(0.05)
    check("audit: it is kept, without secrets", text.count("\n") >= 6 and chat["secret"] not in text and file.stat().st_mode & 0o777 == 0o600 and
          json.loads(text.splitlines()[-1])["path"] == path, text[-400:])
    check("audit: not for chat", server.ask("GET", "/v1/audit", key=lists(server) and make(server, "one more")["secret"])[0] == 403)
    server.process.kill()
    server.process.wait()
    server.stop()
    with open(file, "a") as log:
        log.write('{"time":"cut off')
    server = Server("keys", model, fresh=False)
    server.wait()
    again = server.ask("GET", "/v1/audit")[2]["data"]
    check("audit: it is there after a kill, without the line that was cut", [e["request"] for e in again if e["request"] == name] == [name] and
          all(len(e) == 9 for e in again), again[-2:])
    file.write_text("".join(line + "\n" for line in text.splitlines() * (1 + (256 << 10) // len(text))))
    big = file.stat().st_size
    make(server, "rotates it")
    deadline = time.time() + 10
    while not (server.state / "audit.log.1").exists() and time.time() < deadline:
        time.sleep(0.05)
    check("audit: a full file is set aside", (server.state / "audit.log.1").stat().st_size == big and file.stat().st_size < 2000)
    return server


def box(server):
    old = server.key()
    status, _, answer = server.ask("POST", KEYS + "/box", {"rotate": True})
    check("keys: the box's own key is rotated", status == 200 and answer["id"] == "box" and answer["secret"] != old and
          server.key() == answer["secret"] and (server.state / "api-key").stat().st_mode & 0o777 == 0o600, answer)
    check("keys: ... the old one is none", server.ask("GET", KEYS, key=old)[0] == 401 and server.ask("GET", KEYS)[0] == 200)
    for _ in range(100):
        if "API key " + answer["secret"] in server.stdout():
            break
        time.sleep(0.05)
    check("keys: ... and the console shows the new one", server.printed.rstrip().endswith("API key " + answer["secret"]), server.printed[-200:])


def timing(server, secret, text):
    """(seconds until the answer's first word, tokens of the prompt that were there)"""
    began = time.time()
    status, _, answer = server.ask("POST", "/v1/chat/completions", dict(CHAT, max_tokens=1, messages=[{"role": "user", "content": text}]),
                                   key=secret)
    return time.time() - began, answer["usage"]["prompt_tokens_details"]["cached_tokens"] if status == 200 else answer


def sharing(model):
    for options, shares in (((), False), (("--share-prefixes", "yes"), True)):
        server = Server("keys-share", model, options=options)
        server.wait()
        a, b = make(server, "a")["secret"], make(server, "b")["secret"]
        times = {"first": [], "own": [], "other": []}
        cached = {"first": [], "own": [], "other": []}
        for i in range(5):
            text = "Round %d. " % i + "How do I add a model? " * 60
            for name, secret in (("first", a), ("own", a), ("other", b)):
                took, n = timing(server, secret, text)
                times[name].append(took)
                cached[name].append(n)
        took = {name: statistics.median(all) for name, all in times.items()}
        check("keys: what a key asked again was there", min(cached["own"]) > 200, cached)
        if shares:
            check("keys: share-prefixes = yes: and what another asked", min(cached["other"]) > 200, cached)
        else:
            check("keys: what another key asked was not", max(cached["other"]) <= max(cached["first"]) < 40, cached)
            check("keys: nor does its time tell: %.0f ms first, %.0f ms again, %.0f ms by another" % tuple(
                1000 * took[name] for name in ("first", "own", "other")),
                took["other"] ** 2 > took["own"] * took["first"], times)  # as a ratio it is nearer to the first
        server.stop()


def turns(model):
    """One key fills the queue; another has its turn, and the first is told when to come again."""
    server = Server("keys-turns", model, options=("--parallel", "1", "--threads", "1"))
    server.wait()
    greedy, other = make(server, "greedy")["secret"], make(server, "other")["secret"]
    ask = dict(CHAT, max_tokens=60, ignore_eos=True)
    got = []

    def one(i):
        body = dict(ask, messages=[{"role": "user", "content": "Number %d" % i}])
        status, headers, answer = server.ask("POST", "/v1/chat/completions", body, key=greedy, timeout=300)
        got.append((time.time(), status, headers, answer))

    # it goes on until all have come: they take half a second, on a quick machine 700 tokens took no more
    long = threading.Thread(target=lambda: server.ask("POST", "/v1/chat/completions", dict(ask, max_tokens=2500), key=greedy, timeout=300))
    long.start()
    while server.ask("GET", "/health", key=False)[2]["running"] == 0:
        time.sleep(0.01)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(36)]
    for thread in threads:
        thread.start()
    until = time.time() + 30
    while server.ask("GET", "/health", key=False)[2]["waiting"] < 32 and time.time() < until and not got:
        time.sleep(0.02)
    began = time.time()
    status, headers, answer = server.ask("POST", "/v1/chat/completions", dict(CHAT, max_tokens=2), key=other, timeout=300)
    ended = time.time()
    for thread in threads + [long]:
        thread.join()
    refused = [g for g in got if g[1] == 503]
    answered = [g for g in got if g[1] == 200]
    check("turns: 32 wait, and whoever is beyond is told when to come again", len(answered) == 32 and len(refused) == 4 and
          all(1 <= int(g[2]["retry-after"]) <= 60 and "33 requests" in g[3]["error"]["message"] and "of this key" in g[3]["error"]["message"]
              for g in refused), [(g[1], g[3]) for g in got if g[1] != 200][:3])
    places = sorted(int(g[2]["x-tawny-queue-place"]) for g in answered)
    check("turns: each is told its place", places == list(range(1, 33)), places)
    before = sum(g[0] < ended for g in answered)
    check("turns: another key has a place in the full queue, and the next turn", status == 200 and
          headers.get("x-tawny-queue-place") == "33" and before <= 2, (status, headers, before, ended - began))
    server.stop()


def handover(server):
    """A second device is signed in by a code, once; whoever has none learns and costs nothing."""
    made = server.ask("POST", "/v1/keys", {"name": "hand"})[2]
    take = lambda code: server.ask("POST", "/v1/handovers/take", {"code": code}, key=False)
    check("handover: not without a key", server.ask("POST", "/v1/handovers", {}, key=False)[0] == 401)
    status, headers, first = server.ask("POST", "/v1/handovers", {}, key=made["secret"])
    check("handover: a code", status == 201 and len(first["code"]) == 26 and first["expires_in"] == 120 and headers["cache-control"] == "no-store" and
          first["url"] == "%s/#/in/%s" % (server.url, first["code"]) and made["secret"] not in json.dumps(first), first)
    check("handover: the QR code holds its address", qr.read(first["qr"]) == first["url"], first["qr"])
    drawn = [None]
    while drawn[-1] != 429 and len(drawn) < 20:
        status, headers, answer = server.ask("POST", "/v1/handovers", {}, key=made["secret"])
        drawn.append(status)
    check("handover: one code a second", drawn[-1] == 429 and answer["error"]["code"] == "rate_limit_exceeded" and headers["retry-after"] == "1", (drawn, headers))
    time.sleep(1.1)
    second = server.ask("POST", "/v1/handovers", {}, key=made["secret"])[2]
    check("handover: the code before it counts no more", take(first["code"])[0] == 404)
    for body in ({"code": "x" * 26}, {"code": ""}, {"code": 5}, {}, {"code": "x" * 500}, b"{"):
        status, _, answer = server.ask("POST", "/v1/handovers/take", body, key=False)
        check("handover: refused: %.40s" % body, status in (400, 404, 413) and answer["error"]["message"] and "key" not in answer, (status, answer))
    status, headers, answer = take(second["code"])
    check("handover: the key", status == 200 and answer == {"object": "key", "key": made["secret"], "name": "hand"} and headers["cache-control"] == "no-store", (status, answer))
    check("handover: once", take(second["code"])[0] == 404)
    lines = [one for one in server.ask("GET", "/v1/audit")[2]["data"] if one["path"].startswith("/v1/handovers")]
    check("handover: both are in the audit log, under the key", all(any(one["path"] == path and one["status"] == status and one["key"] == made["id"] for one in lines)
          for path, status in (("/v1/handovers", 201), ("/v1/handovers", 429), ("/v1/handovers/take", 200))) and all(one["key"] for one in lines), lines)
    time.sleep(1.1)
    third = server.ask("POST", "/v1/handovers", {}, key=made["secret"])[2]
    server.ask("POST", "/v1/keys/" + made["id"], {"rotate": True})
    check("handover: not of a key that is another by now", take(third["code"])[0] == 404)
    log = server.log.read_text()
    check("handover: the log has neither code nor key", made["secret"] not in log and not any(one["code"] in log for one in (first, second, third)))


def run(model):
    server = Server("keys", model)
    server.wait()
    administration(server)
    refusals(server)
    handover(server)
    scopes(server)
    limits(server)
    logs(server)
    box(server)
    restart(audit(server, model), model)
    turns(model)
    sharing(model)
