"""Claude Code itself, as a program: one turn in which it reads a file with a tool, against a model that asks for that."""

import json
import os
import subprocess

import npm
from tools import HERE, ROOT, Server, WORK, check, in_test_root, skip

PLACE = WORK / "claude_code"
SAID = "There are 12 degrees in Paris."


def run(model):
    del model
    root, why = npm.install(HERE / "claude_code", PLACE)
    if not root:
        skip("claude code", why)
        return
    weather, home = PLACE / "weather.txt", PLACE / "home"
    weather.write_text("\u2602" * 100 + "\n")
    home.mkdir(exist_ok=True)
    scripted = WORK / "scripted-read.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted, "Read", json.dumps({"file_path": str(weather)})], check=True)
    server = Server("claude_code", scripted)
    health = server.wait()
    check("claude code: the scripted model is loaded", health and health["status"] == "ready", health)
    settings = {"HOME": home, "NODE_EXTRA_CA_CERTS": server.ca, "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_AUTH_TOKEN": server.key(),
                "ANTHROPIC_MODEL": "scripted-read", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    # its whole prompt is of 50,000 characters; the scripted model spells each with a token, and holds 8192
    code, text = in_test_root(root, "env", *("%s=%s" % pair for pair in settings.items()), "timeout", "120",
                              PLACE / "node_modules" / "@anthropic-ai" / "claude-code-linux-x64" / "claude", "-p", "How is the weather?",
                              "--output-format", "json", "--tools", "Read", "--system-prompt", "Be brief.", "--setting-sources", "", cwd=PLACE)
    lines = [line for line in text.splitlines() if line.startswith("{")]
    answer = json.loads(lines[-1]) if lines else {}
    check("claude code: it reads the file and has the answer", code == 0 and answer.get("result") == SAID and answer.get("num_turns") == 2 and
          not answer["is_error"], text[-900:])
    usage = answer.get("usage") or {}
    check("claude code: its usage tells what was reused", usage.get("cache_read_input_tokens", 0) > 2000, usage)
    check("claude code: the server stops cleanly", server.stop() == 0)
