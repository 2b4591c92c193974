// chat_list.js - the conversations: looked through, renamed, taken out as files and in again, deleted.

import { is_running } from "./answering.js";
import { as_markdown, from_file } from "./conversation.js";
import { h, icon } from "./dom.js";
import * as kept from "./kept.js";
import { t, when } from "./text.js";
import { ask_line, button, confirm, dialog, note, save_file } from "./ui.js";

const FILE_KIND = "tawny-conversations";
const safe_name = (title) => title.replace(/[^\p{L}\p{N} _-]+/gu, "").trim().slice(0, 60) || "tawny";

const export_json = (name, conversations) =>
    save_file(`${name}.json`, "application/json", JSON.stringify({ kind: FILE_KIND, version: 1, conversations }, null, 1));

async function import_json(file) {
    try {
        const data = JSON.parse(await file.text()), taken = (data.kind === FILE_KIND && Array.isArray(data.conversations) ? data.conversations : []).map(from_file).filter(Boolean);
        for (const conversation of taken) await kept.keep(conversation);
        note(taken.length ? t("imported", { n: taken.length }) : t("import.nothing"), taken.length ? "" : "bad");
    } catch {
        note(t("import.nothing"), "bad");
    }
}

// What can be done with one.
const menu_of = (conversation, changed) => dialog(conversation.title, (close) => h("div.menu",
    button("edit", t("rename"), async () => {
        close();
        const title = await ask_line(t("rename"), t("title"), conversation.title, t("save"));
        if (title) {
            conversation.title = title;
            await kept.keep(conversation);
        }
        changed();
    }),
    button("down", t("export.json"), () => { close(); export_json(safe_name(conversation.title), [conversation]); }),
    button("down", t("export.markdown"), () => {
        close();
        save_file(`${safe_name(conversation.title)}.md`, "text/markdown", as_markdown(conversation, { user: t("you"), assistant: t("model"), tool: t("tool") }));
    }),
    button("bin", t("delete"), async () => {
        close();
        if (await confirm(t("delete"), t("conversation.delete", { title: conversation.title }), t("delete"))) {
            await kept.remove(conversation.id);
            changed(conversation.id);
        }
    }, { kind: "danger" })));

const has = (conversation, word) => conversation.title.toLowerCase().includes(word) ||
    Object.values(conversation.nodes).some((node) => node.text.toLowerCase().includes(word));

export async function conversation_list(current) {
    const items = h("ul"), search = h("input#search", { type: "search", placeholder: t("search"), "aria-label": t("search"), oninput: () => made.refresh() });
    const pick = h("input", { type: "file", accept: ".json,application/json", hidden: true, onchange: async () => { await import_json(pick.files[0]); made.refresh(); } });
    const made = h("aside.conversations", { "aria-label": t("conversations") },
        h("a.button.new", { href: "/#/chat" }, icon("plus"), t("new_chat")), search, items, pick,
        h("div.row", button("up", t("import"), () => pick.click(), { kind: "small" }),
            button("down", t("export.all"), async () => export_json("tawny", await kept.all()), { kind: "small" })));
    made.refresh = async (gone) => {
        if (gone === current) location.hash = "#/chat";
        const word = search.value.trim().toLowerCase(), all = await kept.all(), found = word ? all.filter((one) => has(one, word)) : all;
        items.replaceChildren(...found.map((one) => h("li", h("a", { href: `/#/chat/${one.id}`, "aria-current": one.id === current ? "page" : null },
            h("span.title", one.title || t("new_chat")), h("span.hint", is_running(one.id) ? t("answering") : when(new Date(one.changed)))),
            button("more", t("more_of", { title: one.title }), () => menu_of(one, made.refresh), { bare: true }))),
            ...(found.length ? [] : [h("li.hint.none", t(word ? "search.nothing" : "conversations.none"))]));
    };
    await made.refresh();
    return made;
}
