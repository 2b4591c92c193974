"""llama-server's own dialect: /completion, /tokenize, /detokenize, /props, /slots; and speculation, which changes no answer."""

import json

from tools import Server, check

TEXT = "How do I add a model? <|im_end|> \u00e4\u20ac\U0001f989"


def stream(server, path, fields):
    """status, events"""
    status, _, text = server.ask("POST", path, dict(fields, stream=True))
    if status != 200:
        return status, text
    return status, [json.loads(line[6:]) for line in text.decode().splitlines() if line.startswith("data: ")]


def tokens_of(server, content, **fields):
    status, _, answer = server.ask("POST", "/tokenize", dict(fields, content=content))
    return answer["tokens"] if status == 200 else (status, answer)


def tokenizing(server):
    ids = tokens_of(server, TEXT)
    check("llama: /tokenize gives ids", isinstance(ids, list) and len(ids) > 5 and all(isinstance(i, int) for i in ids), ids)
    back = server.ask("POST", "/detokenize", {"tokens": ids})[2]
    check("llama: /detokenize gives the text again", back == {"content": TEXT}, back)
    pieces = tokens_of(server, TEXT, with_pieces=True)
    spelt = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces)
    check("llama: with_pieces spells the text, bytes where a piece is no UTF-8", [p["id"] for p in pieces] == ids and spelt == TEXT.encode(), pieces)
    plain = tokens_of(server, TEXT, parse_special=False)
    check("llama: parse_special false: a control token's name is text", len(plain) > len(ids) and
          server.ask("POST", "/detokenize", {"tokens": plain})[2]["content"] == TEXT, plain)
    mixed = tokens_of(server, [ids[0], "add a model", ids[1]])
    check("llama: texts and ids mixed", mixed == [ids[0]] + tokens_of(server, "add a model") + [ids[1]], mixed)
    for fields, field in (({}, "content"), ({"content": 5}, "content"), ({"content": "x", "with_pieces": 1}, "with_pieces"),
                          ({"content": [1, {}]}, "content"), ({"content": [1 << 30]}, "content")):
        status, _, answer = server.ask("POST", "/tokenize", fields)
        check("llama: /tokenize %s is refused by name" % json.dumps(fields)[:40], status == 400 and answer["error"]["param"] == field, (status, answer))
    status, _, answer = server.ask("POST", "/tokenize", {"content": "x" * (600 << 10)})
    check("llama: a text that is too long to be tokenized at once", status == 413 and "524288" in answer["error"]["message"], (status, answer))
    status, _, answer = server.ask("POST", "/detokenize", {"tokens": [-1]})
    check("llama: /detokenize of no id", status == 400, (status, answer))
    check("llama: nothing without a key", all(server.ask(m, p, {} if m == "POST" else None, key=False)[0] == 401 for m, p in
          (("POST", "/tokenize"), ("POST", "/detokenize"), ("POST", "/completion"), ("GET", "/props"), ("GET", "/slots"))))


def completing(server):
    prompt = "<|im_start|>user\nHow do I add a model?<|im_end|>\n<|im_start|>assistant\n"
    asked = {"prompt": prompt, "n_predict": 24, "temperature": 0, "return_tokens": True, "n_probs": 2}
    want = server.ask("POST", "/v1/completions", {"prompt": prompt, "max_tokens": 24, "temperature": 0})[2]["choices"][0]["text"]
    status, _, whole = server.ask("POST", "/completion", asked)
    check("llama: /completion answers as /v1/completions does", status == 200 and whole["content"] == want and whole["stop"] is True, (status, whole))
    check("llama: with what llama-server's clients read", whole["tokens_evaluated"] > 10 and whole["tokens_predicted"] == len(whole["tokens"]) and
          whole["stop_type"] in ("eos", "limit") and whole["generation_settings"]["temperature"] == 0 and
          whole["timings"]["predicted_n"] == whole["tokens_predicted"], whole)
    chances = whole["completion_probabilities"]
    check("llama: n_probs", [c["id"] for c in chances] == whole["tokens"] and "".join(c["token"] for c in chances) == want and
          all(len(c["top_logprobs"]) == 2 and c["top_logprobs"][0]["id"] == c["id"] and c["logprob"] <= 0 for c in chances), chances[:2])
    check("llama: /completions is the same", server.ask("POST", "/completions", asked)[2]["content"] == want)
    ids = tokens_of(server, prompt)
    for name, value in (("ids", ids), ("pieces", ["<|im_start|>", *ids[1:]]), ("one prompt in a list", [ids])):
        answer = server.ask("POST", "/completion", dict(asked, prompt=value))[2]
        check("llama: a prompt as %s" % name, answer.get("content") == want, answer)
    head, events = stream(server, "/completion", asked)
    check("llama: a stream of pieces, the last with all there is to say", head == 200 and "".join(e["content"] for e in events) == want and
          [e["stop"] for e in events] == [False] * (len(events) - 1) + [True] and events[-1]["timings"]["predicted_n"] == whole["tokens_predicted"] and
          sum((e["tokens"] for e in events), []) == whole["tokens"], (head, events[-1:]))
    events = stream(server, "/completion", {"prompt": prompt, "n_predict": 6, "timings_per_token": True})[1]
    counts = [e["timings"]["predicted_n"] for e in events]
    check("llama: timings with each piece", len(counts) > 2 and counts == sorted(counts) and counts[-1] <= 6, events[-2:])
    word = want[1:4]
    for name, last in (("whole", server.ask("POST", "/completion", dict(asked, stop=[word, "never"], stream=False))[2]),
                       ("streamed", stream(server, "/completion", dict(asked, stop=[word, "never"]))[1][-1])):
        check("llama: which stop string ended it, %s" % name, last["stop_type"] == "word" and last["stopping_word"] == word, (want, last))
    check("llama: none did", whole["stopping_word"] == "" and whole["timings"]["cache_n"] >= 0, whole)
    answer = server.ask("POST", "/completion", {"prompt": "Count:", "n_predict": 12, "json_schema": {"type": "integer"}})[2]
    check("llama: a schema is obeyed", answer["content"].lstrip("-").isdigit() or answer["stop_type"] == "limit", answer)
    for fields, field in (({}, "prompt"), ({"prompt": "x", "n_predict": 0}, "n_predict"), ({"prompt": [["a"], ["b"]]}, "prompt"), ({"prompt": ["a", "b"]}, "prompt"),
                          ({"prompt": "x", "n_probs": 99}, "n_probs"), ({"prompt": "x", "image_data": [{}]}, "image_data"),
                          ({"prompt": {"multimodal_data": []}}, "prompt")):
        status, _, answer = server.ask("POST", "/completion", fields)
        check("llama: /completion %s is refused by name" % json.dumps(fields)[:50], status == 400 and answer["error"]["param"] == field, (status, answer))


def telling(server):
    status, _, props = server.ask("GET", "/props")
    check("llama: /props", status == 200 and props["total_slots"] == 2 and "messages" in props["chat_template"] and
          props["default_generation_settings"]["n_ctx"] > 0 and props["modalities"] == {"vision": False, "audio": False} and
          "/" not in props["model_path"], (status, str(props)[:300]))
    status, _, slots = server.ask("GET", "/slots")
    check("llama: /slots", status == 200 and [s["id"] for s in slots] == [0, 1] and not any(s["is_processing"] for s in slots), (status, slots))
    meta = server.ask("GET", "/v1/models")[2]["data"][0].get("meta", {})
    check("llama: /v1/models has meta", meta.get("n_vocab", 0) > 100 and meta.get("n_ctx_train", 0) > 0, meta)


def guessing(server):
    """What repeats itself is guessed; what the client predicts is too; the answers are those without."""
    line = "The certificate of the box is at /ca.crt on port 80.\n"
    asked = {"prompt": line * 12, "max_tokens": 60, "temperature": 0}
    plain = Server("llama-plain", "builtin", options=("--speculation", "off"))
    plain.wait()
    for name, fields in (("repeats", asked), ("predicted", dict(asked, prompt="The box", prediction={"type": "content", "content": line * 3}))):
        with_it = server.ask("POST", "/v1/completions", fields)[2]
        without = plain.ask("POST", "/v1/completions", fields)[2]
        check("llama: speculation, %s: the answer is the same" % name, with_it["choices"][0]["text"] == without["choices"][0]["text"], (with_it, without))
        check("llama: speculation off guesses nothing", without["timings"]["draft_n"] == 0, without["timings"])
        used = with_it["usage"]["completion_tokens_details"]
        check("llama: what was guessed is told", with_it["timings"]["draft_n"] == used["accepted_prediction_tokens"] + used["rejected_prediction_tokens"] and
              with_it["timings"]["draft_n_accepted"] == used["accepted_prediction_tokens"], with_it)
    status, _, answer = server.ask("POST", "/v1/completions", dict(asked, prediction={"type": "content"}))
    check("llama: a prediction without content", status == 400 and answer["error"]["param"] == "prediction.content", (status, answer))
    plain.stop()


def run(model):
    server = Server("llama", "builtin", options=("--parallel", "2"))
    server.wait()
    tokenizing(server)
    completing(server)
    telling(server)
    guessing(server)
    server.stop()
