"""A model split into several files: served from any of them as from the whole, and what is said when one is not right."""

import json
import struct

from tools import WORK, Server, check, run_verb

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # GGUF value type: bytes


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value if len(value) > 1 else value[0]

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def skip_value(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            item, n = self.take("IQ")
            for _ in range(n):
                self.skip_value(item)
        else:
            self.at += SCALARS[kind]


def text(data):
    return struct.pack("<Q", len(data)) + data


def split(model, folder, name, n_parts):
    """Writes NAME-0000N-of-0000N.gguf, one tensor after another in turn; the keys stand in the first. Their paths."""
    reader = Reader(model.read_bytes())
    _, version, n_tensors, n_keys = reader.take("4sIQQ")
    first_key = reader.at
    for _ in range(n_keys):
        reader.text()
        reader.skip_value(reader.take("I"))
    keys, tensors = reader.data[first_key:reader.at], []
    for _ in range(n_tensors):
        tensor, n_dims = reader.text(), reader.take("I")
        tensors.append((tensor, [reader.take("Q") for _ in range(n_dims)], *reader.take("IQ")))
    data = (reader.at + 31) // 32 * 32
    ends = sorted(t[3] for t in tensors) + [len(reader.data) - data]
    paths = [folder / ("%s-%05d-of-%05d.gguf" % (name, no + 1, n_parts)) for no in range(n_parts)]
    for no, path in enumerate(paths):
        own, rows, blob = tensors[no::n_parts], b"", b""
        for tensor, dims, kind, offset in own:
            rows += text(tensor) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, len(blob))
            piece = reader.data[data + offset:data + ends[ends.index(offset) + 1]]
            blob += piece + bytes(-len(piece) % 32)
        split_keys = b"".join(text(key) + struct.pack("<IH", 2, value) for key, value in ((b"split.no", no), (b"split.count", n_parts)))
        split_keys += text(b"split.tensors.count") + struct.pack("<Ii", 5, n_tensors)
        head = struct.pack("<4sIQQ", b"GGUF", version, len(own), 3 + (n_keys if no == 0 else 0)) + (keys if no == 0 else b"") + split_keys + rows
        path.write_bytes(head + bytes(-len(head) % 32) + blob)
    return paths


def answer_of(server):
    status, _, answer = server.chat("How do I add a model?")
    return answer["choices"][0]["message"]["content"] if status == 200 else answer


def run(model):
    folder = WORK / "parts"
    folder.mkdir(exist_ok=True)
    paths = split(model, folder, "owl", 3)
    server = Server("parts-whole", model)
    server.wait()
    whole = answer_of(server)
    server.stop()
    server = Server("parts", paths[1])
    health = server.wait()
    check("parts: the second of three files serves the whole model", health and health["status"] == "ready", health)
    models = [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]]
    check("parts: it is called by its name without -00002-of-00003, and listed once", models == ["owl", "builtin"], models)
    check("parts: and answers as the whole file does", answer_of(server) == whole and whole, (answer_of(server), whole))
    server.stop()
    done = run_verb("plan", "-m", paths[0], "--device", "cpu", "--json")
    together = json.loads(done[1]) if done[0] == 0 else {}
    last = paths[2].read_bytes()
    paths[2].write_bytes(last[:-1000])
    server = Server("parts-cut", paths[0])
    health = server.wait()
    check("parts: one that is cut is named with its sizes", health["status"] == "failed" and paths[2].name in health["error"] and
          "the file has %d bytes" % (len(last) - 1000) in health["error"], health)
    server.stop()
    paths[2].unlink()
    server = Server("parts-missing", paths[0])
    health = server.wait()
    check("parts: one that is missing is named", health["status"] == "failed" and paths[2].name in health["error"] and
          "part 3 of 3" in health["error"], health)
    server.stop()
    paths[1].unlink()
    done = run_verb("plan", "-m", paths[0], "--device", "cpu", "--json")
    first = json.loads(done[1]) if done[0] == 0 else {}
    check("parts: plan of the first alone", first.get("parts_missing") == 2 and together.get("parts_missing") == 0 and
          0.9 < first["bytes"]["weights"] / together["bytes"]["weights"] < 1.5, (done, together))
