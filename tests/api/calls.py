"""Tool calls and thinking through OpenAI's own client for Node: its tool loop against a model that always calls."""

import os
import shutil
import subprocess

from tools import HERE, ROOT, Server, WORK, check, in_test_root, skip, test_root


def run(model):
    del model  # a real one calls when it likes
    root, why = test_root()
    if not root:
        skip("calls", why)
        return
    place = WORK / "npm"
    place.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json", "calls.mjs"):
        shutil.copy(HERE / name, place / name)
    cache = (os.environ.get("TAWNY_CACHE") or str(WORK)) + "/npm"
    code, text = in_test_root(root, "env", "npm_config_cafile=/etc/ssl/certs/ca-certificates.crt", "npm", "ci", "--no-audit", "--no-fund",
                              "--ignore-scripts", "--cache", cache, "--prefer-offline", cwd=place)
    if code:
        skip("calls", "npm could not install the client: %s" % text.strip()[-300:])
        return
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("calls", scripted)
    health = server.wait()
    check("calls: the scripted model is loaded", health and health["status"] == "ready", health)
    code, text = in_test_root(root, "env", "NODE_EXTRA_CA_CERTS=%s" % server.ca, "TAWNY_URL=" + server.url,
                              "TAWNY_KEY=" + server.key(), "node", place / "calls.mjs", cwd=place)
    lines = [line for line in text.splitlines() if line.startswith(("ok ", "FAILED "))]
    for line in lines:
        check(line.split(" ", 1)[1].split(": FAILED")[0], line.startswith("ok "), line)
    check("calls: the client ran to its end", code == 0 and len(lines) >= 10, text[-500:])
    check("calls: the server stops cleanly", server.stop() == 0)
