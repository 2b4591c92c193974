"""tawny chat as a person has it, in a terminal of its own: lines are edited, remembered and completed; answers are Markdown; it
ends in every way that there is."""

import fcntl
import os
import pty
import select
import shutil
import signal
import stat
import struct
import subprocess
import termios
import time

import scripted
from tools import FLAVOUR, ROOT, WORK, check

PROMPT = "\x1b[?2004h"  # pasted text is told apart from here on: a line can be written
UP, LEFT, HOME, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, BACKSPACE = "\x1b[A", "\x1b[D", "\x1b[H", "\x1b\r", "\x03", "\x04", "\n", "\x7f"


class Terminal:
    """A verb in a terminal of its own."""

    def __init__(self, *arguments, deaf=False, **environment):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.fd, self.seen = ours, ""

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if deaf:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.before = termios.tcgetattr(ours)
        self.process = subprocess.Popen([str(ROOT / "build" / FLAVOUR / "tawny"), *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                        preexec_fn=own_terminal, env={**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(WORK / "state"), **environment})
        os.close(theirs)

    def ended(self):
        """Its exit code; None: it had to be killed."""
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def write(self, text):
        self.seen = ""
        text = text.encode()
        try:
            while text:  # while what comes is read: who writes much into a terminal must
                if select.select([self.fd], [self.fd], [], 10)[0]:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                text = text[os.write(self.fd, text[:512]):]
        except OSError:  # it has ended, which what is looked for then shows
            pass

    def say(self, text):
        self.write(text + "\r")

    def until(self, wanted, seconds=60, after=0):
        """What came so far, once that is in it, behind so many letters."""
        end = time.time() + seconds
        while wanted not in self.seen[after:] and time.time() < end:
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    break
        return self.seen

    def answered(self):
        """An answer and the next prompt."""
        self.until("in the context")
        return self.prompt()

    def prompt(self):
        """What came so far, once a line can be written: what is typed before the terminal is ready for it waits there."""
        self.until(PROMPT)
        begun = self.seen[:self.seen.rfind(PROMPT) + len(PROMPT)]
        return self.until("> ", after=len(begun))


def history():
    return (WORK / "state" / "tawny" / "chat-history").read_text()


def answers(marked, long):
    here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu")
    check("chat: it begins with its commands", "/help lists commands and keys" in here.prompt(), here.seen)
    here.say("Show me")
    text = here.until("in the context\x1b[0m\r\n\r\n")
    check("chat: Markdown is shown", "\x1b[1mAn owl\x1b[0m" in text and "\x1b[1mtawny\x1b[0m" in text and "\x1b[36mfluffy" in text and "• one" in text, repr(text))
    check("chat: a model's escapes are none", "\x1b[31m" not in text, repr(text))
    here.prompt()
    for line, wanted, what in (("/retry", "in the context", "another answer"), ("/undo", "taken back", "the last message is taken back"), ("/undo", "nothing was said", "there is none before it"),
                               ("/help", "Alt-Enter", "commands and keys"), ("/system You are an owl.", "a new conversation", "a system message begins anew")):
        here.say(line)
        check("chat: %s" % what, wanted in here.until(wanted), repr(here.seen))
        here.prompt()
    here.say("/exit")
    check("chat: /exit ends it", here.ended() == 0)
    here = Terminal("chat", "-m", long, "--temperature", "0", "--device", "cpu")
    here.prompt()
    here.say("Count")
    here.until("word003")
    os.write(here.fd, CTRL_C.encode())
    text = here.until("in the context")
    check("chat: Ctrl-C stops an answer, and not the chat", text.count("word") < 30000 and "in the context" in text and here.process.poll() is None, repr(text)[-300:])
    here.prompt()
    here.write(CTRL_D)
    check("chat: Ctrl-D ends it", here.ended() == 0 and termios.tcgetattr(here.fd) == here.before)


def ahead(long):
    """What is typed while there is no prompt: not shown among what is printed, and the next lines, each by its Enter."""
    here = Terminal("chat", "-m", long, "--temperature", "0", "--device", "cpu", "--max-tokens", "200")
    here.prompt()
    here.say("first")
    here.until("word003")
    os.write(here.fd, ("second" + ALT_ENTER + "line\rthi" + BACKSPACE + BACKSPACE + "hird").encode())
    first, there, _ = here.until("in the context").partition("in the context")
    check("chat: what is typed during an answer is not shown in it", there and "second" not in first and "hird" not in first, repr(first)[-300:])
    said = here.until("in the context", after=len(first + there))[len(first + there):]
    check("chat: it is the next message, sent by its Enter", "in the context" in said and history().splitlines()[-1] == "second\\nline", (history()[-100:], repr(said)[-300:]))
    here.prompt()
    here.say("!")
    here.until("word003")
    check("chat: what had no Enter is edited at the next prompt", history().splitlines()[-1] == "third!", history()[-100:])
    here.process.terminate()
    code = here.ended()
    check("chat: a signal that ends it during an answer leaves the terminal as it was", code == -signal.SIGTERM and termios.tcgetattr(here.fd) == here.before, (code, termios.tcgetattr(here.fd)))


def edited(marked):
    """What was sent is what the history has, an entry a line."""
    here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu")
    here.prompt()
    for keys, wanted, what in (("Grüße" + BACKSPACE + HOME + "„" + LEFT + "ä", "ä„Grüß", "letters of two and three bytes"),
                               ("中文字" + LEFT + BACKSPACE + "国", "中国字", "letters of two columns"),
                               ("owl 🦉🦉" + BACKSPACE + "!", "owl 🦉!", "letters of four bytes"),
                               ("one" + ALT_ENTER + "two" + CTRL_J + "three\\\rfour", "one\\ntwo\\nthree\\nfour", "several lines"),
                               ("\x1b[200~if (x) {\r\ty\x07\x1b[31m\u009b2J\u00e9();\r\n}\x1b[201~;", "if (x) {\\n    y31m2Jé();\\n};", "what is pasted comes in as it is, but for controls"),
                               ("ab\x12c\x1b[200~one\rtwo\x1b[201~", "abone\\ntwo", "and leaves a search, whose lines would be sent"),
                               ("junk" + CTRL_C + "kept", "kept", "Ctrl-C clears the line"),
                               (UP + UP + UP + "?", "if (x) {?\\n    y31m2Jé();\\n};", "what was written before")):
        n = len(history().splitlines()) if (WORK / "state" / "tawny" / "chat-history").exists() else 0
        if CTRL_C in keys:
            cleared, keys = keys.split(CTRL_C)
            here.write(cleared + CTRL_C)
            here.prompt()
        here.say(keys)
        here.answered()
        check("chat: %s" % what, history().splitlines()[n:] == [wanted], history()[-200:])
    check("chat: its file is the person's alone", stat.S_IMODE((WORK / "state" / "tawny" / "chat-history").stat().st_mode) == 0o600)
    check("chat: so is the folder", stat.S_IMODE((WORK / "state" / "tawny").stat().st_mode) == 0o700)
    here.write("a中b" + LEFT)
    check("chat: the cursor stands where the letter is", "\x1b[5C" in here.until("\x1b[5C"), repr(here.seen))  # the prompt's two, a, and two of 中
    here.write(CTRL_C)
    here.prompt()
    here.say("/re\t")
    here.answered()
    check("chat: Tab completes a command", history().splitlines()[-1] == "/retry", history()[-100:])
    here.write("\x1b[200~" + "many words " * 30000 + "\x1b[201~")
    check("chat: a paste that is too long is left out, and said", "256 KiB" in here.until("256 KiB"), repr(here.seen)[-300:])
    here.say("short")
    here.answered()
    check("chat: and nothing of it stays", history().splitlines()[-1] == "short", history()[-200:])
    here.write(CTRL_D)
    check("chat: it ends after all that", here.ended() == 0)


def remembered(marked):
    here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu")
    here.prompt()
    here.say(UP)
    here.answered()
    check("chat: what is said again is kept once", history().splitlines()[-1] == "short" != history().splitlines()[-2], history()[-100:])
    here.say(UP + "!")
    here.answered()
    check("chat: what was written is there the next time", history().splitlines()[-1] == "short!", history()[-100:])
    here.process.terminate()
    code = here.ended()
    check("chat: a signal that ends it leaves the terminal as it was", code == -signal.SIGTERM and termios.tcgetattr(here.fd) == here.before, (code, termios.tcgetattr(here.fd)))
    both = [Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu") for _ in range(2)]
    for here, line in zip(both * 2, ("one says", "the other says", "one again", "the other again")):
        here.prompt()
        here.say(line)
        here.answered()
    for here in both:
        here.write(CTRL_D)
    check("chat: of two at once neither loses what the other wrote", [here.ended() for here in both] == [0, 0] and
          history().splitlines()[-4:] == ["one says", "the other says", "one again", "the other again"], history()[-200:])
    before = history()
    for options, environment in (("--no-history",), {}), ((), {"TAWNY_HISTORY": "no"}):
        here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu", *options, **environment)
        here.prompt()
        here.say("a secret")
        here.answered()
        here.say(UP)
        here.answered()
        here.write(CTRL_D)
        check("chat: nothing is kept where that is said: %s%s" % (options, environment), here.ended() == 0 and history() == before, history()[-100:])
    here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu", deaf=True)
    here.prompt()
    os.close(here.fd)
    check("chat: a terminal that is gone ends it", here.ended() == 0)
    here = Terminal("chat", "-m", marked, "--temperature", "0", "--device", "cpu", TERM="dumb")
    here.until("> \x1b[0m")
    here.say("Show me")
    check("chat: a terminal without editing", "An owl" in here.until("in the context") and PROMPT not in here.seen, repr(here.seen))
    here.write(CTRL_D)
    check("chat: ends there as well", here.ended() == 0 and history() == before)


def run(model):
    shutil.rmtree(WORK / "state", ignore_errors=True)
    marked, long = WORK / "chat-marked.gguf", WORK / "chat-long.gguf"
    scripted.make(marked, ["## An", " owl\n\n", "It is **tawny**", " `fluffy`\x1b[31m\n\n", "- one\n", "<|im_end|>"])
    scripted.make(long, ["word%03d " % i for i in range(200)] + ["word000 "], n_ctx=32768)  # and so on, without an end
    answers(marked, long)
    ahead(long)
    shutil.rmtree(WORK / "state")
    edited(marked)
    remembered(marked)
