"""OpenAI's own client for Node, with the CA and without."""

import os
import shutil
from pathlib import Path

from tools import HERE, Server, WORK, check, in_test_root, skip, test_root


def run(model):
    root, why = test_root()
    if not root:
        skip("openai npm", why)
        return
    place = WORK / "npm"
    place.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(HERE / name, place / name)
    cache = Path(os.environ.get("TAWNY_CACHE", WORK)) / "npm"
    code, text = in_test_root(root, "env", "npm_config_cafile=/etc/ssl/certs/ca-certificates.crt", "npm", "ci", "--no-audit",
                              "--no-fund", "--ignore-scripts", "--cache", cache, "--prefer-offline", cwd=place)
    if code:
        skip("openai npm", "npm could not install it: %s" % text.strip()[-300:])
        return
    server = Server("npm", model)
    server.wait()
    code, text = in_test_root(root, "env", "NODE_EXTRA_CA_CERTS=%s" % server.ca, "TAWNY_URL=" + server.url,
                              "TAWNY_KEY=" + server.key(), "node", place / "client.mjs", cwd=place)
    lines = [line for line in text.splitlines() if line.startswith(("ok ", "FAILED "))]
    for line in lines:
        check(line.split(" ", 1)[1].split(": FAILED")[0], line.startswith("ok "), line)
    check("openai npm: the client ran to its end", code == 0 and len(lines) >= 14, text[-500:])
    code, text = in_test_root(root, "env", "TAWNY_URL=" + server.url, "TAWNY_KEY=" + server.key(), "node", "-e",
                              "fetch(process.env.TAWNY_URL + '/health').then(() => console.log('trusted'), e => console.log(e.cause.code))")
    check("node: without the CA the certificate is refused", "trusted" not in text and "CERT" in text.upper(), text)
    check("openai npm: the server stops cleanly", server.stop() == 0)
