"""The power is cut in the middle of the guest's writes: QEMU is killed."""

import base64
import hashlib
import http.client
import json
import random
import threading
import time
from pathlib import Path

from tier import FULL, IMAGE, LIMIT, SOURCE, WORK, boot, check, data_is_clean, disk, key_on_console, meet, power_off, sh, test


def writes(machine):
    """Completed write requests of the guest's disk."""
    for drive in machine.qmp("query-blockstats"):
        if drive.get("device") == "d":
            return drive["stats"]["wr_operations"]
    raise KeyError("QEMU tells no statistics of drive d")


def cut_after(machine, n, limit):
    """Cuts the power when the guest has written N times more than now; how many it was."""
    base, end = writes(machine), time.monotonic() + limit
    while time.monotonic() < end:
        done = writes(machine) - base
        if done >= n:
            machine.cut_power()
            return done
        time.sleep(0.002)
    raise TimeoutError(f"the guest wrote only {writes(machine) - base} times in {limit} s; {n} were waited for")


def overlay(base, file, size=None):
    """A disk that loses what was not flushed when QEMU is killed: qcow2 keeps new clusters' addresses in
    memory until the guest flushes, as a drive keeps blocks in its cache."""
    Path(file).unlink(missing_ok=True)
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", Path(base).resolve(), "-F",
       "raw" if str(base).endswith(".img") else "qcow2", file, *([str(size)] if size else []))


CACHED = ",cache=writeback,cache-clean-interval=0,l2-cache-size=8M"


@test("power cut in the first boot's writes")
def cut_first():
    # Growing the partition and making the keys: at several moments of it, each time on a new disk.
    WORK.mkdir(parents=True, exist_ok=True)
    moments = []
    for n in sorted(random.Random(1).sample(range(1, 55), 50)) if FULL else (12,):
        file = WORK / "cut.qcow2"
        overlay(IMAGE, file, 2 << 30)
        with boot(f"cut-first-{n}", file, format="qcow2", drive=CACHED) as machine:
            try:
                moments.append(cut_after(machine, n, LIMIT))
            except TimeoutError:
                if n < 20:
                    raise
                machine.cut_power()  # it makes do with fewer writes: cut when all is done
                moments.append("the end")
        with boot(f"cut-first-{n}-after", file, format="qcow2") as machine:
            meet(machine)
            check(len(key_on_console(machine)) > 20, "no API key on the console")
            power_off(machine)
        raw = WORK / "cut.img"
        sh("qemu-img", "convert", "-O", "raw", file, raw)
        check(disk.partitions(raw, disk.backup_header(raw)) == disk.partitions(raw), "the two GPTs differ")
        data_is_clean(raw)
        raw.unlink()
        file.unlink()
    return f"cut after {', '.join(map(str, moments))} writes: next boot serves, e2fsck clean"


@test("power cut while data is written: keys and data come back")
def cut_later():
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / "keys.qcow2"
    overlay(IMAGE, file, 2 << 30)
    with boot("keys", file, format="qcow2") as machine:
        tawny, mark = meet(machine)
        key = key_on_console(machine)
        power_off(machine)
    moments = []
    # Another network each time: the box has a new address and writes a new certificate.
    for i, n in enumerate((1, 3, 6) if FULL else (3,), 1):
        with boot(f"keys-cut-{i}", file, format="qcow2", drive=CACHED, net=f"net=10.{i}.0.0/24") as machine:
            moments.append(cut_after(machine, n, LIMIT))
        with boot(f"keys-after-{i}", file, format="qcow2", net=f"net=10.{i}.0.0/24") as machine:
            tawny, now = meet(machine)
            check(now == mark, f"the authority changed: {mark} before, {now} after")
            tawny.key = key
            answer = tawny.request("GET", "/v1/models")
            check(answer.status == 200, f"the old API key gets status {answer.status}: {answer.read()[:200]}")
            power_off(machine)
    raw = WORK / "keys.img"
    sh("qemu-img", "convert", "-O", "raw", file, raw)
    data_is_clean(raw)
    raw.unlink()
    file.unlink()
    return f"cut after {', '.join(map(str, moments))} writes: same authority, same key, e2fsck clean"


class Sending:
    """An upload, in pieces of 1 MB; `safe` is what the box has acknowledged so far."""

    def __init__(self, tawny, data):
        self.tawny, self.data, self.safe, self.path = tawny, data, 0, None

    def ask(self, method, path, body=None, **headers):
        """(status, header fields) of a request with headers of its own."""
        connection = http.client.HTTPSConnection("localhost", self.tawny.port, timeout=60, context=self.tawny.tls)
        fields = {"Authorization": f"Bearer {self.tawny.key}", "Tus-Resumable": "1.0.0"}
        connection.request(method, path, body, {**fields, **{name.replace("_", "-"): text for name, text in headers.items()}})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers

    def begin(self):
        meta = ", ".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in
                         (("filename", "sent.gguf"), ("sha256", hashlib.sha256(self.data).hexdigest())))
        status, headers = self.ask("POST", "/v1/uploads", Upload_Length=str(len(self.data)), Upload_Metadata=meta)
        check(status == 201, f"an upload is not begun: status {status}")
        self.path = headers["Location"]

    def go_on(self):
        while self.safe < len(self.data):
            status, headers = self.ask("PATCH", self.path, self.data[self.safe:self.safe + (1 << 20)], Upload_Offset=str(self.safe),
                                       Content_Type="application/offset+octet-stream")
            check(status == 204, f"a piece at {self.safe} is not taken: status {status}")
            self.safe = int(headers["Upload-Offset"])

    def resume(self):
        status, headers = self.ask("HEAD", self.path)
        check(status == 200, f"the upload is gone after a cut: status {status}")
        at = int(headers["Upload-Offset"])
        check(at >= self.safe, f"{self.safe} bytes were acknowledged, {at} are there")
        check(self.model() is None, "half of a model is listed")
        self.safe = at

    def until_cut(self):
        try:
            self.go_on()
        except OSError:
            pass  # the power is gone
        except http.client.HTTPException:
            pass

    def model(self):
        answer = self.tawny.request("GET", "/v1/models/sent")
        text = answer.read()
        return json.loads(text) if answer.status == 200 else None


@test("power cut during an upload: it goes on where it was acknowledged")
def cut_upload():
    WORK.mkdir(parents=True, exist_ok=True)
    random.seed(1)
    data = (SOURCE / "engine/builtin/builtin.gguf").read_bytes()
    data += random.randbytes(8 << 20)
    file = WORK / "upload.qcow2"
    overlay(IMAGE, file, 2 << 30)
    sending, moments, key = None, [], None
    for i, n in enumerate((3 << 20, 7 << 20) if FULL else (5 << 20,)):
        with boot(f"upload-{i}", file, format="qcow2", drive=CACHED) as machine:
            tawny, _ = meet(machine)
            key = key or key_on_console(machine)
            tawny.key = key
            if sending is None:
                sending = Sending(tawny, data)
                sending.begin()
            sending.tawny = tawny
            if i:
                sending.resume()
            thread = threading.Thread(target=sending.until_cut)
            thread.start()
            end = time.monotonic() + LIMIT
            while sending.safe < n and time.monotonic() < end and thread.is_alive():
                time.sleep(0.005)
            cut_after(machine, i if FULL else 1, LIMIT)  # between two writes of the piece behind it
            thread.join()
            moments.append(f"{sending.safe >> 20} MB")
    with boot("upload-after", file, format="qcow2") as machine:
        sending.tawny, _ = meet(machine)
        sending.tawny.key = key
        sending.resume()
        sending.go_on()
        model = sending.model()
        check(model and model.get("sha256") == hashlib.sha256(data).hexdigest(), f"the model is not what was sent: {model}")
        power_off(machine)
    raw = WORK / "upload.img"
    sh("qemu-img", "convert", "-O", "raw", file, raw)
    data_is_clean(raw)
    raw.unlink()
    file.unlink()
    return f"cut when {', '.join(moments)} of {len(data) >> 20} were acknowledged: it went on there; e2fsck clean"
