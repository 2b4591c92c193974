"""Ollama's dialect: through its own npm client, and what other clients of it (Home Assistant, Open WebUI, VS Code) send, as they send it."""

import json
import shutil
import subprocess

import npm
from tools import ROOT, SHORT, Server, WORK, check, curl

# Home Assistant: its tools, num_ctx and keep_alive always, think false, a trailing null format.
TURN_ON = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {
    "name": {"type": "string"}, "domain": {"type": "array", "items": {"type": "string"}}}, "required": []}, "description": "Turns on a device"}}
HOME_ASSISTANT = {
    "model": "builtin:latest", "messages": [
        {"role": "system", "content": "You are a voice assistant for Home Assistant."}, {"role": "user", "content": "turn on the light"},
        {"role": "assistant", "content": None, "thinking": None, "tool_calls": [{"function": {"name": "HassTurnOn", "arguments": {"name": "light"}}}]},
        {"role": "tool", "content": "{\"data\":{\"ok\":true},\"error\":null}"}],
    "tools": [TURN_ON], "stream": True, "think": False, "keep_alive": -1, "options": {"num_ctx": 8192}, "format": None}


def lines(answer):
    return [json.loads(line) for line in answer[2].decode().splitlines()] if isinstance(answer[2], bytes) else [answer[2]]


def probes(server):
    """What asks at / whether Ollama is there, and what asks there for the page."""
    for name, headers, is_page in (
            ("ollama", {"User-Agent": "ollama/0.20.0 (amd64 linux) Go/go1.24", "Accept": "application/json"}, False),
            ("ollama-python", {"User-Agent": "ollama-python/0.6.3 (x86_64 linux) Python/3.13", "Accept": "application/json"}, False),
            ("axios", {"User-Agent": "axios/1.7", "Accept": "application/json, text/plain, */*"}, False),
            ("aiohttp", {"User-Agent": "Python/3.13 aiohttp/3.10", "Accept": "*/*"}, False),
            ("a browser", {"User-Agent": "Mozilla/5.0", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, True),
            ("curl", {"User-Agent": "curl/8.14.1", "Accept": "*/*"}, True), ("nothing", {}, True)):
        status, _, text = server.ask("GET", "/", key=False, headers=headers)
        text = text.decode() if isinstance(text, bytes) else str(text)
        check("ollama: / for %s" % name, status == 200 and ("<html" in text) == is_page and (text == "Ollama is running") != is_page, text[:80])
    check("ollama: HEAD /", server.ask("HEAD", "/", key=False, headers={"User-Agent": "ollama/0.20.0"})[0] == 200)
    check("ollama: HEAD /api/version, //api/tags", server.ask("HEAD", "/api/version")[0] == 200 and server.ask("GET", "//api/tags")[0] == 200)
    answer = server.ask("GET", "/api/tags", key=False)
    check("ollama: without a key a 401 whose error is a text", answer[0] == 401 and "API key" in answer[2]["error"], answer)


def streams(server):
    ask = {"model": "builtin", "messages": [{"role": "user", "content": "hello"}], "options": {"temperature": 0, "num_predict": 8}}
    answer = server.ask("POST", "/api/chat", ask)
    got = lines(answer)
    check("ollama: a stream of lines by default", answer[0] == 200 and answer[1]["content-type"] == "application/x-ndjson" and len(got) > 2 and
          [p["done"] for p in got] == [False] * (len(got) - 1) + [True] and all(p["message"]["role"] == "assistant" for p in got), answer)
    whole = server.ask("POST", "/api/chat", dict(ask, stream=False))
    check("ollama: stream false gives one object, of the same text", whole[1]["content-type"] == "application/json" and
          whole[2]["message"]["content"] == "".join(p["message"]["content"] for p in got) and whole[2]["done"], whole)
    code, text = curl(server, "-N", "-H", "Authorization: Bearer " + server.key(), "-d", json.dumps(ask), server.url + "/api/chat")
    check("ollama: curl -d without a content type", code == 0 and json.loads(text.splitlines()[-1])["done"], text)
    for name, change in (("arguments as a text", {"arguments": "{\"name\": \"light\"}"}), ("arguments as an object", {"arguments": {"name": "light"}})):
        body = json.loads(json.dumps(HOME_ASSISTANT))
        body["messages"][2]["tool_calls"][0]["function"].update(change)
        answer = server.ask("POST", "/api/chat", dict(body, stream=False, options={"temperature": 0, "num_predict": 4}))
        check("ollama: history, %s" % name, answer[0] == 200, answer)
    for value in (-1, 0, "5m", "-1s", 300, None):
        answer = server.ask("POST", "/api/chat", dict(ask, keep_alive=value, stream=False))
        check("ollama: keep_alive %r" % value, answer[0] == 200 and answer[2]["message"]["content"], answer)
    body = dict(ask, messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}], stream=False)
    check("ollama: content as parts", server.ask("POST", "/api/chat", body)[2]["message"]["content"] == whole[2]["message"]["content"])


def clients(server):
    answer = server.ask("POST", "/api/chat", HOME_ASSISTANT)
    got = lines(answer)
    check("ollama: Home Assistant's request", answer[0] == 200 and got[-1]["done"] and got[-1]["prompt_eval_count"] > 10, answer)
    context = server.ask("GET", "/api/ps")[2]["models"][0]["context_length"]
    notes = answer[1].get("x-tawny-notes", "")
    check("ollama: a num_ctx that cannot be had is said so", ("8192" in notes and str(context) in notes) == (context < 8192), (context, notes))
    tags = server.ask("GET", "/api/tags")[2]["models"]
    names = {m["name"]: m for m in tags}
    running = {m["name"]: m["expires_at"] for m in server.ask("GET", "/api/ps")[2]["models"]}
    check("ollama: Open WebUI's list: version, tags, ps by the same names", set(running) <= set(names) and
          server.ask("GET", "/api/version")[2]["version"].count(".") == 2, (tags, running))
    shown = server.ask("POST", "/api/show", {"name": tags[0]["name"]})
    check("ollama: show by the older field, model_info of its architecture", shown[0] == 200 and
          shown[2]["model_info"][shown[2]["model_info"]["general.architecture"] + ".context_length"] == context, shown)
    chat = server.ask("POST", "/v1/chat/completions", {"model": tags[0]["name"], "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4})
    check("ollama: the name from the list serves /v1 on the same port too (VS Code)", chat[0] == 200, chat)


def refusals(server):
    for method, path, body, status, words in (
            ("POST", "/api/show", {"model": "x"}, 404, "model 'x' not found"),
            ("POST", "/api/show", {}, 400, "'model' is missing"), ("POST", "/api/show", {"model": 5}, 400, "'model' must be a string, not a number"),
            ("POST", "/api/generate", {"prompt": "a", "suffix": "b"}, 400, "suffix"), ("POST", "/api/push", {"model": "x"}, 501, "no push"),
            ("POST", "/api/create", {"model": "x"}, 400, "'from' is missing"), ("POST", "/api/create", {"model": "x", "from": "y"}, 404, "model 'y' not found"),
            ("POST", "/api/create", {"model": "x", "files": {"a.gguf": "sha256:00"}}, 400, "64 hexadecimal digits"),
            ("POST", "/api/create", {"model": "x", "files": {"a.gguf": "sha256:" + 64 * "0"}}, 400, "There is no blob"),
            ("POST", "/api/create", {"model": "x", "from": "builtin", "system": "Be short."}, 400, "'system' is not supported"),
            ("POST", "/api/create", {"model": "x", "from": "builtin", "parameters": {"top_k": 1}}, 400, "'options'"),
            ("POST", "/api/create", {"model": "x", "from": "builtin", "template": "{{ .Prompt }}"}, 400, "raw"),
            ("POST", "/api/copy", {"source": "builtin"}, 400, "'destination' is missing"), ("POST", "/api/copy", {"source": "y", "destination": "x"}, 404, "model 'y' not found"),
            ("POST", "/api/copy", {"source": "builtin", "destination": "a/b"}, 400, "without slashes"),
            ("POST", "/api/copy", {"source": "builtin", "destination": "builtin:latest"}, 409, "already"),
            ("DELETE", "/api/delete", {"model": "builtin"}, 409, "nothing can be deleted"), ("DELETE", "/api/delete", {"model": "y"}, 404, "model 'y' not found"),
            ("DELETE", "/api/delete", {}, 400, "'model' is missing"), ("POST", "/api/blobs/sha256:00", {}, 400, "64 hexadecimal digits"),
            ("GET", "/api/nothing", None, 404, "nothing at /api/nothing"), ("GET", "/api/chat", None, 405, "POST"),
            ("POST", "/api/chat", b"{\"messages\": [", 400, "JSON"), ("POST", "/api/chat", {"think": True, "messages": [{"role": "user", "content": "x"}]}, 400, "thinking")):
        answer = server.ask(method, path, body)
        check("ollama: %s %s %s is a %d" % (method, path, json.dumps(body) if isinstance(body, dict) else "", status), answer[0] == status and
              isinstance(answer[2].get("error"), str) and words in answer[2]["error"], answer)
    check("ollama: HEAD of a blob that is not there", server.ask("HEAD", "/api/blobs/sha256:" + 64 * "0")[0] == 404)
    check("ollama: HEAD of what is no digest", server.ask("HEAD", "/api/blobs/sha256:00")[0] == 400)


def copies(server):
    """Of a model that is read only, as the built-in one is: an alias, which is listed and deleted as a model is."""
    names = lambda: [m["name"] for m in server.ask("GET", "/api/tags")[2]["models"]]
    before = names()
    answer = server.ask("POST", "/api/copy", {"source": "builtin:latest", "destination": "other:latest"})
    check("ollama: copy answers with nothing", answer[0] == 200 and answer[2] == b"", answer)
    check("ollama: the copy is listed", names() == before + ["other:latest"], names())
    answer = server.ask("DELETE", "/api/delete", {"name": "other:latest"})
    check("ollama: delete by the older field answers with nothing", answer[0] == 200 and answer[2] == b"" and names() == before, (answer, names()))


def run(model):
    server = Server("ollama", model, options=(*SHORT, "--registry", "localhost:1"))
    server.wait()
    probes(server)
    streams(server)
    clients(server)
    refusals(server)
    copies(server)
    npm.client("ollama npm", "ollama.mjs", server, 22)
    check("ollama: the server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("ollama-calls", scripted)
    server.wait()
    npm.client("ollama npm: calls", "ollama_calls.mjs", server, 5)
    check("ollama: that server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    state = WORK / "ollama-store-state"
    folder = state / "models"
    shutil.rmtree(state, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(scripted, folder / "one.gguf")
    (folder / "spoilt.gguf").write_bytes(b"this is no model" * 100)
    server = Server("ollama-store", model, fresh=False)
    server.wait()
    npm.client("ollama npm: store", "ollama_store.mjs", server, 11)
    check("ollama: what was deleted is gone from the disk", sorted(f.name for f in folder.iterdir() if f.suffix == ".gguf") == ["spoilt.gguf"], list(folder.iterdir()))
    check("ollama: the store's server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
