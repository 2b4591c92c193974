# markdown-it: Markdown into HTML, for the page's chat (engine/page/markdown.js).
# Why this one: follows CommonMark, escapes raw HTML when told to, has no state between texts.
# Debian ships its files as Node reads them (with those of linkify-it, mdurl and uc.micro beside them); a browser takes
# one module, so they are put into one here, each as it is, found by the names under which they ask for each other.
version=12.2.3
binary_package=node-markdown-it
source_package=node-markdown-it
source_file='node-markdown-it_22.2.3+dfsg+~12.2.3-2_all.deb'
sha256=e05f8693216822dc3f4ff814414ce585bf596c843207d0b4b194513ef7931604
licence=MIT
licence_files=usr/share/doc/node-markdown-it/copyright

build() {
    mkdir -p "$PREFIX/share/page"
    python3 - usr/share/nodejs/markdown-it "$PREFIX/share/page/markdown-it.js" <<'P'
import json, pathlib, re, sys

top, out = pathlib.Path(sys.argv[1]), sys.argv[2]
parts = {}

def find(wanted, asker):
    """The file that `wanted` means where `asker` says it; None: a name of Node's own."""
    base = asker.parent / wanted if wanted.startswith(".") else top / "node_modules" / wanted
    for path in (base, base.with_name(base.name + ".js"), base / "index.js"):
        if path.is_file():
            return path.resolve()

def take(path):
    name = path.relative_to(top.resolve()).as_posix()
    if name in parts:
        return name
    parts[name] = None
    text = path.read_text()
    if path.suffix == ".json":
        text = "module.exports = " + json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) + ";"
    else:
        text = re.sub(r"^[ \t]*//.*\n", "", re.sub(r"^[ \t]*/\*.*?\*/[ \t]*$", "", text, flags=re.M | re.S), flags=re.M)
        text = re.sub(r"require\('([^']+)'\)", lambda m: "require(%s)" % json.dumps(found(m.group(1), path)), text)
        text = re.sub(r"\n\s*\n+", "\n", text)
    parts[name] = text
    return name

def found(wanted, asker):
    path = find(wanted, asker)
    return take(path) if path else wanted

first = take((top / "lib/index.js").resolve())
with open(out, "w") as f:
    f.write("const parts = {\n")
    for name, text in sorted(parts.items()):
        f.write("%s(module, exports, require) {\n%s\n},\n" % (json.dumps(name), text))
    # The one thing it asks of Node: names of hosts in punycode, which it falls back from where they cannot be read.
    f.write("'punycode'(module) { module.exports = { toASCII: (t) => t, toUnicode: (t) => t }; },\n};\nconst made = {};\n"
            "function require(name) {\n    if (!made[name]) {\n        made[name] = { exports: {} };\n"
            "        parts[name](made[name], made[name].exports, require);\n    }\n    return made[name].exports;\n}\n"
            "export default require(%s);\n" % json.dumps(first))
P
}
