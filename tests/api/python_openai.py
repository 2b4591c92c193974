"""Python's `openai` (Debian's package, in the root of openclaw.py) over TLS: every call of it that this box claims to answer."""

import subprocess
import sys

import openclaw
from tools import HERE, ROOT, SHORT, Server, WORK, check, in_test_root, skip

sys.path.insert(0, str(ROOT / "tests" / "golden"))
import cases  # noqa: E402


def script(root, name, server, n_least):
    """python_openai_calls.py's part of this name; each line it prints is a check."""
    code, text = in_test_root(root, "env", "SSL_CERT_FILE=%s" % server.ca, "TAWNY_URL=" + server.url, "TAWNY_KEY=" + server.key(),
                              "python3", HERE / "python_openai_calls.py", name)
    lines = [line for line in text.splitlines() if line.startswith(("ok ", "FAILED "))]
    for line in lines:
        check("python: " + line.split(" ", 1)[1].split(": FAILED")[0], line.startswith("ok "), line)
    check("python: %s: the client ran to its end" % name, code == 0 and len(lines) >= n_least, text[-700:])


def run(model):
    root, why = openclaw.clients_root()
    if not root:
        skip("python", why)
        return
    server = Server("python", model, options=SHORT)
    server.wait()
    script(root, "text", server, 12)
    code, text = in_test_root(root, "env", "TAWNY_URL=" + server.url, "TAWNY_KEY=" + server.key(), "python3", HERE / "python_openai_calls.py", "trust")
    check("python: without the CA the certificate is refused", "refused: " in text and "CERTIFICATE_VERIFY_FAILED" in text, text[-500:])
    check("python: the server stops cleanly", server.stop() == 0)
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests/api/scripted.py", scripted], check=True)
    server = Server("python-tools", scripted)
    server.wait()
    script(root, "tools", server, 6)
    server.stop()
    vectors = WORK / "vectors.gguf"
    cases.make_arch(str(vectors), "bert")
    server = Server("python-vectors", vectors)
    server.wait()
    script(root, "vectors", server, 3)
    server.stop()
