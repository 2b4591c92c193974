#!/usr/bin/env python3
"""seeds.py - writes first inputs, good ones and faulty ones, into the corpora of every target but gguf and http.

Run it again after changing it; the files are committed (small), so that the replay needs nothing. Formats of the inputs
are in the head of each target. Certificates and kernels are taken from a build: build/spv, and what openssl makes.
"""
import os
import struct
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def seed(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def settings():
    seed("settings", "shipped", (ROOT / "rootfs-overlay/etc/tawny.conf").read_bytes())
    lines = ["model = a b.gguf # which", "listen = 192.0.2.7:443, [2001:db8::7]:443,*:11434 localhost:1", 'listen-http = ""',
             "listen-http = auto", "state = /data/tawny", 'device = "gfx # 1151"', "hostname = box-1", "ctx = 8192", "threads = 0",
             "parallel = 64", "kv-type = q8_0", "log = debug"]
    seed("settings", "all", "\ufeff" + "\r\n".join(lines[:3] + lines[4:]) + "\r\n")
    for i, line in enumerate(lines + ["ctx = many", "ctx = 99999999999999999999", "model =", 'model = "abc', 'model = "a" b', "words",
                                      "= a", "hostname = -a", "log = loud", "kv-type = q4_0", "a\0b = c", "model = a\x01b",
                                      "listen = [::1", "listen = 1.2.3.4:99999", "listen = :::1", "ctx=1\nctx=2"]):
        seed("settings", "line-%02d" % i, line + "\n")
        seed("init_conf", "line-%02d" % i, line + "\n")
    seed("init_conf", "quoted", 'hostname = "Box-2" # c\r\nhostname="a\nhostname =#\nhostname = a#b\n')


def response():
    ok = "HTTP/1.1 200 OK\r\n"
    for i, (flags, text) in enumerate([
            (0, ok + "Content-Length: 5\r\n\r\nhello"), (0, ok + "Content-Length: 5\r\n\r\nhello, and more"), (2, ok + "Content-Length: 5\r\n\r\nhell"),
            (0, ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), (0, ok + "Content-Length: -1\r\n\r\n"), (0, ok + "Content-Length: 99999999999999999999\r\n\r\n"),
            (0, ok + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"), (2, ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            (0, ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n"), (0, ok + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
            (1, ok + "Content-Length: 5\r\n\r\n"), (1, ok + "Transfer-Encoding: chunked\r\n\r\n"), (2, ok + "\r\nuntil the end"), (0, ok + "\r\nuntil the end"),
            (0, "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nhi"), (0, "HTTP/1.1 204 No Content\r\n\r\n"), (0, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
            (0, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), (0, "SSH-2.0-OpenSSH\r\n"), (0, ok + "A b\r\n\r\n"),
            (2, "HTTP/1.0 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\nETag: W/\"x\" \t\r\n\r\n56789"), (0, "HTTP/1.1 307 \r\nLocation: https://h/\r\nContent-Length: 0\r\n\r\n"),
            (0, ok + "X: " + "y" * 3000 + "\r\n" + "".join("A: %d\r\n" % n for n in range(97)) + "\r\n"), (2, ok + "Connection: close\r\nTransfer-Encoding: gzip\r\n\r\nabc")]):
        seed("response", "seed-%02d" % i, bytes([(i * 37) % 256, flags]) + text.encode())


def gbnf():
    for i, text in enumerate(['root ::= "a" b* # c\nb ::= [x-z] | "-"\n', 'root ::= ("a" | "b"\n)+ "c"?', 'root ::= "x"{2,3} [^a]{1} "y"{2,}',
                              'root ::= "\\n\\x41\\u00e9\\"" .', 'root ::= "(" root ")" | ""', 'root ::= a a\na ::= "x" a | "x" | ""',
                              'root ::= s\ns ::= "a" s "a" | "b" s "b" | ""', 'root ::= root "x" | "y"', 'root ::= a "x"\na ::= b? root | "y"\nb ::= "b"',
                              'root ::= x\nx ::= "a" x', 'root ::= [z-a]', 'root ::= "a"{3,2}', 'root ::= <think>', 'root ::= ((((("a")))))',
                              'root ::= a{999}\na ::= "b"{0,999}', '/^a+b?$', r'/(ab|c){2}\d', r'/[^a-c\d]+?', '/(^a|b$|c)x?', '/(?:a{0}b){2,}',
                              r'/\u00e9\x41\.\S[\]\-]\u{1f600}', '/((a*)*)*b', '/(?=a)', '/(?<n>a)|(?<!b)', r'/\p{L}\b(a)\1', '/[a-', '/a{1000}{3}']):
        seed("gbnf", "seed-%02d" % i, text)


def schema():
    for i, text in enumerate(['{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["b"]}',
                              '{"additionalProperties":{"type":"string"},"properties":{"n":{"type":"null"}}}', '{"patternProperties":{"^x":{"minimum":1}},"additionalProperties":false}',
                              '{"minProperties":2,"maxProperties":3,"properties":{"a":{"const":1},"b":{},"c":true,"d":false}}',
                              '{"items":{"type":"integer"},"minItems":3,"maxItems":4}', '{"prefixItems":[{"type":"string"},true],"items":{"const":7}}',
                              '{"items":[{"type":"string"}],"additionalItems":false}', '{"enum":[1,true,null,"\u00e9",{"a":[2]},1.5]}', '{"const":{"a":1}}',
                              '{"type":["boolean","number"],"nullable":true}', '{"type":"integer","minimum":-12,"exclusiveMaximum":105,"multipleOf":7}',
                              '{"type":"number","exclusiveMinimum":0.5,"maximum":1.25}', '{"pattern":"\\S","minLength":2,"maxLength":5}', '{"format":"date-time"}',
                              '{"allOf":[{"pattern":"a"},{"format":"uuid"}]}', '{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"l":{"$ref":"#/$defs/n"}}}}}',
                              '{"anyOf":[{"type":"integer"},{"items":{"$ref":"#"}}]}', '{"oneOf":[{"type":"null"},{"type":"string","maxLength":9}]}',
                              '{"$ref":"#"}', '{"$ref":"#/a~1b%20c","a/b c":{"type":"null"}}', 'true', 'false', '{"not":{},"uniqueItems":true,"if":{}}',
                              '{"type":"strin"}', '{"required":[1]}', '{"minLength":-1}', '{"minimum":1e300}', '{"enum":[]}', '{"pattern":"(?=x)"}']):
        seed("schema", "seed-%02d" % i, text)


def request():
    chat = '{"model":"m","messages":[{"role":"developer","content":"be \\u00fcber"},{"role":"user","content":[{"type":"text",' \
           '"text":"one"}]},{"role":"assistant","content":null,"tool_calls":[]}],"stream":true,"stream_options":{"include_usage":' \
           'true},"max_completion_tokens":7,"temperature":0.5,"top_p":0.25,"top_k":5,"min_p":0.125,"repeat_penalty":1.5,' \
           '"presence_penalty":-1,"frequency_penalty":2,"seed":42,"stop":["a","bc"],"n":1,"logprobs":false,"tools":[],' \
           '"response_format":{"type":"text"},"logit_bias":null}'
    bodies = [chat, '{"prompt":"x","echo":true,"max_tokens":-1,"best_of":1}', '{"prompt":["x"],"stop":"y","suffix":""}',
              '{"messages":[]}', '{"messages":[{"role":"user"}]}', '{"messages":[{"role":"x","content":1}]}', "[]", "", "{",
              '{"messages":"x"}', '{"messages":[{"role":"user","content":"x"}],"temperature":1e999}',
              '{"messages":[{"role":"user","content":"\\ud800"}]}', '{"prompt":"x","seed":-9223372036854775808}',
              '{"prompt":"x","prompt":"y"}', '{"prompt":"x","stop":["",1]}', "[" * 70, '{"prompt":"x","n":2}']
    for i, body in enumerate(bodies):
        for chat_byte in b"\0\1":
            seed("request", "body-%02d-%d" % (i, chat_byte), bytes([chat_byte]) + body.encode())
    responses = ['{"input":[{"role":"user","content":[{"type":"input_text","text":"q"}]},{"type":"reasoning","summary":[{"type":"summary_text","text":'
                 '"t"}],"encrypted_content":"tawny:u"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":'
                 '"function_call_output","call_id":"c","output":"o"},{"type":"custom_tool_call","call_id":"d","name":"p","input":"x"},{"type":'
                 '"shell_call_output","call_id":"d","output":[{}]}],"instructions":"i","tools":[{"type":"custom","name":"p","format":{"definition":'
                 '"d"}},{"type":"function","name":"f","parameters":{}},{"type":"web_search"}],"tool_choice":"required","text":{"format":{"type":'
                 '"text"}},"reasoning":{"effort":"low","summary":"auto"},"include":["reasoning.encrypted_content"],"top_logprobs":1}',
                 '{"input":"x","text":{"format":{"type":"json_schema","schema":{}}},"store":false,"previous_response_id":"resp_1"}',
                 '{"input":[{"id":"msg_ab_0"}]}']
    for i, body in enumerate(responses):
        seed("request", "responses-%d" % i, b"\x80" + body.encode())


def tls():
    in_, in_all, out, raw, change, leave, twice, say, answer, finish, close, again, forget = range(13)
    shake = bytes([in_all, out] * 3)
    talk = bytes([say, 5]) + b"hello" + bytes([in_all, answer, 200, out])
    seed("tls", "handshake", shake)
    seed("tls", "talk", shake + talk + talk + bytes([close, in_all, out]))
    seed("tls", "finish", shake + talk + bytes([finish, out, in_all, out]))
    seed("tls", "resume", shake + talk + bytes([again]) + shake + talk)
    seed("tls", "forgotten", shake + talk + bytes([forget, again]) + shake + talk)
    seed("tls", "piecemeal", bytes([in_, 1] * 60 + [in_all, out]) + shake + talk)
    seed("tls", "changed", shake + bytes([say, 3]) + b"abc" + bytes([in_, 6, change, 1, in_all, out]))
    seed("tls", "twice", shake + bytes([say, 3]) + b"abc" + bytes([twice, 255, in_all, out]))
    seed("tls", "left-out", shake + bytes([leave, 255]) + talk)
    seed("tls", "plain-http", bytes([raw, 18]) + b"GET / HTTP/1.1\r\n\r\n")
    seed("tls", "old-version", bytes([raw, 11]) + bytes.fromhex("16030100060100000203 01") + bytes([out]))
    seed("tls", "alert", bytes([raw, 7]) + bytes.fromhex("15030300020228") + bytes([out]))
    hello = "0303" + "11" * 32 + "00" + "0004c02bcca9" + "0100" + "001c" + "000a00060004001d0017" + "000d00040002 0403" + \
        "000b00020100" + "00170000"
    body = bytes.fromhex(hello.replace(" ", ""))
    record = b"\x01" + len(body).to_bytes(3, "big") + body
    record = b"\x16\x03\x01" + len(record).to_bytes(2, "big") + record
    seed("tls", "hello", bytes([raw, len(record)]) + record + bytes([out]))


def certificates():
    with tempfile.TemporaryDirectory() as d:
        for name, more in (("ca", ["-addext", "basicConstraints=critical,CA:TRUE"]),
                           ("server", ["-addext", "subjectAltName=DNS:tawny,DNS:tawny.local,IP:192.0.2.7,IP:2001:db8::7"])):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                            "/CN=" + name, "-days", "3650", "-keyout", d + "/k", "-out", d + "/c", "-outform", "DER", *more], check=True,
                           stderr=subprocess.DEVNULL)
            der = Path(d + "/c").read_bytes()
            seed("cert", name, der)
            seed("cert", name + "-cut", der[:-7])
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=x", "-keyout", d + "/k", "-out",
                        d + "/c", "-outform", "DER"], check=True, stderr=subprocess.DEVNULL)
        seed("cert", "rsa", Path(d + "/c").read_bytes())
    seed("cert", "times", bytes.fromhex("170d3236313132373034353035365a180f32303530303130313030303030305a"))
    seed("cert", "nested", b"\x30\x80" + b"\x30\x02" * 30 + b"\x30\x00")


def kernels():
    by_size = sorted((ROOT / "build/spv").glob("*.spv"), key=lambda p: p.stat().st_size)
    for p in by_size[:4]:
        seed("spirv", p.stem, p.read_bytes())
    seed("spirv", "head", struct.pack("<5I", 0x07230203, 0x10600, 0, 64, 0))
    seed("spirv", "cut", by_size[0].read_bytes()[:-10])


def tokens():
    for p in (ROOT / "tests/golden/tokens").iterdir():
        text = p.read_bytes()[:400]
        if p.name != "ids.txt":
            seed("tokenizer", p.stem, struct.pack("<H", len(text)) + text)
    for p in (HERE / "gguf").glob("good-q8_0"), (HERE / "gguf").glob("pre-*"):
        for f in p:
            text = "ab abc <|im_start|> Ġa ö! 12".encode()
            seed("tokenizer", "own-" + f.name, struct.pack("<H", len(text)) + text + f.read_bytes())


MAC = bytes.fromhex("525400123456")


def dhcp_message(kind, more=b"", file=b"", xid=0x01020304):
    m = bytearray(240)
    m[0:4] = b"\2\1\6\0"
    m[4:8] = xid.to_bytes(4, "big")
    m[16:20] = bytes([192, 168, 7, 42])
    m[28:34] = MAC
    m[108:108 + len(file)] = file
    m[236:240] = b"\x63\x82\x53\x63"

    def option(code, value):
        return bytes([code, len(value)]) + value
    typical = option(54, bytes([192, 168, 7, 1])) + option(51, b"\0\0\x0e\x10") + option(58, b"\0\0\7\x08") + \
        option(59, b"\0\0\x0c\x4e") + option(1, b"\xff\xff\xff\0") + option(15, b"lan") + option(6, bytes([192, 168, 7, 1, 9, 9, 9, 9])) + \
        option(3, bytes([192, 168, 7, 1]))
    return bytes(m) + option(53, bytes([kind])) + typical + more + b"\xff"


def packet(message):
    udp = struct.pack(">HHHH", 67, 68, 8 + len(message), 0) + message
    head = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([192, 168, 7, 1]), b"\xff" * 4))
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    head[10:12] = (~total & 0xffff).to_bytes(2, "big")
    return bytes(head) + udp


def step(op, data):
    return bytes([op]) + struct.pack("<H", len(data)) + data


def network():
    offer, ack, nak = dhcp_message(2), dhcp_message(5), dhcp_message(6)
    routes = dhcp_message(5, bytes([121, 13, 24, 10, 0, 0, 192, 168, 7, 2, 0, 192, 168, 7, 1]))
    overload = dhcp_message(5, bytes([52, 1, 1]), b"\x0f\x04home\xff")
    seed("init_dhcp", "bound", step(6, offer) + step(6, ack) + b"\2\3\3\3")
    seed("init_dhcp", "renewed", step(6, offer) + step(6, ack) + b"\3\0" + step(6, ack) + b"\3\3")
    seed("init_dhcp", "refused", step(6, offer) + step(6, nak) + b"\1" + step(6, offer) + step(6, ack) + b"\3" + step(6, nak))
    seed("init_dhcp", "routes", step(6, offer) + step(6, routes))
    seed("init_dhcp", "overload", step(6, offer) + step(6, overload))
    seed("init_dhcp", "packet", step(4, packet(offer)) + step(4, packet(ack)))

    def attribute(kind, value):
        return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    def message(kind, body):
        return struct.pack("<IHHII", 16 + len(body), kind, 0, 0, 0) + body
    link = struct.pack("<BxHiII", 0, 1, 2, 0x10003, 0) + attribute(3, b"eth0\0") + attribute(1, MAC)
    down = struct.pack("<BxHiII", 0, 1, 2, 0x1003, 0)
    address = struct.pack("<BBBBI", 10, 64, 0, 0, 2) + attribute(1, bytes.fromhex("20010db8" + "00" * 11 + "07"))
    up = step(2, message(16, link))
    seed("init_net", "link", b"\0" + up + b"\0\1")
    seed("init_net", "address", b"\0" + up + step(2, message(20, address)) + b"\1" + step(2, message(21, address)))
    seed("init_net", "unplugged", b"\0" + up + step(2, message(16, down)) + step(2, message(17, link)))
    seed("init_net", "lease", b"\0" + up + step(5, packet(offer)) + step(5, packet(ack)) + b"\1")
    seed("init_net", "refused", b"\1" + up + step(5, packet(offer)) + step(5, packet(ack)) + b"\1")
    router = struct.pack("<BxHiBBHII", 10, 24, 2, 134, 0, 0, 0, 0) + bytes([25, 3, 0, 0, 0, 0, 14, 16]) + \
        bytes.fromhex("20010db8" + "00" * 11 + "01")
    seed("init_net", "router", b"\0" + up + step(2, message(68, router)))
    seed("init_net", "many", b"\0" + step(2, message(16, link) + message(20, address) + message(3, b"")))


def partitions():
    primary = bytes.fromhex("4546492050415254000001005c000000476fa978000000000100000000000000ff070000000000002200000000000000"
                            "de0700000000000011111111222233334444555555555555020000000000000080000000800000000f3bda68")
    backup = bytearray(primary)
    backup[24:32], backup[32:40], backup[72:80] = primary[32:40], primary[24:32], struct.pack("<Q", 2047 - 32)
    kind = bytes.fromhex("af3dc60f838472478e793d69d8477de4")

    def entry(name, first, last):
        return kind + bytes(16) + struct.pack("<QQQ", first, last, 0) + name.encode("utf-16le").ljust(72, b"\0")
    two = entry("tawny-esp", 40, 99) + entry("tawny-data", 100, 500)
    for flags in range(16):
        seed("init_gpt", "two-%x" % flags, bytes([flags, 2]) + primary + bytes(backup) + two)
    seed("init_gpt", "primary-lost", bytes([14, 2]) + bytes(92) + bytes(backup) + two)
    seed("init_gpt", "backup-lost", bytes([6, 2]) + primary + bytes(92) + two)
    seed("init_gpt", "not-last", bytes([6, 1]) + primary + bytes(backup) + two[128:] + entry("other", 600, 700))


def devices():
    dep = "kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz\nkernel/net/core/failover.ko.xz:\n" \
          "kernel/drivers/usb/storage/usb-storage.ko.xz:\nkernel/drivers/gpu/drm/ttm/ttm.ko.xz:\nno colon\n"
    alias = "# from modules\nalias virtio:d00000001v* virtio_net\nalias usb:v1645p0007d013[0-3]dc* usb_storage\n" \
            "alias acpi*:PNP0C0C:* ttm\nalias fs-ext4 none\nalias broken\n"
    soft = "softdep virtio_net pre: failover ttm post: usb_storage\n"
    for i, (device, line) in enumerate((("virtio:d00000001v00001AF4", "ttm.pages_limit=5 usb-storage.quirks=a:b quiet"),
                                        ("usb:v1645p0007d0132dc00", "virtio_net.x= ro"), ("acpi:PNP0C0C:", ""), ("x", "=.=."))):
        seed("init_modules", "set-%d" % i, "\0".join((dep, alias, soft, device, line)))
    seed("init_modules", "patterns", "\0".join(("k/m.ko:", "alias a:*[a-z]?*[ m\nalias *: m\nalias [x m", "softdep m pre: m post:", "a:bb", "m.a=b")))
    add = "add@/devices/x\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vda1\0DEVTYPE=partition\0MODALIAS=virtio:d2v1\0SEQNUM=7\0"
    seed("init_uevent", "add", add)
    seed("init_uevent", "no-end", add + "DEVNAME=x")
    seed("init_uevent", "empty", "\0\0\0")
    seed("init_uevent", "twice", "ACTION=\0ACTION=add\0DEVNAME=\0")


def answers():
    """The families' numbers are those of answer.c's table."""
    call = '{"name": "f", "arguments": {"a": "x\\u00e9", "b": 3, "c": [1, {"d": null}]}}'
    begin, one, sep, end, ends = ("<\uff5ctool\u2581%s\uff5c>" % w for w in ("calls\u2581begin", "call\u2581begin", "sep", "call\u2581end",
                                                                           "calls\u2581end"))
    dsml = "\uff5cDSML\uff5c"
    texts = {
        1: ["<think>\nhm\n</think>\n\nok\n<tool_call>\n%s\n</tool_call>\n<tool_call>%s</tool_call>" % (call, call),
            "<tool_call>{'name': 'f', 'arguments': {'a': 'x\"', 'b': None, 'c': True,}}</tool_call>", "<tool_call> is a mark",
            '<tool_call>{"arguments": "{\\"a\\": 1}", "name": "g"}</tool_call>'],
        2: ["<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n3\n</parameter>\n</function>\n</tool_call>"],
        3: ["<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n<arg_key>c</arg_key><arg_value>[1]</arg_value>\n</tool_call>"],
        4: ["<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json"
            '<|message|>{"a": 1}<|call|>', " to=functions.g<|channel|>commentary<|message|>{}<|end|><|start|>assistant<|channel|>final"
            "<|message|>done"],
        5: ["[THINK]hm[/THINK]ok[TOOL_CALLS] [%s, %s]" % (call, call), '[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}'],
        6: [begin + one + "function" + sep + 'f\n```json\n{"a": 1}\n```' + end + ends],
        7: [begin + one + "f" + sep + '{"a": 1}' + end + ends],
        8: ['<|channel>thought\nhm<channel|><|tool_call>call:f{a:<|"|>x<|"|>,c:{d:[1,true]}}<tool_call|>'],
        9: ["<|tool_call_start|>[f(a='x', b=3, c={'d': None}), g()]<|tool_call_end|>", "<|tool_call_start|>[f('x', 3)]"],
        10: ['{"name": "f", "parameters": {"a": "x"}}; {"name": "g", "parameters": {}}', '<|python_tag|>f.call(a="x")', '{"name": "h"}'],
        11: ['<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">x</parameter>\n</invoke>\n</minimax:tool_call>'],
        12: ['<%sfunction_calls>\n<%sinvoke name="f">\n<%sparameter name="b" string="false">2</%sparameter>\n</%sinvoke>\n' % ((dsml,) * 5)],
        13: ['<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'
             '<|tool_calls_section_end|>'],
        14: ['<|START_THINKING|>hm<|END_THINKING|><|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {}}]<|END_ACTION|>'],
        15: ['<function=f>{"a": "x"}</function><function=g>{}</function>'],
    }
    for family, its in texts.items():
        for i, text in enumerate(its):
            for how in (1, 2) if i == 0 else (1,):
                seed("answer", "%02d-%d-%d" % (family, i, how), bytes([family, how, 3 * i + 1]) + text.encode())


if __name__ == "__main__":
    os.chdir(ROOT)
    for write in (settings, request, response, tls, certificates, kernels, tokens, network, partitions, devices, answers, gbnf, schema):
        write()
