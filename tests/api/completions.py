"""/v1/completions: several prompts in one request, several answers to each, and gaps that are filled in."""

import json
import subprocess
import time

from tools import ROOT, Server, WORK, check, events_of

PROMPTS = ["How do I add a model?", [5, 6, 7], "The box"]


def ask(server, **fields):
    return server.ask("POST", "/v1/completions", dict({"temperature": 0, "max_tokens": 6}, **fields))


def several(server):
    prompts = PROMPTS
    alone = [ask(server, prompt=prompt)[2] for prompt in prompts]
    status, _, whole = ask(server, prompt=prompts)
    texts = [choice["text"] for choice in whole["choices"]] if status == 200 else whole
    check("completions: each prompt has its answer, in order", texts == [one["choices"][0]["text"] for one in alone] and
          [choice["index"] for choice in whole["choices"]] == [0, 1, 2], (texts, alone))
    check("completions: their usage is added up", status == 200 and all(
          whole["usage"][name] == sum(one["usage"][name] for one in alone) for name in ("prompt_tokens", "completion_tokens", "total_tokens")), whole)
    status, _, text = ask(server, prompt=prompts, stream=True, stream_options={"include_usage": True})
    events = events_of(text.decode())
    streamed, finished = ["", "", ""], []
    for event in events:
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["text"]
            finished += [choice["index"]] if choice["finish_reason"] else []
    check("completions: streamed, with their indices, each with its end", streamed == texts and finished == [0, 1, 2], text)
    check("completions: one usage, one id, one [DONE]", events[-1]["choices"] == [] and
          events[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"] and len({e["id"] for e in events}) == 1 and
          text.count(b"[DONE]") == 1, text[-900:])
    status, _, answer = ask(server, prompt=prompts[::2], echo=True, max_tokens=2, logprobs=None)
    check("completions: echo of each", status == 200 and all(c["text"].startswith(p) for c, p in zip(answer["choices"], prompts[::2])), answer)
    status, _, answer = ask(server, prompt=prompts[::2], logprobs=1, max_tokens=3, ignore_eos=True)
    offsets = [(choice["logprobs"] or {}).get("text_offset", [None])[0] for choice in answer["choices"]] if status == 200 else answer
    check("completions: log-probabilities of each", offsets == [0, 0], answer)
    status, _, answer = ask(server, prompt=["x"] * 65)
    check("completions: too many prompts are refused", status == 400 and answer["error"]["param"] == "prompt", answer)
    status, _, answer = ask(server, prompt=["a", 5])
    check("completions: the prompt that is none is named", status == 400 and answer["error"]["param"] == "prompt[1]", answer)
    status, _, answer = ask(server, prompt=["a", "wort " * 9000])
    check("completions: one that is too long refuses all", status == 400 and answer["error"]["code"] == "context_length_exceeded", answer)
    status, _, answer = ask(server, prompt=["x"] * 64, max_tokens=1)
    check("completions: 64 prompts", status == 200 and [c["index"] for c in answer["choices"]] == list(range(64)), str(answer)[:300])


def mean(choice):
    logs = choice["logprobs"]["token_logprobs"]
    return sum(logs) / len(logs)


def choices(server):
    warm = {"temperature": 1.5, "seed": 7, "max_tokens": 6, "ignore_eos": True}
    prompts = PROMPTS[::2]
    # what each is alone: the seed of an answer is one more than that before it
    alone = [[ask(server, **dict(warm, prompt=prompt, seed=7 + i, logprobs=0))[2] for i in range(4)] for prompt in prompts]
    texts = [[one["choices"][0]["text"] for one in of] for of in alone]
    check("choices: seeds give different answers", all(len(set(of)) > 1 for of in texts), texts)
    wanted = [text for of in texts for text in of[:2]]
    status, _, whole = ask(server, **dict(warm, prompt=prompts, n=2))
    check("choices: n answers to each prompt, in order", status == 200 and [c["text"] for c in whole["choices"]] == wanted and
          [c["index"] for c in whole["choices"]] == [0, 1, 2, 3], (whole, wanted))
    usage = whole["usage"]
    check("choices: each prompt is counted once", usage["prompt_tokens"] == sum(of[0]["usage"]["prompt_tokens"] for of in alone) and
          usage["completion_tokens"] == 24 and usage["total_tokens"] == usage["prompt_tokens"] + 24, usage)
    status, _, text = ask(server, **dict(warm, prompt=prompts, n=2, best_of=2, stream=True, stream_options={"include_usage": True}))
    streamed, finished, events = [""] * 4, [], events_of(text.decode())
    for choice in (choice for event in events for choice in event["choices"]):
        streamed[choice["index"]] += choice["text"]
        finished += [choice["index"]] if choice["finish_reason"] else []
    check("choices: streamed", streamed == wanted and finished == [0, 1, 2, 3] and events[-1]["usage"]["total_tokens"] == usage["total_tokens"], text)
    status, _, best = ask(server, **dict(warm, prompt=prompts, n=2, best_of=4))
    ranked = [one["choices"][0]["text"] for of in alone for one in sorted(of, key=lambda one: -mean(one["choices"][0]))[:2]]
    check("choices: the best of four by their mean log-probability", status == 200 and [c["text"] for c in best["choices"]] == ranked and
          [c["index"] for c in best["choices"]] == [0, 1, 2, 3] and all(c["logprobs"] is None for c in best["choices"]), (best, ranked))
    check("choices: all that was written is counted", best["usage"]["completion_tokens"] == 48 and
          best["usage"]["prompt_tokens"] == usage["prompt_tokens"], best["usage"])
    status, _, told = ask(server, **dict(warm, prompt=prompts[0], best_of=4, logprobs=1, echo=True))
    check("choices: the best with log-probabilities and the prompt", status == 200 and
          [c["text"] for c in told["choices"]] == [prompts[0] + ranked[0]] and told["choices"][0]["logprobs"]["token_logprobs"][-1] < 0, (told, ranked))
    status, _, same = ask(server, prompt=prompts[0], n=3)
    check("choices: without chance all are equal", status == 200 and len({c["text"] for c in same["choices"]}) == 1 and len(same["choices"]) == 3, same)
    long, name = {"prompt": "wort " * 400, "max_tokens": 1}, b"\nvllm:prefix_cache_hits_total{"
    hits = lambda: sum(float(line.rsplit(b" ", 1)[1]) for line in server.ask("GET", "/metrics")[2].split(b"\n") if (b"\n" + line).startswith(name))
    before = hits()
    status, _, answer = ask(server, **dict(long, n=3))
    n_read = answer["usage"]["prompt_tokens"] - answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    wanted = 2 * 0.9 * answer["usage"]["prompt_tokens"]
    for _ in range(50):  # the figures may come a moment later
        reused = hits() - before
        if reused >= wanted:
            break
        time.sleep(0.1)
    check("choices: a prompt is computed once", n_read > 300 and reused >= wanted, (answer["usage"], reused))
    for fields, param, code in (({"n": 17}, "n", "invalid_value"), ({"n": 0}, "n", "invalid_value"), ({"n": 3, "best_of": 2}, "best_of", "invalid_value"),
                                ({"best_of": 17}, "best_of", "invalid_value"), ({"best_of": 2, "stream": True}, "best_of", "invalid_value"),
                                ({"n": 16, "prompt": "wort " * 900000}, "n", "request_too_large")):
        status, _, answer = ask(server, **dict({"prompt": "x"}, **fields))
        check("choices: %s is refused" % str({k: v for k, v in fields.items() if k != "prompt"}), status == (413 if code == "request_too_large" else 400) and
              answer["error"]["param"] == param and answer["error"]["code"] == code, answer)


def gaps():
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("gaps", scripted)
    server.wait()
    status, _, answer = ask(server, prompt="def f():\n    ", suffix="\n")
    check("completions: a gap is filled in", status == 200 and answer["choices"][0]["text"] == "return 12", answer)
    n = answer["usage"]["prompt_tokens"]
    check("completions: its prompt is three marks and the text", n == 3 + len("def f():\n    ") + len("\n"), n)
    status, _, answer = ask(server, prompt="a<|fim_middle|>", suffix="b")
    check("completions: a mark in the text is text", status == 200 and answer["usage"]["prompt_tokens"] == 3 + len("a<|fim_middle|>b"), answer)
    status, _, text = ask(server, prompt=["def f():\n", "x = "], suffix="\n", stream=True)
    streamed = ["", ""]
    for event in events_of(text.decode()):
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["text"]
    check("completions: several gaps, streamed", streamed == ["return 12", "return 12"], text)
    gap = {"input_prefix": "def f():\n    ", "input_suffix": "\n", "temperature": 0, "n_predict": -1}
    status, _, answer = server.ask("POST", "/infill", gap)
    check("infill: whole, in llama-server's shape", status == 200 and answer["content"] == "return 12" and answer["stop"] is True and
          answer["stop_type"] == "eos" and answer["tokens_predicted"] == 2 and answer["tokens_evaluated"] == n and answer["timings"]["predicted_n"] == 2, answer)
    status, _, text = server.ask("POST", "/infill", dict(gap, stream=True))
    events = events_of(text.decode())
    check("infill: streamed", "".join(e["content"] for e in events) == "return 12" and [e["stop"] for e in events][-2:] == [False, True], text)
    status, _, answer = server.ask("POST", "/infill", dict(gap, input_extra=[{"filename": "a.py", "text": "x = 1\n"}], n_predict=1))
    check("infill: other files stand in front", status == 200 and answer["tokens_evaluated"] == n + len("x = 1\n\n\n") and answer["stop_type"] == "limit", answer)
    for body, param in (({}, "input_prefix"), ({"input_prefix": 5}, "input_prefix"), (dict(gap, input_extra=[{}]), "input_extra[0].text"),
                        (dict(gap, input_extra=5), "input_extra")):
        status, _, answer = server.ask("POST", "/infill", body)
        check("infill: %s is refused" % json.dumps(body)[:60], status == 400 and answer["error"]["param"] == param, answer)
    check("completions: the scripted server stops cleanly", server.stop() == 0)


def run(model):
    server = Server("completions", model, options=("--ctx", "8192"))
    if not check("completions: ready", (server.wait() or {}).get("status") == "ready", server.log.read_text()[-500:]):
        server.stop()
        return
    several(server)
    choices(server)
    status, _, answer = ask(server, prompt="a", suffix="b")
    check("completions: a model without marks for gaps says so", status == 400 and answer["error"]["param"] == "suffix" and
          answer["error"]["code"] == "unsupported_value", answer)
    check("completions: stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    gaps()
