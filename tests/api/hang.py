"""A GPU that hangs: told within its stated time, and the engine ends, for PID 1 to start it again.

The device is lavapipe behind a Vulkan layer (tests/golden/driver/hang_layer.c) that calls it a GPU and lets one wait, or one
submission, never end. This test plays PID 1: it reads the heartbeats, and starts the engine once more. With
TAWNY_TEST_FULL=1 also a call into the driver that never returns, which takes more than two minutes to be told.

With it too the same by the appliance's engine and driver on the emulated chip (tests/golden/chip): a chip that is reset in the
middle of an answer, one that faults and one that hangs. Every client is told before the engine ends."""

import http.client
import json
import os
import re
import subprocess
import threading
import time

from tools import FLAVOUR, ROOT, SHORT, WORK, Server, check, skip

LAYER = ROOT / "build/host/hang_layer.so"
DRIVER = "/usr/share/vulkan/icd.d/lvp_icd.json"
PATIENCE = 30, 60  # seconds: a GPU's, and what the length of the work may add to it


class Hanging(Server):
    def __init__(self, name, model, fresh=True):
        folder = WORK / "hang-layer"
        folder.mkdir(exist_ok=True)
        (folder / "hang.json").write_text(json.dumps({"file_format_version": "1.1.2", "layer": {
            "name": "VK_LAYER_TAWNY_hang", "type": "GLOBAL", "library_path": str(LAYER), "api_version": "1.3.250",
            "implementation_version": "1", "description": "tests only", "functions": {
                "vkGetInstanceProcAddr": "hang_instance_proc", "vkGetDeviceProcAddr": "hang_device_proc"}}}))
        self.how = WORK / (name + ".how")
        self.how.unlink(missing_ok=True)
        self.beats, writer = os.pipe()
        os.set_blocking(self.beats, False)
        env = {"VK_DRIVER_FILES": DRIVER, "VK_ADD_LAYER_PATH": folder, "VK_INSTANCE_LAYERS": "VK_LAYER_TAWNY_hang",
               "TAWNY_TEST_HANG": self.how, "TAWNY_HEARTBEAT_FD": writer, "TAWNY_CONFINE": "no"}
        super().__init__(name, model, fresh=fresh, device="vulkan", options=SHORT, pass_fds=(writer,),
                         prefix=("env", *("%s=%s" % pair for pair in env.items())))
        os.close(writer)

    def heard(self):
        """the lines on the heartbeat pipe since the last call"""
        try:
            return os.read(self.beats, 65536).decode().splitlines()
        except BlockingIOError:
            return []

    def asks(self):
        """a request whose answer, or end, nobody waits for"""
        def ask():
            try:
                self.chat("How do I add a model?", max_tokens=64)
            except OSError:
                pass
        threading.Thread(target=ask, daemon=True).start()


def never_done(model):
    server = Hanging("hang", model)
    health = server.wait(seconds=300)
    if not check("hang: the layer's device is a GPU, and serves", health and health["status"] == "ready" and
                 health["kind"] == "integrated", (health, server.log.read_text()[-600:])):
        server.stop()
        return
    server.how.write_text("wait\n")
    server.asks()
    try:
        status = server.process.wait(120)
    except subprocess.TimeoutExpired:
        status = None
    text = server.log.read_text()
    told = re.search(r"fatal the device failed: .* has not finished within (\d+) s what should take \S+ s: it hangs", text)
    asked = int(server.how.read_text() or 0) / 1e9
    check("hang: a submission that never ends is waited for within its stated time, told, and the engine ends",
          status == 70 and told and PATIENCE[0] <= int(told.group(1)) <= PATIENCE[1] and abs(asked - int(told.group(1))) <= 1,
          (status, asked, text[-400:]))
    again = Hanging("hang", model, fresh=False)
    again.wait(seconds=300)
    answer = again.chat("What is the capital of Denmark?")
    check("hang: started again it answers", answer[0] == 200, answer)
    status, text = again.stop(), again.log.read_text()
    check("hang: when it ends the device is idle and given back, which is said", status == 0 and "is idle and given back" in text, text[-300:])
    again.heard()


def never_returns(model):
    server = Hanging("hang-call", model)
    server.wait(seconds=300)
    server.how.write_text("submit\n")
    server.asks()
    began, silent = time.time(), 0
    while time.time() - began < 240 and silent < 4:
        time.sleep(5)
        heard = server.heard()
        silent = silent + 1 if "beat net" in heard and "beat compute" not in heard else 0
    took = time.time() - began
    health = server.ask("GET", "/health", key=False)[2]
    check("hang: a call that never returns: the compute thread's heartbeat alone stays away", silent == 4 and 115 < took < 160, took)
    check("hang: ... and /health says why", health["status"] == "failed" and "its driver hangs" in health["error"], health)
    server.process.kill()
    server.process.wait()


class OnChip(Server):
    def __init__(self, name, model, fresh=True):
        self.fault = WORK / (name + ".fault")
        self.fault.unlink(missing_ok=True)
        super().__init__(name, model, flavour="appliance", program="chip-tawny", fresh=fresh, device="vulkan", options=SHORT,
                         prefix=("env", "CHIP=gfx1151", "CHIP_FAULT_FILE=%s" % self.fault, "TAWNY_CONFINE=no"))

    def plays(self, fault):
        """at the submission that comes next but one"""
        self.fault.write_text(fault + "=2\n")


def answer_in_pieces(server, at_first):
    """A streamed answer: (what it says, the error that ends it). at_first is called when it has begun."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=240, context=server.context())
    body = {"messages": [{"role": "user", "content": "How do I add a model?"}], "stream": True, "temperature": 0, "max_tokens": 200, "ignore_eos": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer " + server.key()})
    text, error = "", None
    for line in connection.getresponse():
        event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        error = event.get("error", error)
        piece = event["choices"][0]["delta"].get("content") if event.get("choices") else None
        if piece and not text:
            at_first()
        text += piece or ""
    connection.close()
    return text, error


def on_chip(model, fault, says, seconds):
    server, others = OnChip("chip-" + fault, model), []
    health = server.wait(("ready",), seconds=600)  # testing the device takes the emulator long: /health says meanwhile that it hangs
    if not check("hang: the emulated chip serves", health and health["status"] == "ready" and "GFX1151" in health["device"],
                 (health, server.log.read_text()[-600:])):
        server.stop()
        return
    other = threading.Thread(target=lambda: others.append(server.chat("Where is the certificate?", max_tokens=200, ignore_eos=True)))
    began = []

    def break_it():
        other.start()
        time.sleep(0.5)
        began.append(time.time())
        server.plays(fault)
    text, error = answer_in_pieces(server, break_it)
    other.join(240)
    try:
        status = server.process.wait(20)
    except subprocess.TimeoutExpired:
        status = None
    took = time.time() - began[0] if began else -1
    log = server.log.read_text()
    check("hang: %s: the stream that had begun ends with an error" % fault,
          text and error and error["message"].startswith("the device failed: ") and says in error["message"], (text, error, log[-300:]))
    check("hang: %s: who waits has a 503, and may ask again" % fault,
          others and others[0][0] == 503 and "retry-after" in others[0][1] and "the engine starts again" in others[0][2]["error"]["message"], others)
    check("hang: %s: and the engine ends, in its time" % fault,
          status == 70 and "fatal the device failed: " in log and seconds[0] <= took <= seconds[1], (status, took, log[-300:]))
    again = OnChip("chip-" + fault, model, fresh=False)
    again.wait(("ready",), seconds=600)
    answer = again.chat("What is the capital of Denmark?", max_tokens=4)
    check("hang: %s: started again it answers" % fault, answer[0] == 200, answer)
    again.stop()


def run(model):
    if not os.environ.get("TAWNY_TEST_FULL"):
        skip("hang: on the emulated chip", "it takes minutes: TAWNY_TEST_FULL=1")
    elif "avx2" not in open("/proc/cpuinfo").read():
        skip("hang: on the emulated chip", "it needs AVX2, FMA and F16C here")
    else:
        on_chip(model, "lost", "the device is lost", (0, 60))
        on_chip(model, "page", "address 0x7fee0000", (0, 60))
        on_chip(model, "hang", "has not finished within", (25, 120))
    if FLAVOUR != "host" or not os.path.exists(DRIVER):
        return skip("hang", "only the host build opens the system's driver, lavapipe, and that must be there")
    never_done(model)
    if os.environ.get("TAWNY_TEST_FULL"):
        never_returns(model)
    else:
        skip("hang: a call that never returns", "it takes more than two minutes: TAWNY_TEST_FULL=1")
