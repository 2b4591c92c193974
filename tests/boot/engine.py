"""The engine ends, and PID 1 sees to it."""

import json
import time

from tier import LIMIT, SOURCE, add_model, boot, box, check, edited, key_on_console, meet, power_off, test

# The kernel's OOM killer, asked for by hand (magic SysRq over the serial line): it takes the biggest process, as it
# would in earnest, and counts it.
ALLOW_SYSRQ = ["io.systemd.stub.kernel-cmdline-extra=sysrq_always_enabled"]


@test("the engine is killed and comes back")
def killed():
    with boot("killed", smbios=ALLOW_SYSRQ) as machine:
        tawny, mark = meet(machine)
        key = key_on_console(machine)
        at = len(machine.lines)
        start = time.monotonic()
        machine.send_break("f")
        _, reason = machine.wait(r"engine: ended: (.*)", 30, at)
        # PID 1 keeps the sockets: who connects meanwhile waits, and is refused by nobody
        status = tawny.request("GET", "/health").status
        check(status in (200, 503), f"/health says {status} to who asked while no engine ran")
        machine.wait(r"engine: serves", LIMIT, at)
        tawny.wait_ready(30)
        seconds = time.monotonic() - start
        tawny.key = key
        check("Copenhagen" in tawny.ask("What is the capital of Denmark?"), "the model answers wrongly afterwards")
        power_off(machine)
    check("the memory was full" in reason.group(1), f"the console says only: {reason.group(1)}")
    check(seconds < 30, f"it took {seconds:.1f} s")
    return f"back after {seconds:.1f} s; the console says: {reason.group(1)}"


@test("a model that kills the engine while it is loaded is left out the third time")
def killer_model():
    # Its disk is slow, so that there is time to kill the engine while it reads.
    file = edited("killer", "model = killer.gguf\n")
    add_model(file, "killer.gguf", SOURCE / "engine/builtin/builtin.gguf")
    with boot("killer", file, smbios=ALLOW_SYSRQ) as machine:
        machine.wait(r"data: .* is mounted", LIMIT)
        machine.throttle(bps_rd=150_000)
        at = 0
        for how_often in ("first", "second"):
            machine.wait(r"engine: \S+ info  device: ", LIMIT, at)
            time.sleep(1)
            at = len(machine.lines)
            machine.send_break("f")
            _, reason = machine.wait(r"engine: ended: (.*)", LIMIT, at)
            check("the memory was full" in reason.group(1), f"the {how_often} time the console says: {reason.group(1)}")
            _, again = machine.wait(r"engine: starts again in (.*)", 10, at)
            check(("without its model" in again.group(1)) == (how_often == "second"),
                  f"the {how_often} time: starts again in {again.group(1)}")
        machine.wait(r"engine: .*no model is loaded: the model killer.gguf: loading it ended the engine 2 times", LIMIT, at)
        machine.wait(r"failed: open https://", LIMIT, at)
        machine.throttle()
        tawny = box.Box(machine.ports[443], box.fetch_ca(machine.ports[80], LIMIT, machine.running))
        answer = tawny.request("GET", "/health")
        health = json.loads(answer.read())
        check(answer.status == 503 and health["status"] == "failed", f"/health says {answer.status}, {health}")
        check("killer.gguf: loading it ended the engine 2 times" in health["error"], f"/health says {health}")
        check("the memory was full" in health["error"], f"/health says {health}")
        power_off(machine)
    file.unlink()
    return f"/health: {health['error']}"
