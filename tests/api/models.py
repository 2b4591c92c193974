"""Several models: listed, loaded by who names them while others answer, unloaded, named, copied, deleted."""

import json
import shutil
import threading
import time
from pathlib import Path

from tools import FLAVOUR, WORK, Server, check, stream


def ids(server):
    return [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]]


def one(server, name):
    status, _, answer = server.ask("GET", "/v1/models/" + name)
    return answer if status == 200 else {"status": status}


def wait_for(what, seconds=10):
    until = time.time() + seconds
    while time.time() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


def resident(server):
    """KiB of memory that is the process's own, and all of it with mapped files."""
    text = open("/proc/%d/status" % server.process.pid).read()
    return [int(text.split(name + ":")[1].split()[0]) for name in ("RssAnon", "VmRSS")]


def listing(server, model):
    status, _, answer = server.ask("GET", "/v1/models")
    by_name = {m["id"]: m for m in answer["data"]}
    check("models: all are listed, that of the start first", status == 200 and answer["data"][0]["id"] == "builtin" and
          set(by_name) == {"builtin", "one", "two", "spoilt", "stick", "cut"}, list(by_name))
    wait_for(lambda: one(server, "cut").get("fault"))
    two, cut, spoilt = one(server, "two"), one(server, "cut"), one(server, "spoilt")
    check("models: with what their heads say, unloaded", two["status"] == "unloaded" and two["architecture"] == "llama" and
          two["bytes"] == model.stat().st_size and two["context_trained"] > 0 and two["capabilities"] == ["completion"] and
          not two["read_only"] and one(server, "stick")["read_only"], two)
    check("models: which one is the start's", [m["id"] for m in by_name.values() if m["of_start"]] == ["builtin"], by_name)
    check("models: spoilt files say their fault", "whole" in cut.get("fault", "") and "GGUF" in spoilt.get("fault", ""), (cut, spoilt))
    check("models: and not where they lie", str(WORK) not in cut["fault"] + spoilt["fault"], (cut, spoilt))
    check("models: the one that answers", one(server, "builtin")["status"] == "ready" and one(server, "builtin")["context"] > 0, one(server, "builtin"))
    status, _, answer = server.chat(model="three")
    check("models: an unknown name is a 404 that lists what there is", status == 404 and "one, " in answer["error"]["message"] and
          answer["error"]["code"] == "model_not_found" and answer["error"]["param"] == "model", answer)


def defaults(server):
    """How a model draws its tokens where a request does not say it: kept, strict, taken back."""
    path, chat = "/v1/models/defaults", lambda **fields: server.ask("POST", "/v1/chat/completions", dict({"messages": [{"role": "user", "content": "How do I add a model?"}]}, **fields))[2]
    server.ask("POST", "/v1/models/unload", {"model": "stick"})
    status, _, answer = server.ask("POST", path, {"model": "stick", "temperature": 0, "max_tokens": 5, "ctx": 2048, "stop": ["zzz"]})
    check("defaults: set", status == 200 and answer == {"model": "stick", "defaults": {"ctx": 2048, "temperature": 0, "max_tokens": 5, "stop": ["zzz"]}}, (status, answer))
    status, _, answer = server.ask("POST", path, {"model": "stick", "stop": None, "top_k": 20})
    check("defaults: others stay", status == 200 and answer["defaults"] == {"ctx": 2048, "temperature": 0, "top_k": 20, "max_tokens": 5}, (status, answer))
    for body, param in (({"model": "stick", "temperature": 9}, "temperature"), ({"model": "stick", "messages": []}, "messages"), ({"model": "stick", "ctx": 5}, "ctx"), ({"model": "three"}, "model"),
                        ({"temperature": 1}, "model"), ({"model": "stick", "top_k": "many"}, "top_k"), ({"model": "builtin", "ctx": 2048}, "ctx"), ({"model": "stick", "stop": ["x" * 60] * 99}, "stop")):
        status, _, answer = server.ask("POST", path, body)
        check("defaults: refused: %.60s" % body, status in (400, 404, 413) and answer["error"]["param"] == param, (status, answer))
    first, second, own = chat(model="stick"), chat(model="stick"), chat(model="stick", max_tokens=7)
    check("defaults: a request that says nothing has them", first["usage"]["completion_tokens"] == 5 and first["choices"][0]["message"] == second["choices"][0]["message"], (first, second))
    check("defaults: what it says counts", own["usage"]["completion_tokens"] == 7, own)
    check("defaults: also under the other name of a field", chat(model="stick", max_completion_tokens=6)["usage"]["completion_tokens"] == 6)
    loaded = one(server, "stick")
    check("defaults: with that context it is loaded", loaded["status"] == "ready" and loaded["context"] == 2048 and loaded["defaults"]["top_k"] == 20, loaded)
    answer = server.ask("POST", "/api/chat", {"model": "stick", "stream": False, "messages": [{"role": "user", "content": "hello"}]})[2]
    check("defaults: in every dialect", answer["eval_count"] == 5, answer)
    kept = json.loads((server.state / "model-defaults.json").read_text())
    check("defaults: the file", kept == {"stick": {"ctx": 2048, "temperature": 0, "top_k": 20, "max_tokens": 5}}, kept)
    chats = server.ask("POST", "/v1/keys", {"name": "defaults phone"})[2]["secret"]
    check("defaults: not everybody's", server.ask("POST", path, {"model": "stick", "top_k": 1}, key=chats)[0] == 403)


def defaults_again(server):
    path = "/v1/models/defaults"
    check("defaults: a model that is gone gets no new ones", server.ask("POST", path, {"model": "gone", "top_k": 5})[0] == 404)
    status, _, answer = server.ask("POST", path, {"model": "gone", "top_k": None})
    check("defaults: its old ones can be taken back", status == 200 and answer == {"model": "gone", "defaults": {}} and
          "gone" not in json.loads((server.state / "model-defaults.json").read_text()), (status, answer))
    before = one(server, "builtin")["context"]
    server.chat("hello", model="builtin", max_tokens=2)
    check("defaults: the context of the start's model is the setting", one(server, "builtin")["context"] == before != 512, before)
    check("defaults: there after a restart", one(server, "stick").get("defaults") == {"ctx": 2048, "temperature": 0, "top_k": 20, "max_tokens": 5}, one(server, "stick"))
    status, _, answer = server.ask("POST", "/v1/models/defaults", {"model": "stick", "temperature": None, "top_k": None, "max_tokens": None, "ctx": None})
    check("defaults: taken back", status == 200 and answer["defaults"] == {} and "defaults" not in one(server, "stick"), (status, answer))


def switching(server):
    whole = server.chat("How do I add a model?")[2]["choices"][0]["message"]["content"]
    answers = []
    long = threading.Thread(target=lambda: answers.append(stream(server, "Count", 300, temperature=1.5, seed=1)))
    long.start()
    time.sleep(0.3)
    began = time.time()
    status, _, answer = server.chat("How do I add a model?", model="two", keep_alive="1h")
    took = time.time() - began
    check("models: one that is named is loaded, and answers", status == 200 and answer["model"] == "two" and
          answer["choices"][0]["message"]["content"] == whole, answer)
    long.join(60)
    check("models: the stream of the other went on", len(answers) == 1 and answers[0][1] in ("stop", "length") and answers[0][2] < 2, answers)
    wait_for(lambda: "unloaded_at" in one(server, "two"))
    two = one(server, "two")
    check("models: it is ready then, and says how long it stays", two["status"] == "ready" and two["layers"] and
          3500 < two.get("unloaded_at", 0) - time.time() < 3700, two)
    health = server.ask("GET", "/health", key=False)[2]
    check("models: /health tells each", {m["model"]: m["status"] for m in health["models"]} == {"builtin": "ready", "two": "ready"} and
          all(m["device"] and m["layers"] for m in health["models"]) and health["model"] == "builtin", health)
    began = time.time()
    server.chat("How do I add a model?", model="two")
    print("        first answer of another model after %.2f s, the next after %.2f s; longest pause of the stream %.2f s" %
          (took, time.time() - began, answers[0][2]))


def alone(server):
    before = resident(server)
    # Before it is measured: what the process keeps for good, and holes between what it gave back, are there then.
    for _ in range(2):
        for what in ("load", "unload"):
            for name in ("one", "stick"):
                server.ask("POST", "/v1/models/" + what, {"model": name})
                if what == "load":
                    server.chat(model=name)
    once = resident(server)
    for name in ("one", "stick"):
        status, _, answer = server.ask("POST", "/v1/models/load", {"model": name, "keep_alive": -1})
        check("models: %s is loaded by hand" % name, status == 200 and answer["id"] == name and answer["status"] == "ready" and
              "unloaded_at" not in answer, answer)
    server.chat(model="one")
    loaded = resident(server)
    for name in ("one", "stick", "two"):
        status, _, answer = server.ask("POST", "/v1/models/unload", {"model": name})
        check("models: %s is unloaded by hand" % name, status == 200 and answer["status"] == "unloaded", answer)
    after = resident(server)
    print("        KiB of its own, and with files: %s; with 2 more models %s; without them and a third %s" % (before, loaded, after))
    check("models: what they took is given back", FLAVOUR == "asan" or after[0] < once[0] + 2048 and after[1] < before[1] and loaded[1] > after[1],
          (before, once, loaded, after))
    status, _, answer = server.ask("POST", "/v1/models/unload", {"model": "two"})
    check("models: one that is not loaded", status == 404 and answer["error"]["code"] == "model_not_loaded", answer)
    status, _, answer = server.ask("POST", "/v1/models/load", {"model": "spoilt"})
    check("models: a spoilt one is not loaded, and why", status == 500 and "GGUF" in answer["error"]["message"] and str(WORK) not in json.dumps(answer), answer)
    status, _, answer = server.chat(model="spoilt")
    check("models: nor by who asks it", status == 500 and answer["error"]["code"] == "model_failed", answer)
    check("models: the list says so", one(server, "spoilt")["status"] == "failed" and one(server, "spoilt")["error"] and
          str(WORK) not in json.dumps(server.ask("GET", "/v1/models")[2]), one(server, "spoilt"))
    status, _, answer = server.chat(model="two", keep_alive="soon")
    check("models: keep_alive must be a time", status == 400 and answer["error"]["param"] == "keep_alive", answer)
    server.chat(model="two", keep_alive=0)
    check("models: keep_alive 0 unloads after the answer", wait_for(lambda: one(server, "two")["status"] == "unloaded"), one(server, "two"))
    began = []
    long = threading.Thread(target=lambda: began.append(stream(server, "Count", 900, temperature=1.5, model="two", seed=1, ignore_eos=True)))
    long.start()
    wait_for(lambda: one(server, "two")["status"] == "ready")
    status, _, answer = server.ask("POST", "/v1/models/unload", {"model": "two"})
    check("models: one in use is not unloaded", status == 409 and answer["error"]["code"] == "model_in_use", answer)
    status, _, answer = server.ask("DELETE", "/v1/models/two")
    check("models: nor deleted", status == 409 and (server.state / "models" / "two.gguf").exists(), answer)
    long.join(60)
    status, _, answer = server.ask("POST", "/v1/models/load", {})
    check("models: load wants a name", status == 400 and answer["error"]["param"] == "model", answer)


def naming(server):
    folder = server.state / "models"
    status, _, answer = server.ask("POST", "/v1/models/copy", {"from": "two", "to": "zwei:latest"})
    check("models: a copy is a second name of the file", status == 200 and answer["id"] == "zwei:latest" and
          (folder / "zwei:latest.gguf").stat().st_ino == (folder / "two.gguf").stat().st_ino, answer)
    status, _, answer = server.ask("DELETE", "/v1/models/two")
    check("models: deleted, while its copy stays", status == 200 and answer == {"id": "two", "object": "model", "deleted": True} and
          not (folder / "two.gguf").exists() and "two" not in ids(server), answer)
    check("models: the copy answers", server.chat(model="zwei:latest")[0] == 200)
    status, _, answer = server.ask("POST", "/v1/models/alias", {"alias": "gpt-4o", "model": "one"})
    check("models: an alias", status == 200 and answer == {"alias": "gpt-4o", "model": "one"}, answer)
    check("models: it answers, by the model's own name", server.chat(model="gpt-4o")[2].get("model") == "one")
    server.ask("POST", "/v1/models/defaults", {"model": "zwei:latest", "top_k": 7})
    server.ask("POST", "/v1/models/defaults", {"model": "one", "top_k": 8})
    file = server.state / "model-defaults.json"
    check("models: one with defaults", one(server, "zwei:latest").get("defaults") == {"top_k": 7} and "zwei:latest" in file.read_text(), file.read_text())
    status, _, answer = server.ask("DELETE", "/v1/models/zwei:latest")
    check("models: its defaults go with it, and no other's", status == 200 and wait_for(lambda: json.loads(file.read_text()) == {"one": {"top_k": 8}}) and
          one(server, "one").get("defaults") == {"top_k": 8}, file.read_text())
    shutil.copy(folder / "one.gguf", folder / "zwei:latest.gguf")
    check("models: a new one of its name has none", wait_for(lambda: "zwei:latest" in ids(server)) and "defaults" not in one(server, "zwei:latest"), one(server, "zwei:latest"))
    server.ask("POST", "/v1/models/defaults", {"model": "one", "top_k": None})
    status, _, answer = server.ask("DELETE", "/v1/models/gpt-4o")
    check("models: an alias is not deleted as a model", status == 404 and "/v1/models/alias" in answer["error"]["message"], answer)
    server.ask("POST", "/v1/models/alias", {"alias": "*", "model": "stick"})
    check("models: one that answers for every name", server.chat(model="anything")[2].get("model") == "stick")
    aliases = server.ask("GET", "/v1/models")[2]["aliases"]
    check("models: aliases are listed", aliases == {"set": "one", "gpt-4o": "one", "*": "stick"}, aliases)
    status, _, answer = server.ask("POST", "/v1/models/alias", {"alias": "*", "model": None})
    check("models: and taken away", status == 200 and server.chat(model="anything")[0] == 404, answer)
    for body, said in (({"alias": "set", "model": "stick"}, 409), ({"alias": "one", "model": "stick"}, 409),
                       ({"alias": "a/b", "model": "one"}, 400), ({"alias": "x", "model": "nothing"}, 404)):
        status, _, answer = server.ask("POST", "/v1/models/alias", body)
        check("models: not every alias can be: %s" % body["alias"], status == said, (status, answer))
    for name in ("stick", "builtin"):
        status, _, answer = server.ask("DELETE", "/v1/models/" + name)
        check("models: %s cannot be deleted" % name, status == 409 and answer["error"]["code"] == "not_allowed", answer)
    shutil.copy(folder / "one.gguf", folder / "late.gguf")
    check("models: a file that somebody copies here is seen", wait_for(lambda: "late" in ids(server)), ids(server))


def run(model):
    model = Path(model)
    state, stick = WORK / "models-state", WORK / "stick"
    shutil.rmtree(state, ignore_errors=True)
    shutil.rmtree(stick, ignore_errors=True)
    (state / "models").mkdir(parents=True)
    stick.mkdir()
    shutil.copy(model, state / "models" / "one.gguf")
    shutil.copy(model, state / "models" / "two.gguf")
    shutil.copy(model, stick / "stick.gguf")
    (state / "models" / "spoilt.gguf").write_bytes(b"this is no model" * 100)
    (state / "models" / "cut.gguf").write_bytes(model.read_bytes()[:-1000])
    # glibc (not musl, which the box has) keeps large pieces that were freed once, unless it is told from which size on they are the
    # kernel's; and each thread's own heap.
    server = Server("models", "builtin", fresh=False, options=("--models", str(stick), "--alias", "set: one"),
                    prefix=("env", "MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_ARENA_MAX=1"))
    server.wait()
    listing(server, model)
    switching(server)
    alone(server)
    naming(server)
    defaults(server)
    check("models: it stops as it should", server.stop() == 0)
    kept = json.loads((server.state / "model-defaults.json").read_text())
    (server.state / "model-defaults.json").write_text(json.dumps({**kept, "gone": {"top_k": 3}, "builtin": {"ctx": 512}}))
    server = Server("models", "builtin", fresh=False, options=("--models", str(stick)))
    server.wait()
    defaults_again(server)
    server.stop()
