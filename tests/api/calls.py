"""Tool calls and thinking through OpenAI's own client for Node: its tool loop against a model that always calls."""

import subprocess

import npm
from tools import ROOT, Server, WORK, check


def run(model):
    del model  # a real one calls when it likes
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("calls", scripted)
    health = server.wait()
    check("calls: the scripted model is loaded", health and health["status"] == "ready", health)
    npm.client("calls", "calls.mjs", server, 10)
    check("calls: the server stops cleanly", server.stop() == 0)
