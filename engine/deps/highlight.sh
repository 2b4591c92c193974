# highlight.js: colours in code, for the page's chat (engine/page/markdown.js).
# Why this one: it makes text of text, and asks nothing of the page. Debian's file has 185 languages in a row; those
# that people ask models for are taken, one `hljs.registerLanguage` each.
version=9.18.5
binary_package=libjs-highlight.js
source_package=highlight.js
source_file='libjs-highlight.js_9.18.5+dfsg1-2_all.deb'
sha256=b2bdd7826bd4633f6e35537b7aec7c635fc2316e7efd30a2fbf398ab664943a7
licence=BSD-3-Clause
licence_files=usr/share/doc/libjs-highlight.js/copyright

build() {
    mkdir -p "$PREFIX/share/page"
    python3 - usr/share/javascript/highlight.js/highlight.min.js "$PREFIX/share/page/highlight.js" <<'P'
import re, sys

LANGUAGES = "bash cpp css diff go ini java javascript json python rust sql typescript xml yaml".split()
core, *rest = re.split(r'(?=hljs\.registerLanguage\(")', open(sys.argv[1]).read())
by_name = {re.match(r'hljs\.registerLanguage\("([^"]+)"', text).group(1): text for text in rest}
with open(sys.argv[2], "w") as f:
    f.write(core + "\n" + "\n".join(by_name[name] for name in LANGUAGES) + "\nexport default hljs;\n")
P
}
