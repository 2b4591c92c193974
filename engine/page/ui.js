// ui.js - the small parts that all areas are made of: buttons, notes, dialogs, what can be copied.

import { h, icon, set } from "./dom.js";
import { t } from "./text.js";

// A button of a drawing and a word; `bare`: the drawing alone, its word for those who do not see it.
export function button(name, text, onclick, { kind = "plain", bare = false, ...more } = {}) {
    return h(`button.${kind}${bare ? ".bare" : ""}`, { type: "button", onclick, "aria-label": bare ? text : null, title: bare ? text : null, ...more },
        name ? icon(name) : null, bare ? null : h("span", text));
}

export function copier(text_of, { bare = true } = {}) {
    const made = button("copy", t("copy"), async () => {
        try {
            await navigator.clipboard.writeText(text_of());
            made.querySelector("svg").replaceWith(icon("done"));
            say(t("copied"));
        } catch {
            say(t("copy.failed"));
        }
        setTimeout(() => made.querySelector("svg").replaceWith(icon("copy")), 1500);
    }, { bare });
    return made;
}

// A text of lines to copy. Its box scrolls, and so takes the keyboard's focus.
export const code_block = (text, label) =>
    h("div.code", h("pre", { tabindex: "0", role: "region", "aria-label": label }, h("code", text)), copier(() => text));

// What screen readers are told, and nobody sees.
export function say(text) {
    const place = document.getElementById("said");
    if (place) place.textContent = text;
}

// A passing note at the edge.
export function note(text, kind = "") {
    const shown = h(`div.note${kind ? "." + kind : ""}`, { role: kind === "bad" ? "alert" : "status" }, h("span", text),
        button("close", t("close"), () => shown.remove(), { bare: true }));
    document.getElementById("notes").append(shown);
    setTimeout(() => shown.remove(), kind === "bad" ? 12000 : 5000);
}

// The sentence for a Refused: the box's own where it has one.
export function sentence(error) {
    if (error.code === "unreachable") return t("error.unreachable");
    if (error.code === "broken_off") return t("error.broken_off");
    if (error.status === 403 && error.code === "missing_scope") return t("error.scope", { text: error.message });
    return error.message || t("error.unknown");
}

export const problem = (error, again) =>
    h("div.card.bad", { role: "alert" }, h("p", sentence(error)), again ? button("again", t("again"), again) : null);

export const waiting = (text = t("loading")) => h("p.soft.waiting", { role: "status" }, text);

// A dialog over the page; `fill` gets a function that closes it with a result, and gives its content.
export function dialog(title, fill, { kind = "" } = {}) {
    return new Promise((resolve) => {
        const close = (result) => {
            made.close();
            made.remove();
            resolve(result);
        };
        const heading = h("h2", title);
        heading.id = `title-${Math.random().toString(36).slice(2)}`;
        const made = h(`dialog${kind ? "." + kind : ""}`, { "aria-labelledby": heading.id, oncancel: () => close(null) },
            h("div.dialog-head", heading, button("close", t("close"), () => close(null), { bare: true })), h("div.dialog-body", fill(close)));
        made.addEventListener("click", (event) => event.target === made && close(null));
        document.body.append(made);
        made.showModal();
        // what is to be filled in, not the button that closes; a phone's keyboard would cover half of it
        if (matchMedia("(min-width: 56rem)").matches) made.querySelector(".dialog-body :is(input, select, textarea)")?.focus();
    });
}

export const confirm = (title, text, action) => dialog(title, (close) => [h("p", text),
    h("div.row.end", button(null, t("cancel"), () => close(false)), button(null, action, () => close(true), { kind: "main" }))]);

// A field with its label and what it is for; `input` must have an id.
export function field(label, input, hint) {
    if (hint) set(input, { "aria-describedby": `${input.id}-hint` });
    const about = hint ? h("p.hint", hint) : null;
    if (about) about.id = `${input.id}-hint`;
    return h("div.field", h("label", { for: input.id }, label), input, about);
}

// Asks for one line.
export const ask_line = (title, label, value, action, hint) => dialog(title, (close) => {
    const input = h("input#line", { type: "text", value, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    return h("form", { onsubmit: (event) => { event.preventDefault(); if (input.value.trim()) close(input.value.trim()); } },
        field(label, input, hint), h("div.row.end", button(null, t("cancel"), () => close(null)), h("button.main", { type: "submit" }, action)));
});

// How far something is, for eyes and for screen readers.
export function bar(part, label) {
    const inner = h("div"), made = h("div.bar", { role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, inner);
    made.to = (now) => {
        const percent = Math.round(100 * Math.min(1, Math.max(0, now || 0)));
        inner.style.width = `${percent}%`;
        set(made, { "aria-valuenow": percent });
    };
    made.to(part);
    return made;
}

export function save_file(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}
