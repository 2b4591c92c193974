"""Several clients at once: streams together say what each said alone, nobody is held up by another."""

import concurrent.futures
import threading
import time

from tools import SHORT, Server, check, stream


def run(model):
    server = Server("load", model, options=("--parallel", "3", *SHORT))
    server.wait()
    prompts = ["Say something about the number %d." % i for i in range(12)]
    alone = [stream(server, p, 24)[0] for p in prompts]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda p: stream(server, p, 24), prompts))
    n_same = sum(a == t[0] for a, t in zip(alone, together))
    check("load: 12 streams over 3 sequences all end well", all(t[1] in ("stop", "length") for t in together), together)
    # Batches of another size add in another order: a near tie may fall the other way, rarely.
    check("load: they say what each said alone", n_same >= 11, "%d of 12; %r" % (n_same, [(a, t[0]) for a, t in zip(alone, together)]))
    answers = [server.chat("What is my API key? " * 8, max_tokens=2)[2]["usage"] for _ in range(2)]
    check("load: a prompt seen before is not read again", answers[1]["prompt_tokens_details"]["cached_tokens"] ==
          answers[1]["prompt_tokens"] - 1, answers)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda i: stream(server, "Tell me all about %d." % i, 200, leave_after=3), range(20)))
    until = time.time() + 20
    while time.time() < until and server.ask("GET", "/health", key=False)[2]["running"]:
        time.sleep(0.1)
    health = server.ask("GET", "/health", key=False)[2]
    check("load: clients that leave free their places", health["running"] == 0 and health["waiting"] == 0, health)
    many = []
    def ask(i):
        many.append(server.ask("POST", "/v1/completions", {"prompt": "x %d" % i, "max_tokens": 200, "temperature": 1.5}, timeout=120))
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy = [a for a in many if a[0] == 503]
    check("load: 60 at once: answered, or told to come back", len(many) == 60 and all(a[0] in (200, 503) for a in many) and
          all(a[2]["error"]["code"] == "busy" and a[1].get("retry-after") for a in busy),
          sorted(a[0] for a in many))
    slow = threading.Thread(target=stream, args=(server, "Slow reader", 100), kwargs={"slow": 0.05})
    slow.start()
    pause = stream(server, "Fast reader", 60)[2]
    check("load: a slow reader does not hold up another stream", pause < 2, "%.2f s" % pause)
    slow.join()
    check("load: stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
