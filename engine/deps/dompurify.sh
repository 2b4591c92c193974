# DOMPurify: what of HTML may stand in a page, for the page's chat (engine/page/markdown.js).
# Why this one: the sanitiser that browsers' own people test against; it makes nodes, so that no text becomes HTML twice.
version=3.1.7
binary_package=node-dompurify
source_package=node-dompurify
source_file='node-dompurify_3.1.7+dfsg+~3.0.5-2_all.deb'
sha256=8b38531a0c22d1cfda40da9fd75ea1db39e6721173e1288b25e546e0be68f419
licence='Apache-2.0 or MPL-2.0'
licence_files=usr/share/doc/node-dompurify/copyright

build() {
    mkdir -p "$PREFIX/share/page"
    {
        grep -v '^//# sourceMappingURL' usr/share/nodejs/dompurify/dist/purify.min.js
        echo 'export default globalThis.DOMPurify;'
    } > "$PREFIX/share/page/dompurify.js"
}
