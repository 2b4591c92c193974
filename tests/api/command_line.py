"""The command line: what README says is typed, every verb's help, refusals and default model.

    run(tools, model)     tools: the module of tests/api/run (check, skip, free_ports, ROOT)

Everything runs as an ordinary user (uid 1000 where the tests are root's), with the appliance's static binary as `tawny`
on the PATH, in a directory that holds nothing else: what works here works for whoever downloads that one file.
Each command of README's code blocks and code spans is run, or stands in NOT_RUN with the reason; one that is neither
fails, so that nothing can be added to README without an answer to "who has tried it?".
"""

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

USER = 1000
AS_USER = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"] if os.getuid() == 0 else []
VERBS = "serve chat bench plan logits render tokenize doctor version".split()
# First words of a code span that is a command.
PROGRAMS = "make tawny curl openssl qm lsblk sudo dd tests/golden/vtest tests/golden/peer/run".split()
# Beginnings of commands that are not run here.
NOT_RUN = {
    "VM=900 STORE=": "sets variables for qm",
    "qm ": "Proxmox VE's own command",
    "lsblk ": "looks for a USB stick",
    "sudo dd ": "overwrites a USB stick; tests/boot/run boots the same file as one",
    "make run": "tests/boot/run does the same, step by step",
    "tawny chat": "tests/api/chat.py has it in a terminal",
    "make test-peer": "fetches and builds another engine",
    "make test-device": "wants a GPU",
    "make test": "is what runs this",
    "make image": "tests/boot/run needs it built",
    "make lxc": "tests/boot/run needs it built",
    "make oci": "tests/boot/run needs it built",
    "make release": "tests/boot/run signs its own updates with boot/bundle.py",
    "curl ... -X POST --data-binary @tawny-update.bin": "tests/api/update.py sends one, tests/boot/update.py to a whole box",
    "(printf '{\"password\"": "tests/api/backup.py takes backups back; after one nothing else may be changed",
    "make isa-report": "minutes; the golden tier compares with its record",
    "make chip-report": "minutes of an emulated chip; what it finds is compared with its record",
    "make appliance MESA=": "builds another driver",
    "make fuzz": "minutes; the unit tier replays its corpora",
    "tests/golden/vtest COMMAND": "the golden tier runs under it",
    "tests/golden/peer/run": "fetches and builds another engine",
    "tawny bench": "a table's worth of minutes; run below with few tokens",
    "export ANTHROPIC_": "tests/api/claude_code.py starts Claude Code with them",
    "export CLAUDE_CODE_": "tests/api/claude_code.py starts Claude Code with them",
    "claude": "tests/api/claude_code.py starts it",
    "make help": None,  # run
}


class Place:
    """A directory of the ordinary user's, with tawny in it."""

    def __init__(self, tools):
        self.tools = tools
        self.path = Path(tempfile.mkdtemp(prefix="tawny-command-line-"))
        (self.path / "bin").mkdir()
        # TAWNY_TEST_FLAVOUR=asan: the same under the sanitizers, which takes this root's libraries.
        flavour = "asan" if tools.FLAVOUR == "asan" else "appliance"
        shutil.copy(tools.ROOT / "build" / flavour / "tawny", self.path / "bin/tawny")
        shutil.copy(tools.ROOT / "engine/builtin/builtin.gguf", self.path / "model.gguf")
        subprocess.run(["chmod", "-R", "a+rX,u+w", self.path], check=True)
        if AS_USER:
            subprocess.run(["chown", "-R", "%d:%d" % (USER, USER), self.path], check=True)
        self.environment = {"PATH": "%s/bin:/usr/bin:/bin:/usr/sbin:/sbin" % self.path, "HOME": str(self.path), "LC_ALL": "C.UTF-8",
                            # Other drivers without a device leave bytes behind, which the sanitizers would count as ours.
                            "VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/lvp_icd.json"}

    def run(self, command, text=None, limit=120, root=False):
        """(status, stdout, stderr) of a command line or list; status None when it hangs."""
        words = ["bash", "-c", command] if isinstance(command, str) else list(map(str, command))
        try:
            done = subprocess.run([*([] if root else AS_USER), *words], cwd=self.path, env=self.environment, input=text or "",
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=limit)
        except subprocess.TimeoutExpired:
            return None, "", "still running after %d s" % limit
        return done.returncode, done.stdout, done.stderr

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


def listens_at(pid):
    """{"127.0.0.1:8443", ...}: what a process listens at."""
    inodes = set()
    for fd in Path("/proc/%d/fd" % pid).iterdir():
        try:
            inodes.add(os.readlink(fd))
        except OSError:
            pass
    found = set()
    for name in "tcp", "tcp6":
        for line in Path("/proc/net/" + name).read_text().splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and "socket:[%s]" % field[9] in inodes:
                host, port = field[1].split(":")
                address = ".".join(str(int(host[i:i + 2], 16)) for i in (6, 4, 2, 0)) if name == "tcp" else "[%s]" % host
                found.add("%s:%d" % (address, int(port, 16)))
    return found


class Serving:
    """A `tawny serve ...` as it stands on a command line."""

    def __init__(self, place, command, root=False):
        self.place = place
        self.out = open(place.path / "serve.out", "w+")
        self.process = subprocess.Popen([*([] if root else AS_USER), *shlex.split(command)], cwd=place.path, env=place.environment,
                                        stdout=self.out, stderr=subprocess.STDOUT)

    def wait(self, word="ready after", limit=60):
        end = time.monotonic() + limit
        while time.monotonic() < end and self.process.poll() is None:
            if word in self.text():
                return True
            time.sleep(0.1)
        return word in self.text()

    def text(self):
        return Path(self.out.name).read_text(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
        finally:
            self.out.close()


# ---- README ----------------------------------------------------------------------------------------------------------

def commands_of(text):
    """The command lines of README: those of its sh blocks, continued lines joined, and the code spans that are commands."""
    found = []
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            line = re.split(r"\s+#\s", line)[0].strip()
            if line:
                found.append(line)
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for span in re.findall(r"`([^`]+)`", prose):
        span = " ".join(span.split())
        if span.split()[0] in PROGRAMS and " " in span:
            found.append(span)
    return list(dict.fromkeys(found))


def why_not(command):
    for beginning, why in sorted(NOT_RUN.items(), key=lambda item: -len(item[0])):
        if command.startswith(beginning):
            return why
    return None


def readme_serves(place, tools, command):
    """`tawny serve ...` with its placeholders filled in: it is ready, and listens where it was told and nowhere else."""
    port = tools.free_ports(1)[0]
    filled = command.replace("FILE", "model.gguf").replace("8443", str(port)).replace("DIR", "state")
    for root in (False, True) if AS_USER else (False,):
        serving = Serving(place, filled, root)
        who = "root" if root else "an ordinary user"
        ready = serving.wait()
        tools.check("readme: as %s: %s" % (who, command), ready, serving.text()[-400:])
        if ready:
            at = listens_at(serving.process.pid)
            tools.check("readme: ... opens that address and no other", at == {"127.0.0.1:%d" % port}, at)
        status = serving.stop()
        tools.check("readme: ... and ends when asked to", status == 0, (status, serving.text()[-400:]))
        shutil.rmtree(place.path / "state", ignore_errors=True)


def readme_clients(place, tools, commands):
    """The client's commands, in order, against a server of this machine in the box's place."""
    https, http = tools.free_ports(2)
    serving = Serving(place, "tawny serve --listen 127.0.0.1:%d --listen-http 127.0.0.1:%d --state client" % (https, http))
    try:
        if not tools.check("readme: a server for the client's commands", serving.wait(), serving.text()[-400:]):
            return
        place.environment["TAWNY_KEY"] = (place.path / "client/api-key").read_text().strip()
        made = "ID"  # of the key that was made last
        for command in commands:
            filled = command.replace("curl ... ", 'curl --cacert tawny-ca.crt -H "Authorization: Bearer $TAWNY_KEY" ')  # as above it
            filled = filled.replace("/v1/keys/ID", "/v1/keys/" + made).replace("http://192.0.2.7/", "http://127.0.0.1:%d/" % http)
            filled = filled.replace("https://192.0.2.7/", "https://127.0.0.1:%d/" % https)
            status, out, err = place.run(filled.replace("curl ", "curl -sS --fail ", 1))
            good = status == 0 and (out or "-o " in command)
            made = (re.findall(r'"id": ?"(key_[^"]+)"', out) or [made])[-1] if "secret" in out else made
            if "-fingerprint" in command:
                good = good and out.strip().split("=")[-1] in serving.text()
            tools.check("readme: %s" % command[:90], good, (status, out[-200:], err[-300:]))
    finally:
        serving.stop()


def readme(place, tools):
    commands = commands_of((tools.ROOT / "README.md").read_text())
    tools.check("readme: its commands are found", len(commands) > 15, commands)
    clients = [c for c in commands if c.startswith(("curl ", "openssl ")) and not why_not(c)]
    for command in commands:
        why = why_not(command)
        if command.startswith("tawny serve "):
            readme_serves(place, tools, command)
        elif command == "make help":
            done = subprocess.run(["make", "-C", str(tools.ROOT), "help"], stdout=subprocess.PIPE, text=True)
            tools.check("readme: make help", done.returncode == 0 and "make test" in done.stdout, done)
        elif command.startswith(("tawny doctor", "tawny help", "tawny version")):
            for words in {command.replace("[", "").replace("]", ""), re.sub(r" \[.*\]", "", command)}:
                words = words.replace("VERB", "chat")
                status, out, err = place.run(words)
                # The doctor's status says whether a GPU runs here.
                good = status == 0 or (status == 1 and words.startswith("tawny doctor"))
                tools.check("readme: %s" % words, good and out, (status, out[-300:], err))
        elif command.startswith("tawny plan "):
            values = {"FILE": "model.gguf", "--ctx N": "--ctx 512", "--parallel N": "--parallel 2", "-type T": "-type q8_0", "D]": "cpu]", "BYTES": "8589934592"}
            for name, value in values.items():
                command = command.replace(name, value)
            for words in re.sub(r" \[.*\]", "", command), command.replace("[", "").replace("]", ""):
                status, out, err = place.run(words)
                tools.check("readme: %s" % words, status == 0 and out, (status, out[-300:], err))
        elif command.startswith("tawny render "):
            (place.path / "request.json").write_text('{"messages": [{"role": "user", "content": "Hello"}]}')
            (place.path / "template.jinja").write_text("{{ bos_token }}{{ messages[0].content }}")
            for words in "-m model.gguf", "--template template.jinja --bos '<s>' --eos '</s>'":
                status, out, err = place.run("tawny render %s --request request.json" % words)
                tools.check("readme: tawny render %s" % words, status == 0 and "Hello" in out, (status, out[-300:], err))
        elif command in clients:
            continue
        elif why:
            print("        readme: not run: %s: %s" % (command[:70], why), flush=True)
        else:
            tools.check("readme: %s: is run by a test, or listed with the reason why not" % command[:90], False)
    readme_clients(place, tools, clients)


# ---- verbs -----------------------------------------------------------------------------------------------------------

def helps(place, tools):
    general = place.run("tawny help")
    tools.check("help: lists the verbs", general[0] == 0 and all(re.search(r"^  %s " % v, general[1], re.M) for v in VERBS), general)
    for verb in VERBS:
        by_help, by_option = place.run("tawny help " + verb), place.run("tawny %s --help" % verb)
        tools.check("help: tawny help %s is its --help" % verb, by_help == by_option and by_help[0] == 0 and
                    "usage: tawny %s" % verb in by_help[1], by_help)
        options = re.findall(r"^ {2,6}(?:-\w, )?--([a-z-]+)", by_help[1], re.M)
        tools.check("help: ... every option with its meaning", len(options) >= 2 and "" not in options and
                    not re.search(r"--[a-z-]+ [A-Z]+\n(?!  )", by_help[1]), by_help[1])
        tools.check("help: ... the model is -m everywhere, with its default", verb == "version" or
                    re.search(r"-m, --model FILE .*\n?.*builtin\)", by_help[1]), by_help[1])
    tools.check("help: of no verb", place.run("tawny help nonsense")[0] == 2)


def refusals(place, tools):
    for command, wanted in (
            ("tawny serve --listen nonsense", '"nonsense" is not ADDRESS:PORT'),
            ("tawny serve --listen ,", '"," names no address'),
            ("tawny serve --listen 127.0.0.1:0 --listen-http 1.2.3.4:99999", "1.2.3.4:99999"),
            ("tawny serve --ctx x", '--ctx: "x" is not'),
            ("tawny chat --top-p 2", '--top-p: "2" is not'),
            ("tawny chat --ctx 1 --ctx 2", "--ctx is given twice"),
            ("tawny bench --op x", "only with --ops"),
            ("tawny bench -p -1", '--n-prompt: "-1"'),
            ("tawny logits --tokens 1,,2 --out x", '",2" where a token id'),
            ("tawny logits --tokens 1,2, --out x", "where a token id"),
            ("tawny logits --tokens '' --out x", "where a token id"),
            ("tawny logits --tokens '1 2' --out x", "where a comma"),
            ("tawny tokenize", "--file FILE and --text TEXT"),
            ("tawny tokenize --text a -f -", "--file FILE and --text TEXT"),
            ("tawny doctor --nonsense", "no option --nonsense"),
            ("tawny version x", '"x" is not an option')):
        status, out, err = place.run(command, limit=20)
        tools.check("refused: %s" % command, status == 2 and wanted in err and "--ctx: ctx:" not in err, (status, out[-200:], err))
    status, _, err = place.run("tawny chat -m /nope.gguf")
    tools.check("refused: a model that is not there, by its one path", status == 1 and "//" not in err and err.count("nope.gguf") == 1, err)
    for cut in 24, 5000, 1000000:
        (place.path / "cut.gguf").write_bytes((place.path / "model.gguf").read_bytes()[:cut])
        status, _, err = place.run("tawny tokenize --text a -m cut.gguf")
        whole = (place.path / "model.gguf").stat().st_size
        tools.check("refused: a model cut at %d bytes, with the sizes" % cut, status == 1 and "has %d bytes" % cut in err and
                    ("missing" in err) and (cut < 1000000 or "byte %d" % whole in err), err)


def no_files(place, tools):
    """A pipe nobody writes to, a directory, a device: every verb says so at once."""
    os.mkfifo(place.path / "pipe", 0o666)
    os.chmod(place.path / "pipe", stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH | stat.S_IWOTH)
    for verb in "chat", "bench -p 1 -n 1", "logits --text a --out x", "tokenize --text a":
        for name, what in ("./pipe", "a named pipe"), ("/tmp", "a directory"), ("/dev/zero", "a device"):
            status, _, err = place.run("tawny %s -m %s --device cpu" % (verb, name), limit=30)
            tools.check("no file: tawny %s -m %s" % (verb.split()[0], name), status == 1 and "it is " + what in err, (status, err))
    port = tools.free_ports(1)[0]
    serving = Serving(place, "tawny serve -m ./pipe --device cpu --state no-file --listen 127.0.0.1:%d" % port)
    tools.check("no file: serve says so", serving.wait("a named pipe", 30), serving.text()[-300:])
    tools.check("no file: ... and can be stopped", serving.stop() == 0)


def default_model(place, tools):
    """Every verb has the built-in model with it, wherever it is."""
    status, out, err = place.run("tawny tokenize --text 'Hello there'")
    tools.check("builtin: tokenize", status == 0 and re.fullmatch(r"\d+( \d+)*\n", out), (status, out, err))
    tools.check("builtin: tokenize -f - reads the same from a pipe", place.run("tawny tokenize -f -", text="Hello there")[1] == out)
    ids = out.strip().replace(" ", ",")
    done = place.run("tawny logits --device cpu --text 'Hello there' --out text.f32")
    tools.check("builtin: logits", done[0] == 0 and (place.path / "text.f32").stat().st_size > 0, done)
    done = place.run("tawny logits --device cpu --tokens %s --out ids.f32" % shlex.quote(ids.replace(",", " , ")))
    tools.check("builtin: ... of the same ids are the same", done[0] == 0 and
                (place.path / "ids.f32").read_bytes() == (place.path / "text.f32").read_bytes(), done)
    done = place.run("tawny chat --device cpu --temperature 0", text="Where is the certificate?\n")
    tools.check("builtin: chat", done[0] == 0 and "ca.crt" in done[1], done)
    done = place.run("tawny bench --device cpu -p 16 -n 4 -r 1 -t 1")
    tools.check("builtin: bench", done[0] == 0 and "pp16" in done[1], done)
    done = place.run("tawny bench --ops --op norm --device cpu")
    tools.check("builtin: bench --ops needs no model", done[0] == 0 and "norm" in done[1], done)


def listen_http(place, tools):
    """auto is port 80 of listen's addresses: opened, or refused by that name where ports below 1024 are not for all."""
    port = tools.free_ports(1)[0]
    (place.path / "one.conf").write_text("listen = 127.0.0.1:%d\n" % port)
    serving = Serving(place, "tawny serve --config one.conf --state http --device cpu")
    serving.wait("url https", 20)
    text = serving.text()
    if serving.process.poll() is None:
        at = listens_at(serving.process.pid)
        tools.check("listen-http: auto follows listen", at == {"127.0.0.1:%d" % port, "127.0.0.1:80"}, at)
    else:
        tools.check("listen-http: auto follows listen", "cannot listen on 127.0.0.1" in text, text)
    serving.stop()


def run(tools, model):
    del model
    place = Place(tools)
    try:
        for part in readme, helps, refusals, no_files, default_model, listen_http:
            part(place, tools)
    finally:
        place.close()
