"""The held-out prompts of the built-in model, through HTTPS, on the processor and on Vulkan."""

import os
import re
import subprocess
import sys

from tools import ROOT, Server, check, find_model, skip

sys.path.append(str(ROOT / "engine" / "builtin"))
import gguf  # noqa: E402

# file of held-out prompts -> (the kind that a model must have learnt for it, percent of them that must be right, of each
# skill how many are asked on both devices; None: all). The calls are asked whole on the processor alone, and with
# TAWNY_TEST_FULL=1: with 41 KB of system prompt before them, lavapipe takes minutes.
HELDOUT = {"heldout.jsonl": (None, 95, None), "heldout_calls.jsonl": ("call", 95, 4)}


def skills(model, device, heldout, limit, least):
    """The score of a file of held-out prompts on a device, as score.py says it; None after a failure."""
    server = Server("skills-" + device, model, options=("--ctx", "0"), device=device)
    server.wait()
    done = subprocess.run([sys.executable, ROOT / "engine/builtin/score.py", "--url", server.url, "--cacert", server.ca, "--key",
                           server.key(), "--jobs", "4", "--heldout", ROOT / "engine/builtin" / heldout, "--min-skills", str(least),
                           *(["--limit", str(limit)] if limit else [])],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800)
    print(done.stdout, end="")
    check("skills: at least %d %% of %s%s, through HTTPS, on %s" % (least, heldout, ", %d a skill" % limit if limit else "", device),
          done.returncode == 0, done.stdout[-300:])
    server.stop()
    found = re.search(r"skills +(\d+) of +(\d+)", done.stdout)
    return int(found[1]) if found else None


def run(model):
    if not find_model()[1]:
        skip("skills", "the model tested is not the built-in one")
        return
    learnt = gguf.learnt(model)  # nothing before the model that calls tools; then it must say so
    for heldout, (kind, least, limit) in HELDOUT.items():
        if kind and kind not in learnt:
            print("skills: the built-in model does not say that it has learnt tool calls: %s is not asked" % heldout)
            continue
        if limit and os.environ.get("TAWNY_TEST_FULL"):  # minutes
            skills(model, "cpu", heldout, None, least)
        cpu, vulkan = (skills(model, device, heldout, limit, 90 if limit else least) for device in ("cpu", "llvmpipe"))
        # Two rounded differently may part at one close call; a kernel that is wrong loses dozens.
        check("skills: the same score on Vulkan as on the processor, " + heldout, None not in (cpu, vulkan) and abs(cpu - vulkan) <= 1,
              "%s on the processor, %s on llvmpipe" % (cpu, vulkan))
