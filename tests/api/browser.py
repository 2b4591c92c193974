"""The page in headless Chromium, with the CA and without (the screenshot is build/test/api/page.png); then what a person does in
it, part by part: browser_*.mjs, by Chromium's own protocol (chromium.mjs)."""

import shutil

import npm
from tools import Server, WORK, check, in_test_root, skip, test_root


def browse(root, home, url, *options):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--user-data-dir=%s" % (home / "profile"), "--virtual-time-budget=4000", "--window-size=900,1300"]
    return in_test_root(root, "env", "HOME=%s" % home, "chromium", *flags, *options, url)


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
    npm.client("browser", "browser_frame.mjs", server, 12, HOME=home)
    check("browser: the server stops cleanly", server.stop() == 0)
