"""GET /metrics, read by Prometheus' own parser (Debian's python3-prometheus-client, in a root made once), and what it counts."""

import json
import subprocess
import threading

from tools import ROOT, WORK, Server, check, in_test_root, skip, stream

PARSE = """import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]] for f in parse(open(sys.argv[1]).read())]))"""
# name -> type; counters without _total, as the parser calls them
WANTED = {"vllm:num_requests_running": "gauge", "vllm:num_requests_waiting": "gauge", "vllm:kv_cache_usage_perc": "gauge",
          "vllm:gpu_cache_usage_perc": "gauge", "vllm:cache_config_info": "gauge", "vllm:prompt_tokens": "counter", "vllm:generation_tokens": "counter",
          "vllm:prefix_cache_queries": "counter", "vllm:prefix_cache_hits": "counter", "vllm:request_success": "counter",
          "vllm:spec_decode_num_draft_tokens": "counter", "vllm:spec_decode_num_accepted_tokens": "counter",
          "vllm:time_to_first_token_seconds": "histogram", "vllm:time_per_output_token_seconds": "histogram",
          "vllm:e2e_request_latency_seconds": "histogram", "llamacpp:prompt_tokens": "counter", "llamacpp:tokens_predicted": "counter",
          "llamacpp:requests_processing": "gauge", "llamacpp:requests_deferred": "gauge", "llamacpp:kv_cache_usage_ratio": "gauge",
          "tawny_device_info": "gauge", "tawny_layers_on_device": "gauge", "tawny_state": "gauge", "process_resident_memory_bytes": "gauge",
          "process_cpu_seconds": "counter", "tawny_key_requests": "counter"}


def scrape(server, root, key=True):
    """name -> (type, [(sample, labels, value)])"""
    status, headers, text = server.ask("GET", "/metrics", key=key)
    if status != 200 or not headers["content-type"].startswith("text/plain; version=0.0.4"):
        return {"status": status, "headers": headers}
    path = WORK / "metrics.txt"
    path.write_bytes(text)
    code, out = in_test_root(root, "python3", "-c", PARSE, path)
    return {name: (kind, samples) for name, kind, _, samples in json.loads(out)} if code == 0 else {"failed": out}


def value(families, sample, **labels):
    found = [v for _, samples in families.values() for name, all_labels, v in samples
             if name == sample and all(all_labels.get(k) == w for k, w in labels.items())]
    return sum(found) if found else None


def run(model):
    done = subprocess.run([ROOT / "engine/deps/root.sh", "scrape", "trixie", "python3", "python3-prometheus-client"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        skip("metrics", "the root with Prometheus' parser cannot be made: %s" % done.stderr.strip().splitlines()[-1:])
        return
    root = done.stdout.strip()
    server = Server("metrics", model, options=("--parallel", "2"))
    server.wait()
    name = 'odd "\\ name \u00e9'
    secret = server.ask("POST", "/v1/keys", {"name": name, "scopes": ["metrics"]})[2]["secret"]
    before = scrape(server, root, secret)
    missing = [n for n, kind in WANTED.items() if before.get(n, ("",))[0] != kind]
    check("metrics: Prometheus' parser reads all of it, with the names and types that are scraped", not missing, (missing, list(before)[:90]))
    if missing:
        server.stop()
        return
    check("metrics: a key's name arrives as it is", value(before, "tawny_key_requests_total", name=name) == 0,
          before["tawny_key_requests"])
    check("metrics: chat's scope is not enough", server.ask("GET", "/metrics", key=server.ask(
        "POST", "/v1/keys", {"name": "chat"})[2]["secret"])[0] == 403 and server.ask("GET", "/metrics", key=False)[0] == 401)
    usages = [server.chat("How do I add a model?", max_tokens=5 + i)[2]["usage"] for i in range(4)]
    stream(server, "Tell me something long.", 300, leave_after=3, ignore_eos=True)
    for _ in range(50):
        after = scrape(server, root)
        if value(after, "vllm:request_success_total", finished_reason="abort") == 1:
            break
    sums = {"prompt": sum(u["prompt_tokens"] for u in usages), "written": sum(u["completion_tokens"] for u in usages),
            "cached": sum(u["prompt_tokens_details"]["cached_tokens"] for u in usages)}
    rise = {n: value(after, n) - value(before, n) for n in (
        "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total",
        "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_count", "vllm:e2e_request_latency_seconds_count")}
    left = rise["vllm:prompt_tokens_total"] - sums["prompt"]  # the prompt of the stream that was left
    check("metrics: tokens are those of the answers' usage", 0 < left < 100 and rise["vllm:generation_tokens_total"] > sums["written"] and
          rise["vllm:prefix_cache_hits_total"] >= sums["cached"] > 0 and
          rise["vllm:prefix_cache_queries_total"] == rise["vllm:prompt_tokens_total"] and
          rise["llamacpp:prompt_tokens_total"] == rise["vllm:prompt_tokens_total"] - rise["vllm:prefix_cache_hits_total"] and
          rise["llamacpp:tokens_predicted_total"] == rise["vllm:generation_tokens_total"], (sums, rise))
    check("metrics: five requests have ended, one as its client left", rise["vllm:request_success_total"] == 5 and
          rise["vllm:time_to_first_token_seconds_count"] == 5 == rise["vllm:e2e_request_latency_seconds_count"] and
          value(after, "vllm:request_success_total", finished_reason="length") >= 1, rise)
    for family in [n for n, (kind, _) in after.items() if kind == "histogram"]:
        buckets = [(float(labels["le"]), v) for n, labels, v in after[family][1] if n.endswith("_bucket")]
        count = value(after, family + "_count")
        if not check("metrics: %s rises to its count" % family, [v for _, v in buckets] == sorted(v for _, v in buckets) and
                     buckets[-1] == (float("inf"), count) and (value(after, family + "_sum") > 0) == (count > 0), after[family]):
            break
    check("metrics: the state is one, and the memory is there", value(after, "tawny_state", state="ready") == 1 == value(after, "tawny_state") and
          value(after, "process_resident_memory_bytes") > 10 << 20 and value(after, "tawny_layers_on_device") == value(after, "tawny_layers"))
    cache = {s: value(after, "tawny_cache_tokens", state=s) for s in ("used", "held", "free")}
    check("metrics: the memory of earlier texts is held, and nothing is in use", cache["used"] == 0 and cache["held"] > 0 and cache["free"] >= 0, cache)
    # What the model server protocol of Kubernetes' inference gateway wants: gauges with one sample each, and blocks that make up the memory.
    one = [len(after[n][1]) for n in ("vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:cache_config_info")]
    labels = after["vllm:cache_config_info"][1][0][1]
    check("metrics: an inference gateway finds what it balances by", one == [1] * 4 and labels["model_name"] and
          int(labels["block_size"]) * int(labels["num_gpu_blocks"]) == sum(cache.values()), (one, labels, cache))
    threads = [threading.Thread(target=stream, args=(server, "Count %d." % i, 400), kwargs={"ignore_eos": True}) for i in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        text = server.ask("GET", "/metrics")[2].decode()
        lines = {line.split(" ")[0].split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}
        seen.add((lines["vllm:num_requests_running"], lines["vllm:num_requests_waiting"], lines["llamacpp:kv_cache_usage_ratio"] > 0))
    check("metrics: two run while two wait, and the memory is in use", (2, 2, True) in seen, seen)
    server.stop()
    server = Server("metrics-open", model, options=("--open-metrics", "yes"))
    server.wait()
    chat = server.ask("POST", "/v1/keys", {"name": "chat"})[2]["secret"]
    texts = [(status, text.decode() if status == 200 else text) for status, _, text in (server.ask("GET", "/metrics", key=key) for key in (False, chat, True))]
    check("metrics: open, they need no key, and tell of keys to those alone that may ask", all(status == 200 and "vllm:num_requests_waiting{" in text
          for status, text in texts) and ["tawny_key_requests_total{" in text for _, text in texts] == [False, False, True], texts)
    check("metrics: open is nothing else", server.ask("POST", "/metrics", {}, key=False)[0] == 405 and server.ask("GET", "/v1/logs", key=False)[0] == 401)
    server.stop()
