"""What clients of OpenAI's dialect really send, and what must come of it: roles, contents, null, limits, names, queues."""

import json
import re
import shutil
import threading
import time

from tools import SHORT, WORK, Server, check, curl, events_of


def messages(server):
    def ask(*said, **fields):
        return server.ask("POST", "/v1/chat/completions", dict({"messages": list(said), "temperature": 0, "max_tokens": 12}, **fields))

    def text(answer):
        return answer[2]["choices"][0]["message"]["content"] if answer[0] == 200 else answer

    user = {"role": "user", "content": "Where is the certificate?"}
    system = ask({"role": "system", "content": "Be brief."}, user)
    developer = ask({"role": "developer", "content": "Be brief."}, user, store=False, service_tier="auto", metadata={"a": "b"},
                    max_tokens=None, max_completion_tokens=8, top_p=None, seed=None, stop=None)
    check("asks: developer is system, null is the default, 8 tokens at most", developer[0] == 200 and
          developer[2]["usage"]["completion_tokens"] <= 8 and text(system).startswith(text(developer)), developer)
    said = [{"role": "assistant", "content": None}, {"role": "assistant", "content": ""}, {"role": "assistant"}]
    answers = [ask(user, a, {"role": "user", "content": "And the key?"}) for a in said]
    check("asks: an assistant's content null, empty and missing are one", len({(text(a), a[2]["usage"]["prompt_tokens"])
          for a in answers if a[0] == 200}) == 1 and all(a[0] == 200 for a in answers), answers)
    merged = ask({"role": "user", "content": "Hello.\n\nWhere is the certificate?"})
    two = ask({"role": "user", "content": "Hello."}, {"role": "user", "content": [{"type": "text", "text": "Where is the certificate?"}]})
    check("asks: two users in a row are one turn", text(two) == text(merged), (two, merged))
    whole = text(ask(user, max_tokens=24))
    begun = whole[:len(whole) // 2]
    for name, prefill in (("a text", begun), ("parts", [{"type": "text", "text": begun}])):
        more = ask(user, {"role": "assistant", "content": prefill}, max_tokens=24)
        fresh = ask(user, {"role": "assistant", "content": prefill}, {"role": "user", "content": "?"}, max_tokens=24)
        check("asks: a last assistant message (%s) is continued" % name, more[0] == 200 and
              more[2]["usage"]["prompt_tokens"] < fresh[2]["usage"]["prompt_tokens"] and not text(more).startswith(begun[:8]),
              (whole, begun, more))
    empty = ask(user, {"role": "assistant", "content": ""}, max_tokens=24)
    check("asks: a last assistant message that is empty changes nothing", text(empty) == whole, empty)
    twice = server.ask("POST", "/v1/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"a":[{"b":1,"b":2}]}')
    check("asks: a key that stands twice, deep inside", twice[0] == 400 and twice[2]["error"]["param"] == "a[0].b", twice)
    for seed, good in ((2**63, True), (2**64 - 1, True), (-1, True), (2**64, False)):
        answer = ask(user, seed=seed, max_tokens=1)
        check("asks: seed %d" % seed, (answer[0] == 200) == good and (good or str(2**64 - 1) in answer[2]["error"]["message"]), answer)
    answer = ask(user, max_tokens=2**31)
    check("asks: integers are said as integers", "2147483648" in answer[2]["error"]["message"] and
          "e+" not in answer[2]["error"]["message"], answer)


def context(server, n_ctx):
    """Prompts that fill the context to the last token."""
    def prompt(n_words, **fields):
        return server.ask("POST", "/v1/completions", dict({"prompt": "a" * n_words, "temperature": 0, "max_tokens": 1}, **fields))

    low, high = 1, 20 * n_ctx  # the longest that is taken
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if prompt(middle)[0] == 200 else (low, middle)
    longest, refused = prompt(low), prompt(high)
    n = longest[2]["usage"]["prompt_tokens"]
    error = refused[2]["error"]
    numbers = [int(x) for x in re.findall(r"\d+", error["message"])]
    check("asks: a prompt over the context is refused, with both numbers", refused[0] == 400 and
          error["code"] == "context_length_exceeded" and n_ctx in numbers and any(x > n for x in numbers), refused)
    many = prompt(low // 2, max_tokens=32000)
    usage = many[2]["usage"]
    check("asks: more tokens than fit are cut to what fits", many[0] == 200 and usage["total_tokens"] <= n_ctx, usage)


def names(model):
    """A model whose name is not ASCII."""
    path = WORK / "Gemmä 🦉 模型.gguf"
    shutil.copy(model, path)
    server = Server("names", path)
    health = server.wait()
    check("asks: /health names the model in UTF-8", health and health.get("model") == path.stem, health)
    listed = server.ask("GET", "/v1/models")[2]["data"][0]
    check("asks: so does the list, with when it was loaded", listed["id"] == path.stem and abs(listed["created"] - time.time()) < 600,
          listed)
    from urllib.parse import quote
    one = server.ask("GET", "/v1/models/" + quote(path.stem))
    check("asks: it is found by that name", one[0] == 200 and one[2]["id"] == path.stem, one)
    answer = server.chat(model=path.stem, max_tokens=1)
    check("asks: it answers to that name, and gives it", answer[0] == 200 and answer[2]["model"] == path.stem, answer)
    page = server.ask("GET", "/", key=False)[2].decode()
    check("asks: the page shows it", path.stem in page, page[:900])
    server.stop()


def ca_addresses(model):
    """The page names an address of the CA that exists."""
    server = Server("ca", model)
    server.wait()
    page = server.ask("GET", "/", key=False)[2].decode()
    url = "http://127.0.0.1:%d/ca.crt" % server.plain
    check("asks: the page names the plain port's address", page.count(url) == 2 and
          "http://127.0.0.1/ca.crt" not in page, re.findall(r"http\S+ca\.crt", page))
    server.stop()
    for name, plain in (("off", ""), ("elsewhere", "127.0.0.2:0")):
        server = Server("ca", model, listen_http=plain)
        server.wait()
        page = server.ask("GET", "/", key=False)[2].decode()
        line = re.search(r"curl -k -o tawny-ca.crt (https://\S+/ca.crt)", page)
        check("asks: plain HTTP %s: the page names this port" % name, line and "http://" not in page, page[-4000:])
        code, text = curl(server, "-k", line.group(1)) if line else (1, "")
        check("asks: ... and it is there", code == 0 and text == server.ca.read_text(), text)
        server.stop()


def queue(model):
    """A stream that waits has its head at once, and a sign of life in a form that every client takes."""
    server = Server("queue", model, options=("--parallel", "1", *SHORT))
    server.wait()
    holder = threading.Thread(target=lambda: server.ask("POST", "/v1/completions", {
        "prompt": "Count:", "max_tokens": 900, "temperature": 1.9, "top_k": 0, "seed": 3}, timeout=120))
    holder.start()
    time.sleep(0.3)
    began = time.time()
    import http.client
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=server.context())
    connection.request("POST", "/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": "hello"}], "stream": True,
                                                                    "max_tokens": 4}), {"Authorization": "Bearer " + server.key()})
    answer = connection.getresponse()
    head = time.time() - began
    text = answer.read().decode()
    connection.close()
    holder.join()
    check("asks: a queued stream has its head within 2 s", answer.status == 200 and head < 2.5, head)
    lines = [line for line in text.splitlines() if line]
    check("asks: every line of a stream is data", all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]", text)
    check("asks: every event is a chunk with a choice", all(e["choices"][0]["index"] == 0 for e in events_of(text)), text)
    server.stop()


def run(model):
    server = Server("asks", model, options=SHORT)
    if not check("asks: ready", (server.wait() or {}).get("status") == "ready", server.log.read_text()[-500:]):
        server.stop()
        return
    messages(server)
    context(server, server.ask("GET", "/v1/models")[2]["data"][0]["context"])
    server.stop()
    names(model)
    ca_addresses(model)
    queue(model)
