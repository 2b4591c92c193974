// markdown.js - what a model writes, as nodes. Three hands in a row: markdown-it makes HTML and lets none through that was
// in the text; highlight.js colours code; DOMPurify makes nodes of it and drops whatever else than these few elements there
// is. Pictures become links (the page loads nothing from elsewhere); a link leads to a web page or a mail, and tells nobody
// where it was clicked.

import DOMPurify from "./dompurify.js";
import { h } from "./dom.js";
import hljs from "./highlight.js";
import markdown_it from "./markdown-it.js";
import { t } from "./text.js";
import { copier } from "./ui.js";

const HIGHLIGHTED_MOST = 40000; // characters of a block: the patterns of some languages are slow
const TAGS = "p br hr h1 h2 h3 h4 h5 h6 strong em s code pre span blockquote ul ol li table thead tbody tr th td a".split(" ");

hljs.configure({ hideUpgradeWarningAcceptNoSupportOrSecurityUpdates: true });

function highlight(code, language) {
    if (!language || code.length > HIGHLIGHTED_MOST || !hljs.getLanguage(language)) return "";
    return hljs.highlight(language, code, true).value;
}

const reader = markdown_it({ html: false, linkify: true, highlight }).disable("image");

// A column's side as a class: the policy lets no style stand in HTML.
for (const rule of ["th_open", "td_open"])
    reader.renderer.rules[rule] = (tokens, at, options, env, self) => {
        const side = tokens[at].attrGet("style")?.match(/(left|right|center)/)?.[1];
        tokens[at].attrs = side ? [["class", `to-${side}`]] : null;
        return self.renderToken(tokens, at, options);
    };

function dress(pre) {
    const code = pre.querySelector("code") ?? pre, language = code.className.match(/language-(\S+)/)?.[1] ?? "";
    const text = code.textContent;
    const box = h("div.code.headed", h("div.code-head", h("span", language), copier(() => text)));
    pre.replaceWith(box);
    pre.tabIndex = 0;
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", language ? t("code_of", { language }) : t("code"));
    box.append(pre);
}

export function markdown(text) {
    const nodes = DOMPurify.sanitize(reader.render(text), { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "class", "start", "title"],
        ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i, ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true });
    for (const element of nodes.querySelectorAll("[class]"))
        element.className = [...element.classList].filter((name) => /^(?:hljs-|language-|to-)/.test(name)).join(" ");
    for (const link of nodes.querySelectorAll("a")) {
        if (!link.hasAttribute("href")) { // it led to what is no web page
            link.replaceWith(...link.childNodes);
            continue;
        }
        link.target = "_blank";
        link.rel = "noopener noreferrer nofollow";
    }
    for (const pre of nodes.querySelectorAll("pre")) dress(pre);
    for (const table of nodes.querySelectorAll("table")) {
        const box = h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("table") });
        table.replaceWith(box);
        box.append(table);
    }
    return nodes;
}
