// chat.js - the chat: the list of conversations, the thread of one, and where the next message is written. What is shown
// follows from the conversation (conversation.js) and from what is being answered (answering.js); leaving the area stops
// nothing.

import { answer, changes, is_running, stop } from "./answering.js";
import { get } from "./api.js";
import { conversation_list } from "./chat_list.js";
import { settings_kept, settings_sheet } from "./chat_settings.js";
import { composer } from "./composer.js";
import * as data from "./conversation.js";
import { h, icon } from "./dom.js";
import * as kept from "./kept.js";
import { message } from "./message.js";
import { number, t } from "./text.js";
import { bar, button, note, problem, say, sentence } from "./ui.js";

// What the models are: for the choice, and for how much their context holds.
async function models_of() {
    try {
        const { data: all } = await get("/v1/models");
        return all.filter((model) => model.capabilities?.includes("completion") ?? true);
    } catch (error) {
        if (error.status !== 401) note(sentence(error), "bad");
        return [];
    }
}

function thread_of(conversation, acts) {
    const list = h("div.thread", { role: "log", "aria-live": "off", "aria-label": t("conversation") }), shown = new Map();
    let follows = true;
    const scroller = () => list.closest(".thread-scroll");
    const grown = () => follows && scroller()?.scrollTo({ top: scroller().scrollHeight });
    const about = { ...acts, grown, is_running: () => is_running(conversation.id), is_last: (node) => data.path(conversation).filter((one) => one.role !== "tool").at(-1) === node,
        answers_of: () => new Map(data.path(conversation).filter((one) => one.role === "tool").map((one) => [one.call_id, one])) };

    list.refresh = () => {
        const way = data.path(conversation), ids = new Set(way.map((node) => node.id));
        for (const [id, element] of shown) if (!ids.has(id)) { element.remove(); shown.delete(id); }
        for (const node of way) {
            if (!shown.has(node.id)) {
                const made = message(conversation, node, about);
                if (!made) continue;
                shown.set(node.id, made);
            }
            const element = shown.get(node.id);
            if (element.parentNode !== list || element !== list.lastElementChild) list.append(element);
            element.refresh?.();
        }
        grown();
    };
    list.redraw = () => { shown.clear(); list.replaceChildren(); list.refresh(); };
    list.update = (node) => (shown.has(node.id) && data.path(conversation).at(-1) === node ? (shown.get(node.id).refresh(), grown()) : list.refresh());
    list.to_end = () => { follows = true; grown(); };
    list.watch = (box) => box.addEventListener("scroll", () => { follows = box.scrollHeight - box.scrollTop - box.clientHeight < 60; }, { passive: true });
    list.element_of = (node) => shown.get(node.id);
    return list;
}

// An empty conversation: what can be asked of it.
function greeting(write) {
    const ideas = [t("idea.1"), t("idea.2"), t("idea.3")];
    return h("div.greeting", document.querySelector(".brand svg").cloneNode(true), h("h2", t("greeting")), h("p.soft", t("greeting.text")),
        h("div.ideas", ideas.map((idea) => button(null, idea, () => write(idea)))));
}

// How full the context is: the tokens of the last answer's request and its own.
function meter(conversation, models) {
    const label = h("span"), line = bar(0, t("context")), made = h("div.meter", line, label);
    made.refresh = () => {
        const last = data.path(conversation).findLast((node) => node.usage), name = last?.model || conversation.settings.model;
        const model = models.find((one) => one.id === name) ?? models.find((one) => one.status === "ready");
        const context = model?.context ?? model?.context_trained ?? 0, used = last ? last.usage.prompt_tokens + last.usage.completion_tokens : 0;
        made.hidden = !used || !context;
        line.to(context ? used / context : 0);
        label.textContent = t("context.used", { used: number(used), context: number(context) });
    };
    return made;
}

function editor(node, done) {
    const text = h("textarea", { rows: Math.min(12, node.text.split("\n").length + 1), "aria-label": t("edit"), value: node.text });
    return h("form.message.user.editing", { onsubmit: (event) => { event.preventDefault(); done(text.value); } }, text,
        h("div.row.end", button(null, t("cancel"), () => done(null)), h("button.main", { type: "submit" }, t("send"))));
}

// What the buttons of the thread's messages do.
function acts_of(conversation, thread, begin) {
    return {
        choose: (node) => { data.choose(conversation, node); kept.keep(conversation); thread().redraw(); },
        retry: (node) => { conversation.at = node.parent; begin(); },
        go_on: () => begin(),
        answer_call: (call, text) => {
            data.add(conversation, { role: "tool", call_id: call.id, name: call.name, text });
            if (data.open_calls(conversation).length === 0) begin();
            else thread().redraw();
        },
        edit: (node) => {
            const place = thread().element_of(node), form = editor(node, (text) => {
                if (text !== null && (text.trim() || node.files?.length)) {
                    conversation.at = node.parent;
                    data.add(conversation, { role: "user", text, files: node.files ?? [] });
                    begin();
                } else thread().redraw();
            });
            place.replaceWith(form);
            form.querySelector("textarea").focus();
        },
    };
}

export async function show(place, id) {
    const models = await models_of();
    let conversation = id ? await kept.find(id) : null;
    if (id && !conversation) {
        place.append(h("h1", t("area.chat")), problem({ message: t("conversation.gone") }), h("p", h("a", { href: "/#/chat" }, t("new_chat"))));
        return null;
    }
    const is_new = !conversation;
    conversation ??= data.make(settings_kept());
    let thread = null;
    const begin = () => { answer(conversation); thread.redraw(); thread.to_end(); write.refresh(); };
    thread = thread_of(conversation, acts_of(conversation, () => thread, begin));
    const send = async (text, files) => {
        data.add(conversation, { role: "user", text, files });
        scroll.replaceChildren(thread);
        begin();
        // Before the disk has it: who reloads on a slow one finds the conversation (kept.js puts it aside), not an empty page.
        if (is_new && !location.hash.includes(conversation.id)) history.replaceState(null, "", `/#/chat/${conversation.id}`);
        await kept.keep(conversation).catch((error) => note(t("not_kept", { text: error?.message ?? "" }), "bad"));
        list.refresh();
    };
    const full = meter(conversation, models);
    const sheet = () => settings_sheet(conversation, models, () => { kept.keep(conversation); write.refresh(); full.refresh(); });
    const write = composer({ conversation, models, send, stop: () => stop(conversation.id), sheet });
    const list = await conversation_list(conversation.id);
    const scroll = h("div.thread-scroll", is_new ? greeting((text) => write.fill(text)) : thread);
    thread.watch(scroll);
    place.append(h("h1.unseen", t("area.chat")), h("div.chat", list, h("div.talk", h("div.talk-head",
        button("list", t("conversations"), () => list.classList.toggle("open"), { bare: true, "aria-expanded": null }),
        h("span.talk-title", conversation.title || t("new_chat")), h("a.button-bare", { href: "/#/chat", "aria-label": t("new_chat"), title: t("new_chat") }, icon("plus"))),
        scroll, h("div.talk-foot", write, full))));
    thread.refresh();
    full.refresh();
    write.takes_drops(place);
    if (matchMedia("(min-width: 56rem)").matches) write.focus();
    scroll.scrollTop = scroll.scrollHeight;
    const changed = ({ detail }) => {
        if (detail.conversation.id === conversation.id) {
            thread.update(detail.node);
            write.refresh();
            if (detail.node.state !== "writing") { full.refresh(); say(t(detail.node.state === "done" ? "answer.done" : "answer.ended")); }
        }
        if (detail.node.state !== "writing") list.refresh();
    };
    changes.addEventListener("changed", changed);
    return () => changes.removeEventListener("changed", changed);
}
