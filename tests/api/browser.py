"""The page in headless Chromium, with the CA and without (the screenshot is build/test/api/page.png); then what a person does in
it, part by part: browser_*.mjs, by Chromium's own protocol (chromium.mjs)."""

import http.server
import os
import select
import shutil
import subprocess
import sys
import threading
import time

import npm
import scripted
from settings import as_init
from tools import HERE, ROOT, Server, WORK, check, free_ports, in_test_root, skip, test_root

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import headers  # noqa: E402


def browse(root, home, url, *options):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--user-data-dir=%s" % (home / "profile"), "--virtual-time-budget=4000", "--window-size=900,1300"]
    return in_test_root(root, "env", "HOME=%s" % home, "chromium", *flags, *options, url)


MARKDOWN = ["## An", " owl\n\n", "It is **tawny**, see", " https://owl.example/x.\n\n", "- one\n", "- two\n\n", "| a | b |\n", "|---|--:|\n", "| 1 | 2 |\n\n",
            "```python\n", "def f(x):\n", "    return x + 1\n", "```\n", "<|im_end|>"]
HOSTILE = "<img src=x onerror=alert(1)>\n\n[x](javascript:alert(1))\n\n```\"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```\n<svg onload=alert(1)>"


def pieces(text):
    """The text in short pieces, of which no two are the same: tokens."""
    out, piece = [], ""
    for c in text:
        piece += c
        if len(piece) >= 3 and piece not in out:
            out.append(piece)
            piece = ""
    return out + [piece + "\n\nThat is all."]


def scripted_models():
    """A folder of them; two names among them want to be more than a name."""
    folder = WORK / "browser-models"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scripts = {"weather": scripted.FIRST, "sums": scripted.calling("calculate", '{"expression": "2+3*4"}'), "markdown": MARKDOWN,
               "long": ["word%03d " % i for i in range(200)] + ["<|im_end|>"],
               "hostile": ["<think>", HOSTILE, "</think>", "\n\n", *pieces(HOSTILE), "<|im_end|>"]}
    for name, script in scripts.items():
        scripted.make(folder / (name + ".gguf"), script)
    for name in "<svg onload=alert(1)>", "a\"b'; $(touch owned) `touch owned`":
        shutil.copy(folder / "markdown.gguf", folder / (name + ".gguf"))
    return folder


class Slowly(http.server.BaseHTTPRequestHandler):
    """A file in pieces, within some five seconds."""
    data = b""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(self.data) - 1, len(self.data)))
        self.send_header("Content-Length", str(len(self.data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        for at in range(start, len(self.data), 1 << 18):
            self.wfile.write(self.data[at:at + (1 << 18)])
            time.sleep(0.25)


def models_area(model, home):
    """A disk of 20 MB for the models, and among them one that is larger than any memory."""
    folder, huge, state = WORK / "browser-huge", WORK / "browser-huge" / "huge.gguf", WORK / "browser-state"
    huge.parent.mkdir(exist_ok=True)
    if not huge.exists():
        headers.write(str(huge), headers.Header(str(ROOT / "tests/golden/headers/qwen3.5-122b-a10b.txt")), "whole")
    sudo = [] if os.getuid() == 0 else ["sudo"]
    (state / "models").mkdir(exist_ok=True)
    if subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", "size=20m,mode=777", "tmpfs", state / "models"], stderr=subprocess.DEVNULL).returncode:
        skip("browser: the models", "no file system can be mounted here")
        return
    Slowly.data = open(model, "rb").read()
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slowly)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    server = Server("browser", model, fresh=False, options=("--models", folder, "--pull-plain", "localhost:%d" % site.server_port))
    try:
        server.wait()
        npm.client("browser", "browser_models.mjs", server, 9, seconds=600, HOME=home, TAWNY_FILE=model,
                   TAWNY_PULL="http://localhost:%d/pulled.gguf" % site.server_port)
    finally:
        server.stop()
        site.shutdown()
        subprocess.run([*sudo, "umount", state / "models"])


class Box:
    """A server whose PID 1 this is: started again when it asks for it, and erased before where that is marked."""

    def __init__(self, model):
        self.model, self.ports, self.over = model, free_ports(2), False
        self.begin(True)
        self.server.wait()
        threading.Thread(target=self.watch, daemon=True).start()

    def begin(self, fresh):
        self.server, self.beats, self.close = as_init(self.model, None, fresh=fresh, ports=self.ports)

    def watch(self):
        said = b""
        while not self.over:
            if not select.select([self.beats], [], [], 0.2)[0]:
                continue
            said = (said + os.read(self.beats, 4096))[-4096:]
            if b"restart\n" not in said and b"reboot\n" not in said:
                continue
            said, _ = b"", self.server.stop()
            self.close()
            time.sleep(1)  # as quick as no box is
            self.begin((self.server.state / "reset.pending").exists())

    def stop(self):
        self.over = True
        time.sleep(0.3)
        return self.server.stop()


def restarts(model, root, home):
    """What a person sees while the box is away, and what becomes of the key."""
    box = Box(model)
    code, text = in_test_root(root, "certutil", "-d", "sql:%s" % (home / ".pki" / "nssdb"), "-A", "-t", "C,,", "-n", "tawny again", "-i", box.server.ca)
    check("browser: the CA of another box", code == 0, text)
    shutil.rmtree(home / "restart", ignore_errors=True)
    (home / "shots").mkdir(exist_ok=True)
    npm.client("browser", "browser_restart.mjs", box.server, 5, seconds=600, HOME=home)
    check("browser: it stops after all that", box.stop() == 0)


def run(model):
    root, why = test_root()
    if not root:
        skip("browser", why)
        return
    server = Server("browser", model)
    server.wait()
    shot = WORK / "page.png"
    for name, trusted in (("with the CA", True), ("without", False)):
        home = WORK / ("home-trusting" if trusted else "home-plain")
        shutil.rmtree(home, ignore_errors=True)
        store = home / ".pki" / "nssdb"
        store.mkdir(parents=True)
        code, text = in_test_root(root, "certutil", "-d", "sql:%s" % store, "-N", "--empty-password")
        if trusted:
            code, text = in_test_root(root, "certutil", "-d", "sql:%s" % store, "-A", "-t", "C,,", "-n", "tawny", "-i", server.ca)
        check("browser %s: the store is made" % name, code == 0, text)
        code, text = browse(root, home, server.url + "/", "--dump-dom")
        loaded = "Trust this box" in text and "class=\"ready\"" in text and "<nav id=\"nav\" aria-label" in text
        check("browser %s: the page is %s" % (name, "shown, no certificate error" if trusted else "not shown"), loaded == trusted,
              text[-600:])
    shot.unlink(missing_ok=True)
    code, text = browse(root, WORK / "home-trusting", server.url + "/", "--screenshot=%s" % shot)
    check("browser: a screenshot is in build/test/api/page.png", shot.exists() and shot.stat().st_size > 20000, text[-300:])
    home = WORK / "home-trusting"
    npm.client("browser", "browser_frame.mjs", server, 19, seconds=600, HOME=home)
    check("browser: the server stops cleanly", server.stop() == 0)
    models_area(model, home)
    restarts(model, root, home)
    server = Server("browser", model, fresh=False, options=("--models", scripted_models()))  # with the CA that is trusted
    server.wait()
    npm.client("browser", "browser_hostile.mjs", server, 4, seconds=600, HOME=home, TAWNY_TEXTS=HERE / "browser_texts.txt")
    npm.client("browser", "browser_axe.mjs", server, 38, seconds=600, HOME=home)
    npm.client("browser", "browser_chat.mjs", server, 18, seconds=600, HOME=home, TAWNY_PID=server.process.pid)
    server.stop()
