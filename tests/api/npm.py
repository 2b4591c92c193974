"""OpenAI's own client for Node, with the CA and without; and how every topic has its clients from npm."""

import fcntl
import functools
import os
import re
import shutil
from pathlib import Path

from tools import CLIENTS, HERE, SHORT, Server, WORK, check, in_test_root, skip, test_root

PLACE = CLIENTS


@functools.cache
def install(source=HERE, place=PLACE):
    """The versions of a package-lock.json, unless they are there: (the root with node, None), or (None, why there are no clients)."""
    root, why = test_root()
    if not root:
        return None, why
    done, lock = place / "node_modules" / ".installed", (source / "package-lock.json").read_text()  # npm ci begins by removing all of it
    if done.exists() and done.read_text() == lock:
        return root, None
    place.mkdir(exist_ok=True)
    with open(place / ".lock", "w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        why = fetch(root, source, place, done, lock)
    return (None, why) if why else (root, None)


def fetch(root, source, place, done, lock):
    """Why they could not be installed; None: they are."""
    if done.exists() and done.read_text() == lock:  # by another topic meanwhile
        return None
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, place / name)
    cache = Path(os.environ.get("TAWNY_CACHE") or WORK) / "npm"
    code, text = in_test_root(root, "env", "npm_config_cafile=/etc/ssl/certs/ca-certificates.crt", "npm", "ci", "--no-audit",
                              "--no-fund", "--ignore-scripts", "--cache", cache, "--prefer-offline", cwd=place, timeout=600)
    if code:
        return "npm could not install the clients: %s" % text.strip()[-300:]
    done.write_text(lock)
    return None


def put(name):
    """A file beside this one, whole at every moment: another topic's client may be reading it."""
    half = PLACE / ("%s.%d" % (name, os.getpid()))
    shutil.copy(HERE / name, half)
    half.rename(PLACE / name)


def client(topic, script, server, n_least, seconds=180, **environment):
    """A script beside this file, run against a server; each line it prints is a check, and there must be n_least of them."""
    root, why = install()
    if not root:
        skip(topic, why)
        return
    for name in script, *re.findall(r'from "\./(\w+\.mjs)"', (HERE / script).read_text()):  # and what it shares with others
        put(name)
    code, text = in_test_root(root, "env", "NODE_EXTRA_CA_CERTS=%s" % server.ca, "TAWNY_URL=" + server.url,
                              "TAWNY_KEY=" + server.key(), *("%s=%s" % pair for pair in environment.items()), "node", PLACE / script, cwd=PLACE, timeout=seconds)
    lines = [line for line in text.splitlines() if line.startswith(("ok ", "FAILED "))]
    for line in lines:
        check(line.split(" ", 1)[1].split(": FAILED")[0], line.startswith("ok "), line)
    check("%s: the client ran to its end" % topic, code == 0 and len(lines) >= n_least, text[-500:])


def run(model):
    root, why = install()
    if not root:
        skip("openai npm", why)
        return
    server = Server("npm", model, options=SHORT)
    server.wait()
    client("openai npm", "client.mjs", server, 17)
    code, text = in_test_root(root, "env", "TAWNY_URL=" + server.url, "TAWNY_KEY=" + server.key(), "node", "-e",
                              "fetch(process.env.TAWNY_URL + '/health').then(() => console.log('trusted'), e => console.log(e.cause.code))")
    check("node: without the CA the certificate is refused", "trusted" not in text and "CERT" in text.upper(), text)
    check("openai npm: the server stops cleanly", server.stop() == 0)
