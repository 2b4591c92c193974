"""The held-out prompts of the built-in model, through HTTPS, on the processor and on Vulkan."""

import re
import subprocess
import sys

from tools import ROOT, Server, check, find_model, skip


def skills(model, device):
    """The score of the held-out prompts on a device, as score.py says it; None after a failure."""
    server = Server("skills-" + device, model, options=("--ctx", "0"), device=device)
    server.wait()
    done = subprocess.run([sys.executable, ROOT / "engine/builtin/score.py", "--url", server.url, "--cacert", server.ca, "--key",
                           server.key(), "--jobs", "4"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    print(done.stdout, end="")
    check("skills: at least 95 % of the held-out prompts, through HTTPS, on " + device, done.returncode == 0, done.stdout[-300:])
    server.stop()
    found = re.search(r"skills +(\d+) of +(\d+)", done.stdout)
    return int(found[1]) if found else None


def run(model):
    if not find_model()[1]:
        skip("skills", "the model tested is not the built-in one")
        return
    cpu, vulkan = skills(model, "cpu"), skills(model, "llvmpipe")
    # Two rounded differently may part at one close call; a kernel that is wrong loses dozens.
    check("skills: the same score on Vulkan as on the processor", None not in (cpu, vulkan) and abs(cpu - vulkan) <= 1,
          "%s on the processor, %s on llvmpipe" % (cpu, vulkan))
