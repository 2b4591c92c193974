// composer.js - where a message is written: the text, files that go with it as text, which model, the settings, and stop
// while an answer comes. Enter sends, Shift+Enter breaks the line.

import { is_running } from "./answering.js";
import { keep_model } from "./chat_settings.js";
import { h, icon } from "./dom.js";
import { bytes, t } from "./text.js";
import { button, note } from "./ui.js";

const FILE_BYTES_MOST = 1 << 20, FILES_MOST = 16;

// {name, text}; null (and a note): it is none of text, or too long.
async function read(file) {
    if (file.size > FILE_BYTES_MOST) {
        note(t("file.too_large", { name: file.name, most: bytes(FILE_BYTES_MOST) }), "bad");
        return null;
    }
    try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
        if (text.includes("\0")) throw new Error();
        return { name: file.name, text };
    } catch {
        note(t("file.no_text", { name: file.name }), "bad");
        return null;
    }
}

function model_choice(conversation, models) {
    const choice = h("select.quiet", { "aria-label": t("model"), onchange: () => { conversation.settings.model = choice.value; keep_model(choice.value); } },
        h("option", { value: "" }, t("model.default")), models.map((model) => h("option", { value: model.id }, model.id)));
    choice.value = models.some((model) => model.id === conversation.settings.model) ? conversation.settings.model : "";
    if (models.length) conversation.settings.model = choice.value; // what is shown is what is asked, also where that model is gone
    return choice;
}

export function composer({ conversation, models, send, stop, sheet }) {
    let files = [];
    const text = h("textarea#prompt", { rows: "1", placeholder: t("prompt"), "aria-label": t("prompt") });
    const chips = h("div.chips"), end = h("span"), choice = h("span");
    const pick = h("input", { type: "file", multiple: true, hidden: true, onchange: () => add([...pick.files]) });
    const made = h("form.composer", { onsubmit: (event) => { event.preventDefault(); go(); } }, chips, text, pick,
        h("div.row.between", h("span.row", button("clip", t("attach"), () => pick.click(), { bare: true }), button("settings", t("settings"), sheet, { bare: true }), choice), end));

    function grow() {
        text.style.height = "auto";
        text.style.height = `${Math.min(text.scrollHeight, innerHeight * 0.4)}px`;
    }

    async function add(given) {
        for (const file of given.slice(0, FILES_MOST - files.length)) {
            const taken = await read(file);
            if (taken) files.push(taken);
        }
        pick.value = "";
        draw_chips();
    }

    function draw_chips() {
        chips.replaceChildren(...files.map((file) => h("span.chip", icon("file"), h("span", file.name),
            button("close", t("file.remove", { name: file.name }), () => { files = files.filter((one) => one !== file); draw_chips(); }, { bare: true }))));
    }

    function go() {
        if (is_running(conversation.id) || (!text.value.trim() && files.length === 0)) return;
        send(text.value, files);
        text.value = "";
        files = [];
        draw_chips();
        grow();
    }

    made.refresh = () => {
        const busy = is_running(conversation.id), shape = `${busy} ${conversation.settings.model}`;
        if (made.shape === shape) return;
        made.shape = shape;
        choice.replaceChildren(model_choice(conversation, models));
        end.replaceChildren(busy ? button("stop", t("stop"), stop, { kind: "main", bare: true }) : h("button.main.bare", { type: "submit", "aria-label": t("send"), title: t("send") }, icon("send")));
    };
    made.fill = (value) => { text.value = value; grow(); text.focus(); };
    made.focus = () => text.focus();
    made.takes_drops = (place) => {
        place.addEventListener("dragover", (event) => { event.preventDefault(); made.classList.add("over"); });
        place.addEventListener("dragleave", () => made.classList.remove("over"));
        place.addEventListener("drop", (event) => {
            event.preventDefault();
            made.classList.remove("over");
            add([...event.dataTransfer.files]);
        });
    };
    text.addEventListener("input", grow);
    text.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            go();
        }
    });
    text.addEventListener("paste", (event) => event.clipboardData.files.length && (event.preventDefault(), add([...event.clipboardData.files])));
    made.refresh();
    return made;
}
