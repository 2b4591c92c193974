"""A GPU that hangs: told within its stated time, and the engine ends, for PID 1 to start it again.

The device is lavapipe behind a Vulkan layer (tests/golden/driver/hang_layer.c) that calls it a GPU and lets one wait, or one
submission, never end. This test plays PID 1: it reads the heartbeats, and starts the engine once more. With
TAWNY_TEST_FULL=1 also a call into the driver that never returns, which takes more than two minutes to be told."""

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


def run(model):
    if FLAVOUR != "host" or not os.path.exists(DRIVER):
        return skip("hang", "only the host build opens the system's driver, lavapipe, and that must be there")
    never_done(model)
    if os.environ.get("TAWNY_TEST_FULL"):
        never_returns(model)
    else:
        skip("hang: a call that never returns", "it takes more than two minutes: TAWNY_TEST_FULL=1")
