"""Talks to a running Tawny the way a client on the network does: used by boot/run and tests/boot/run.

Trust: the certificate of the box's own authority is fetched over port 80 (nothing secret is on it), its
fingerprint is compared with the one on the console, and from then on every connection is verified
against it, host name included.
"""

import hashlib
import http.client
import json
import ssl
import time


def fetch_ca(port, seconds, alive=lambda: True):
    """The PEM of /ca.crt from the plain port; tries until the box answers, or is no longer alive()."""
    end = time.monotonic() + seconds
    while True:
        try:
            # QEMU takes the connection before the guest has an address, and then nothing comes: ask again soon.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/ca.crt")
            answer = connection.getresponse()
            if answer.status == 200:
                return answer.read().decode()
            reason = f"status {answer.status}"
        except (OSError, http.client.HTTPException) as e:
            reason = str(e) or type(e).__name__
        if not alive():
            raise RuntimeError("the box has ended before it answered")
        if time.monotonic() > end:
            raise TimeoutError(f"no /ca.crt from port 80 within {seconds} s: {reason}")
        time.sleep(0.1)


def fingerprint(pem):
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


class Box:
    def __init__(self, port, ca, key=None):
        """port: of localhost, forwarded to the box's 443; ca: PEM of its authority."""
        self.port, self.key = port, key
        self.tls = ssl.create_default_context(cadata=ca)

    def request(self, method, path, body=None, timeout=60):
        """An open http.client response; every connection is new."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=self.tls)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def wait_ready(self, seconds):
        """Waits until /health answers 200, which it does only when the model is loaded; returns what it says."""
        end = time.monotonic() + seconds
        while True:
            try:
                answer = self.request("GET", "/health", timeout=10)
                health = json.loads(answer.read())
                if answer.status == 200:
                    return health
                reason = f"status {answer.status}, {health}"
                if health.get("status") == "failed":
                    raise RuntimeError(f"the engine says it failed: {health}")
            except ssl.SSLCertVerificationError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as e:
                reason = str(e) or type(e).__name__
            if time.monotonic() > end:
                raise TimeoutError(f"/health was not ready within {seconds} s: {reason}")
            time.sleep(0.1)

    def ask(self, question, on_text=lambda text: None, timeout=120, **settings):
        """Streams one chat answer; on_text gets each piece, the whole is returned."""
        body = {"model": "builtin", "stream": True, "temperature": 0, "max_tokens": 100,
                "messages": [{"role": "user", "content": question}], **settings}
        answer = self.request("POST", "/v1/chat/completions", body, timeout)
        if answer.status != 200:
            raise RuntimeError(f"POST /v1/chat/completions: status {answer.status}, {answer.read().decode()}")
        text = ""
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data == b"[DONE]":
                return text
            for choice in json.loads(data)["choices"]:
                piece = choice["delta"].get("content") or ""
                on_text(piece)
                text += piece
        raise RuntimeError(f"the stream ended without [DONE] after {text!r}")
