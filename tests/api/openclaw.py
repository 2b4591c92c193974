"""OpenClaw itself, as a program: one turn in which it reads a file with a tool, against a model that asks for that.

In OpenAI's dialect; with TAWNY_TEST_FULL in Anthropic's and Ollama's too, a minute each where the machine is busy. It needs a newer Node than Debian 13's, so it runs in a root of its own, of Debian sid. Where it is installed is kept in the cache, by
its lock file: some 650 MB.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import npm
from tools import HERE, ROOT, Server, WORK, check, in_test_root, skip

PLACE = WORK / "openclaw"
CLIENTS = "nodejs npm ca-certificates git python3 python3-openai".split()  # and of python_openai.py
APIS = ("openai-completions", "anthropic-messages", "ollama")
SAID = "There are 12 degrees in Paris."
CONTEXT = 32768  # the scripted model spells each character with a token: with one tool and no skills 10,000 and the file's


def clients_root():
    """The root with a newer Node and Python's client, or (None, why there is none)."""
    done = subprocess.run([ROOT / "engine/deps/root.sh", "clients", "sid", *CLIENTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return None, "its root cannot be made: %s" % done.stderr.strip().splitlines()[-1:]
    return done.stdout.strip(), None


def settings(server, api, model):
    """openclaw.json: one provider, one tool."""
    base = server.url if api != "openai-completions" else server.url + "/v1"
    entry = {"id": model, "name": model, "reasoning": False, "input": ["text"], "contextWindow": CONTEXT, "maxTokens": 4096,
             "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}
    return {"models": {"mode": "replace", "providers": {"box": {"baseUrl": base, "api": api, "apiKey": server.key(), "models": [entry]}}},
            "agents": {"defaults": {"model": {"primary": "box/" + model}, "skipBootstrap": True, "workspace": str(PLACE / "workspace")}},
            "tools": {"allow": ["read"], "toolSearch": False}, "skills": {"allowBundled": ["none"]}, "update": {"checkOnStart": False}}


def turn(root, installed, server, api, model):
    home = PLACE / api
    shutil.rmtree(home, ignore_errors=True)
    (home / ".openclaw").mkdir(parents=True)
    (home / ".openclaw/openclaw.json").write_text(json.dumps(settings(server, api, model)))
    environment = {"HOME": home, "NODE_EXTRA_CA_CERTS": server.ca, "OPENCLAW_HIDE_BANNER": "1"}
    code, text = in_test_root(root, "env", *("%s=%s" % pair for pair in environment.items()), "timeout", "400", "node",
                              installed / "node_modules/openclaw/openclaw.mjs", "agent", "--local", "--session-id", "s1", "--message",
                              "How is the weather?", "--json", "--timeout", "380", cwd=PLACE, timeout=420)
    begin = text.find("\n{\n")  # what it logs stands around its answer
    try:
        return code, json.JSONDecoder().raw_decode(text[begin + 1:])[0], text
    except ValueError:
        return code, {}, text


def run(model):
    del model
    lock = (HERE / "openclaw/package-lock.json").read_bytes()
    installed = Path(os.environ.get("TAWNY_CACHE") or WORK) / ("openclaw-" + hashlib.sha256(lock).hexdigest()[:12])
    root, why = clients_root()
    if root:
        why = npm.install(HERE / "openclaw", installed)[1]
    if why:
        skip("openclaw", why)
        return
    PLACE.mkdir(exist_ok=True)
    (PLACE / "workspace").mkdir(exist_ok=True)
    (PLACE / "workspace/weather.txt").write_text("\u2602" * 200 + "\n")  # one token of 50
    scripted = WORK / "scripted-claw.gguf"
    subprocess.run([ROOT / "tests/api/scripted.py", scripted, "read", json.dumps({"path": str(PLACE / "workspace/weather.txt")}), str(CONTEXT)], check=True)
    server = Server("openclaw", scripted, options=("--ctx", str(CONTEXT), "--parallel", "1"))
    health = server.wait()
    check("openclaw: the scripted model is loaded", health and health["status"] == "ready", health)
    for api in APIS if os.environ.get("TAWNY_TEST_FULL") else APIS[:1]:
        code, answer, text = turn(root, installed, server, api, "scripted-claw")
        meta = answer.get("meta") or {}
        said, agent = meta.get("finalAssistantVisibleText"), meta.get("agentMeta") or {}
        check("openclaw: %s: it reads the file and has the answer" % api, code == 0 and said == SAID and
              (agent.get("terminalReceipt") or {}).get("successfulToolNames") == ["read"] and agent.get("assistantTurns") == 2, text[-900:])
        reused = (agent.get("lastCallUsage") or {}).get("cacheRead", 0)
        check("openclaw: %s: its usage tells what was reused" % api, reused > 5000 or api == "ollama", agent)  # that dialect has no such field
    check("openclaw: the server stops cleanly", server.stop() == 0)
