"""The other verbs of the binary, and tawny.conf against the list of settings."""

import json
import re

from tools import ROOT, WORK, Server, check, curl, run_verb


def conf_defaults():
    """tawny.conf with every commented default switched on"""
    text = (ROOT / "rootfs-overlay/etc/tawny.conf").read_text()
    return re.sub(r"^#([a-z-]+ = )", r"\1", text, flags=re.M)


def plan(model):
    """what does it take, of a file and of its head alone; more than the machine has is said with what would fit"""
    done = run_verb("plan", "-m", model, "--device", "cpu", "--json")
    whole = json.loads(done[1]) if done[0] == 0 else {"bytes": {}}
    size = whole["bytes"]
    check("verbs: plan --json", whole.get("fits") and whole["context_why"].startswith("auto: ") and size["weights"] > 0 and
          size["keys_and_values"] == size["one_token"] * whole["context_of_all"] and
          size["together"] == size["weights"] + size["keys_and_values"] + size["states"] + size["scratch"] and len(whole["largest_contexts"]) >= 2, done)
    head = WORK / "head.gguf"
    head.write_bytes(model.read_bytes()[:whole["file_bytes"] - 4096])
    done = run_verb("plan", "-m", head, "--device", "cpu", "--json")
    check("verbs: plan of a file that is not all there", done[0] == 0 and json.loads(done[1])["bytes"]["weights"] == size["weights"] and
          json.loads(done[1])["whole_bytes"] == whole["file_bytes"], done)
    done = run_verb("plan", "-m", model, "--device", "cpu", "--ctx", "64", "--parallel", "2", "--kv-type", "q8_0")
    check("verbs: plan as a table", done[0] == 0 and "512 tokens of all conversations" in done[1] and "parallel = 1, kv-type = q8_0" in done[1] and
          "It fits." in done[1], done)
    done = run_verb("plan", "-m", model, "--device", "cpu", "--memory", str(8 << 30), "--json")
    check("verbs: plan of another machine's memory", done[0] == 0 and json.loads(done[1])["bytes"]["free"] == 8 << 30, done)
    done = run_verb("plan", "-m", model, "--device", "cpu", "--memory", "1000")
    check("verbs: plan where nothing fits", done[0] == 1 and "It does not fit." in done[1], done)
    done = run_verb("plan", "-m", model, "--device", "cpu", "--memory", "8G", "--json")
    check("verbs: plan takes units", done[0] == 0 and json.loads(done[1])["bytes"]["free"] == 8 << 30, done)
    for memory in "8GB", "-8", "8e9", "G", "9999999T":
        done = run_verb("plan", "-m", model, "--memory", memory)
        check("verbs: plan with the memory %s" % memory, done[0] == 2 and "--memory" in done[2] and "1024" in done[2], done)
    server = Server("plan", model)
    health = server.wait()
    check("verbs: /health says which context, and why", health["status"] == "ready" and health["context"] == whole["context"] and health["context_asked"] == "auto" and
          health["context_why"] == whole["context_why"] and health["memory"]["weights"] == size["weights"], health)
    log = server.log.read_text()
    check("verbs: so does the log, before it is ready", 0 < log.find("context: %d tokens of a conversation (auto: " %
          whole["context"]) < log.find("ready after"), log)
    check("verbs: it stops", server.stop() == 0)


def render(model):
    """the prompt of a request: as the server tells it too; and refusals that name the field"""
    request = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi <|im_end|>"}]}
    path = WORK / "request.json"
    path.write_text(json.dumps(request))
    done = run_verb("render", "-m", model, "--request", path)
    check("verbs: render", done[0] == 0 and done[1] == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n", done)
    check("verbs: render from a pipe", run_verb("render", "-m", model, "-r", "-", text=path.read_text())[1] == done[1])
    server = Server("render", model)
    server.wait()
    code, text = curl(server, server.url + "/apply-template", "-H", "Authorization: Bearer " + server.key(), "-d", json.dumps(request))
    check("verbs: /apply-template gives the same", code == 0 and json.loads(text) == {"prompt": done[1]}, text)
    code, text = curl(server, "-i", server.url + "/apply-template", "-d", json.dumps(request))
    check("verbs: /apply-template wants the key", " 401 " in text.splitlines()[0], text)
    check("verbs: it stops after /apply-template", server.stop() == 0)
    template = WORK / "strict.jinja"
    template.write_text("{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}[{{ m.content }}]{% endfor %}")
    done = run_verb("render", "--template", template, "--bos", "<s>", "--request", path)
    check("verbs: render with a template that has no place for a system message", done[0] == 0 and done[1] == "<s>[S\n\nHi <|im_end|>]", done)
    done = run_verb("render", "--template", template, "--request", path, "--ids")
    check("verbs: render's ids want a model", done[0] == 2 and "--model" in done[2], done)
    template.write_text("[{{ messages[0].content }}]")
    ids = run_verb("render", "--template", template, "-m", model, "--request", path, "--ids")
    done = run_verb("tokenize", "-m", model, "--no-bos", "--plain", "--text", "[S\n\nHi <|im_end|>]")
    check("verbs: render's ids are the model's", ids[0] == 0 and ids[1].split() == done[1].split() != [], (ids, done))
    template.write_text("a\n{% include 'b' %}")
    done = run_verb("render", "--template", template, "--request", path)
    check("verbs: render names the line of what it cannot do", done[0] == 1 and "line 2" in done[2] and "include" in done[2], done)
    path.write_text('{"messages": [{"role": "user", "content": "x", "name": 5}]}')
    done = run_verb("render", "-m", model, "--request", path)
    check("verbs: render names the message and the field", done[0] == 1 and "messages[0].name" in done[2], done)


def run(model):
    keys = re.findall(r"^#([a-z-]+) = ", (ROOT / "rootfs-overlay/etc/tawny.conf").read_text(), re.M)
    wanted = re.findall(r'^    \{"([a-z-]+)", (?:0|.m.|.t.), [A-Z_]+, AT', (ROOT / "engine/base/settings.c").read_text(), re.M)
    check("verbs: tawny.conf lists every setting", sorted(keys) == sorted(wanted) and keys, (keys, wanted))
    config = WORK / "all.conf"
    config.write_text(conf_defaults())
    done = run_verb("chat", "--config", config, "--model", model, "--temperature", "0", text="hello\n\nhello\n")
    check("verbs: chat from a pipe, with every default of tawny.conf", done[0] == 0 and len(done[1].strip().splitlines()) >= 2, done)
    done = run_verb("chat", "--model", model, "--ctx", "32", text="word " * 100 + "\n")
    check("verbs: chat says when a message does not fit", done[0] == 1 and "32 tokens" in done[2], done)
    done = run_verb("bench", "-m", model, "-p", "32", "-n", "8", "-t", "1", "-r", "2", "--json")
    rows = json.loads(done[1]) if done[0] == 0 else []
    check("verbs: bench --json", [r["n_prompt"] for r in rows] == [32, 0] and all(r["avg_ts"] > 0 and len(r["samples_ns"]) == 2
          and r["n_threads"] == 1 for r in rows), done)
    done = run_verb("bench", "-m", model, "-p", "16", "-n", "4", "-r", "1")
    check("verbs: bench's table", done[0] == 0 and "pp16" in done[1] and "tg4" in done[1], done)
    done = run_verb("bench", "-m", model, "-p", "0", "-n", "0")
    check("verbs: bench of nothing", done[0] == 2 and "nothing to measure" in done[2], done)
    seeds = [run_verb("chat", "-m", model, "--seed", seed, "-n", "8", text="hello\n") for seed in ("18446744073709551615", "-1")]
    check("verbs: chat takes the API's seeds", seeds[0][0] == 0 and seeds[0][1] == seeds[1][1] != "", seeds)
    for seed in "18446744073709551616", "1e3", "x":
        done = run_verb("chat", "-m", model, "--seed", seed, text="hello\n")
        check("verbs: chat with the seed %s" % seed, done[0] == 2 and "--seed" in done[2] and "18446744073709551615" in done[2], done)
    plan(model)
    render(model)
    done = run_verb("version")
    check("verbs: version", done[0] == 0 and "tawny " in done[1] and "bearssl" in done[1].lower() and "device:" in done[1], done)
    for arguments in (("nonsense",), (), ("serve", "--nonsense", "1"), ("bench", "-p"), ("chat", "--temperature", "x"), ("serve", "x")):
        done = run_verb(*arguments)
        check("verbs: %s is refused" % (" ".join(("tawny", *arguments))), done[0] == 2 and done[2], done)
