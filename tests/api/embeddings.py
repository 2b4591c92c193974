"""Models that embed or rank: OpenAI's /v1/embeddings, Ollama's /api/embed and /api/embeddings, /v1/rerank as Jina's and Cohere's
clients ask for it; and that each kind of model refuses what is another's. The models are the small random ones of
tests/golden/mkarch.py; vectors and scores are compared with those recorded from llama.cpp (tests/golden/peer/embeddings.txt).
"""

import base64
import math
import struct
import sys
import threading
from pathlib import Path

import npm

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))

TEXTS = ["the quick brown fox", "return int foo", "a", "HTTPServer indented", "one two three four five six seven eight nine"]


def recorded(name, n):
    for line in open(GOLDEN / "peer" / "embeddings.txt"):
        if line.startswith("%s/%d  " % (name, n)):
            return [float(x) for x in line.split("  ")[2].split()]


def unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def near(a, b, limit=2e-3):
    return a is not None and len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) <= limit


def vectors(answer):
    return [d["embedding"] for d in answer[2]["data"]] if answer[0] == 200 else [None]


def openai(t, server, ids):
    def ask(input, **fields):
        return server.ask("POST", "/v1/embeddings", dict({"input": input}, **fields))

    one = ask(ids[:7], model="bert")
    t.check("embeddings: ids, as recorded from llama.cpp, of length 1", near(vectors(one)[0], unit(recorded("bert", 7))), one)
    t.check("embeddings: its form and its usage", one[0] == 200 and one[2]["object"] == "list" and one[2]["model"] == "bert" and
            one[2]["data"][0]["object"] == "embedding" and one[2]["usage"] == {"prompt_tokens": 7, "total_tokens": 7}, one)
    many = ask([ids[:7], ids[:40], ids[:1]])
    t.check("embeddings: several texts, in their order", [d["index"] for d in many[2]["data"]] == [0, 1, 2] and
            all(near(v, unit(recorded("bert", n))) for v, n in zip(vectors(many), (7, 40, 1))), many)
    texts, alone = ask(TEXTS), [vectors(ask(text))[0] for text in TEXTS]
    t.check("embeddings: texts together are what each is alone", texts[0] == 200 and all(near(a, b, 1e-4) for a, b in zip(vectors(texts), alone)) and
            not near(alone[0], alone[1], 0.02), texts)
    encoded = ask(TEXTS[:2], encoding_format="base64")
    got = [list(struct.unpack("<128f", base64.b64decode(v))) for v in vectors(encoded)] if encoded[0] == 200 else []
    t.check("embeddings: base64 is the same numbers", len(got) == 2 and all(near(a, b, 1e-6) for a, b in zip(got, alone)), encoded)
    short = ask(TEXTS[0], dimensions=32)
    t.check("embeddings: dimensions cuts, and brings to length 1", near(vectors(short)[0], unit(alone[0][:32]), 1e-6), short)
    t.check("embeddings: control tokens of a client are text", ask("a [SEP] b")[2]["usage"]["prompt_tokens"] > 4 and
            ask("[CLS]")[2]["usage"]["prompt_tokens"] > 3, ask("[CLS]"))
    long = "a " * 126
    t.check("embeddings: all of the context is taken", ask(long)[2].get("usage") == {"prompt_tokens": 128, "total_tokens": 128}, ask(long))
    for name, body, status, param, words in (
            ("a text that is too long", {"input": ["a", long + "a"]}, 400, "input", "text 1 has 129 tokens; this model takes 128"),
            ("no input", {}, 400, "input", "missing"), ("an empty array", {"input": []}, 400, "input", "1 to 2048"),
            ("a number", {"input": 3}, 400, "input", "a string, an array of strings"),
            ("a mixture", {"input": ["a", 3]}, 400, "input", "not a number"), ("a negative id", {"input": [-1]}, 400, "input", "-1"),
            ("an id behind the vocabulary", {"input": [[1], [512]]}, 400, "input", "text 1 has the token id 512; the vocabulary has 512"),
            ("an unknown encoding", {"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "float"),
            ("too many dimensions", {"input": "a", "dimensions": 129}, 400, "dimensions", "has 128 numbers"),
            ("no dimensions", {"input": "a", "dimensions": 0}, 400, "dimensions", "1 to"),
            ("a stream", {"input": "a", "stream": True}, 400, "stream", "whole"),
            ("too many texts", {"input": ["a"] * 2049}, 400, "input", "2049"),
            ("another model", {"input": "a", "model": "x"}, 404, "model", "bert, builtin")):
        answer = server.ask("POST", "/v1/embeddings", body)
        error = answer[2].get("error", {})
        t.check("embeddings: %s is a %d that says so" % (name, status), answer[0] == status and error.get("param") == param and
                words in error["message"], answer)
    for path, body in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}), ("/v1/completions", {"prompt": "hi"}),
                       ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "stream": True}), ("/v1/rerank", {"query": "a", "documents": ["b"]})):
        answer = server.ask("POST", path, body)
        t.check("embeddings: %s is refused by a model that embeds" % path, answer[0] == 400 and answer[2]["error"]["param"] == "model" and
                "makes vectors" in answer[2]["error"]["message"] and "/v1/embeddings" in answer[2]["error"]["message"], answer)
    model = server.ask("GET", "/v1/models")[2]["data"][0]
    t.check("embeddings: the list of models says what it can", model["capabilities"] == ["embedding"] and model["embedding_length"] == 128 and
            model["context"] == 128, model)
    return alone


def crowd(t, server, alone):
    """Many at once, some of which leave: the others get what they would alone."""
    wrong = []

    def client(i):
        answer = server.ask("POST", "/v1/embeddings", {"input": [TEXTS[(i + k) % len(TEXTS)] for k in range(3)]})
        for k, v in enumerate(vectors(answer)):
            if not near(v, alone[(i + k) % len(TEXTS)], 1e-4):
                wrong.append(answer)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    t.check("embeddings: 16 clients at once", not wrong, wrong[:1])


def ollama(t, server, alone):
    many = server.ask("POST", "/api/embed", {"model": "bert:latest", "input": TEXTS[:2], "keep_alive": "5m", "options": {}})
    t.check("ollama: /api/embed", many[0] == 200 and all(near(a, b, 1e-6) for a, b in zip(many[2]["embeddings"], alone)) and
            many[2]["model"] == "bert" and many[2]["prompt_eval_count"] > 2 and many[2]["total_duration"] > 0, many)
    one = server.ask("POST", "/api/embed", {"model": "bert", "input": TEXTS[0]})
    t.check("ollama: one text is a list of one", one[0] == 200 and len(one[2]["embeddings"]) == 1 and near(one[2]["embeddings"][0], alone[0], 1e-6), one)
    old = server.ask("POST", "/api/embeddings", {"model": "bert", "prompt": TEXTS[0]})
    t.check("ollama: /api/embeddings", old[0] == 200 and list(old[2]) == ["embedding"] and near(old[2]["embedding"], alone[0], 1e-6), old)
    cut = server.ask("POST", "/api/embed", {"input": "a " * 500})
    t.check("ollama: what is too long is cut", cut[0] == 200 and cut[2]["prompt_eval_count"] == 128, cut)
    for name, path, body in (("unless told not to", "/api/embed", {"input": "a " * 500, "truncate": False}), ("no input", "/api/embed", {}),
                             ("two prompts", "/api/embeddings", {"prompt": ["a", "b"]}), ("another model", "/api/embed", {"input": "a", "model": "x:7b"})):
        answer = server.ask("POST", path, body)
        t.check("ollama: %s: an error is a text" % name, answer[0] in (400, 404) and isinstance(answer[2]["error"], str), answer)


def rerank(t, server, name, n_scores):
    def ask(**fields):
        return server.ask("POST", "/v1/rerank", dict({"query": "where is the fox", "documents": TEXTS}, **fields))

    all, raw = ask(), ask(raw_scores=True)
    results = all[2].get("results", [])
    scores = [r["relevance_score"] for r in results]
    t.check("rerank %s: every document once, the best first" % name, all[0] == 200 and sorted(r["index"] for r in results) == [0, 1, 2, 3, 4] and
            scores == sorted(scores, reverse=True) and all[2]["object"] == "list" and all[2]["usage"]["total_tokens"] > 10, all)
    t.check("rerank %s: relevances lie between 0 and 1 unless raw" % name, all[0] == raw[0] == 200 and (
                               n_scores > 1 or (min(scores) > 0 and max(scores) < 1 and
                               [round(1 / (1 + math.exp(-r["relevance_score"])), 6) for r in raw[2]["results"]] == [round(s, 6) for s in scores])), (all, raw))
    two = ask(top_n=2, return_documents=True, documents=[{"text": text} for text in TEXTS])
    t.check("rerank %s: top_n, documents given back" % name, two[0] == 200 and [r["relevance_score"] for r in two[2]["results"]] == scores[:2] and
            all_texts(two), two)
    alone = [ask(documents=[text])[2]["results"][0]["relevance_score"] for text in TEXTS]
    t.check("rerank %s: a document's score is its own" % name, all[0] == 200 and near([alone[r["index"]] for r in results], scores, 1e-4), (alone, results))
    other = ask(query="something else")
    t.check("rerank %s: the query counts" % name, other[0] == 200 and [r["relevance_score"] for r in other[2]["results"]] != scores, other)
    for what, body, param in (("no query", {"documents": ["a"]}, "query"), ("no documents", {"query": "a"}, "documents"), ("documents of numbers", {"query": "a", "documents": [1]}, "documents"),
                              ("an empty list", {"query": "a", "documents": []}, "documents"), ("top_n 0", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
                              ("a document that is too long", {"query": "a", "documents": ["b", "c " * 300]}, "documents")):
        answer = server.ask("POST", "/v1/rerank", body)
        t.check("rerank %s: %s is a 400 that names %s" % (name, what, param), answer[0] == 400 and answer[2]["error"]["param"] == param, answer)
    answer = server.ask("POST", "/v1/embeddings", {"input": "a"})
    t.check("rerank %s: a reranker makes no vectors" % name, answer[0] == 400 and "/v1/rerank" in answer[2]["error"]["message"], answer)
    model = server.ask("GET", "/v1/models")[2]["data"][0]
    t.check("rerank %s: the list of models says what it can" % name, model["capabilities"] == ["rerank"], model)


def all_texts(answer):
    return all(r["document"]["text"] == TEXTS[r["index"]] for r in answer[2]["results"])


def generates(t, model):
    server = t.Server("no-embeddings", model)
    server.wait()
    for path, body in (("/v1/embeddings", {"input": "a"}), ("/v1/rerank", {"query": "a", "documents": ["b"]})):
        answer = server.ask("POST", path, body)
        t.check("embeddings: %s is refused by a model that writes" % path, answer[0] == 400 and answer[2]["error"]["param"] == "model" and
                "writes text" in answer[2]["error"]["message"], answer)
    answer = server.ask("POST", "/api/embed", {"input": "a"})
    t.check("ollama: /api/embed is refused by a model that writes", answer[0] == 400 and "writes text" in answer[2]["error"], answer)
    t.check("embeddings: a model that writes says so", server.ask("GET", "/v1/models")[2]["data"][0]["capabilities"] == ["completion"])
    t.check("embeddings: that server stops cleanly", server.stop() == 0)


def run(t, model):
    import cases
    paths = {}
    for name in ("bert", "bert score", "qwen3 rank"):
        paths[name] = t.WORK / (name.replace(" ", "-") + ".gguf")
        cases.make_arch(str(paths[name]), name)
    server = t.Server("embeddings", paths["bert"])
    health = server.wait()
    if t.check("embeddings: ready", health and health["status"] == "ready", server.log.read_text()[-500:]):
        alone = openai(t, server, cases.IDS)
        crowd(t, server, alone)
        ollama(t, server, alone)
        npm.client("openai npm: embeddings", "embeddings.mjs", server, 3)
        npm.client("ollama npm: embeddings", "ollama_embed.mjs", server, 3)
    t.check("embeddings: the server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    for name, n_scores in (("bert score", 1), ("qwen3 rank", 2)):
        server = t.Server("rerank", paths[name])
        server.wait()
        rerank(t, server, name, n_scores)
        t.check("rerank %s: the server stops cleanly" % name, server.stop() == 0, server.log.read_text()[-500:])
    generates(t, model)
