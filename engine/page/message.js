// message.js - one message as it is shown: made once, and brought up to date while it is written, but for no longer than a
// quarter of the time: an answer's Markdown is made anew as it grows, and all of it is laid out.

import { children, siblings } from "./conversation.js";
import { h, icon } from "./dom.js";
import { markdown } from "./markdown.js";
import { duration, number, t, when } from "./text.js";
import { button, copier, sentence } from "./ui.js";

function branches(conversation, node, acts) {
    const all = siblings(conversation, node), at = all.indexOf(node);
    if (all.length < 2) return null;
    const to = (next) => () => acts.choose(all[next]);
    return h("span.branches", button("left", t("branch.before"), to(at - 1), { bare: true, disabled: at === 0 }),
        h("span", { "aria-label": t("branch.of", { n: at + 1, all: all.length }) }, `${at + 1}/${all.length}`),
        button("right", t("branch.next"), to(at + 1), { bare: true, disabled: at === all.length - 1 }));
}

function files(node) {
    return node.files?.length ? h("div.files", node.files.map((file) =>
        h("details.file", h("summary", icon("file"), file.name || t("file")), h("pre", { tabindex: "0" }, file.text)))) : null;
}

// How an answer went, in small letters.
function facts(node) {
    const out = [], rate = node.timings?.predicted_per_second ?? node.rate;
    if (node.model) out.push(node.model);
    if (rate) out.push(t("per_second", { n: number(rate, 1) }));
    if (node.usage) out.push(t("tokens", { n: number(node.usage.completion_tokens) }));
    if (node.timings?.draft_n_accepted) out.push(t("guessed", { n: number(node.timings.draft_n_accepted) }));
    if (node.finish === "length") out.push(t("finish.length"));
    if (node.state === "stopped") out.push(t("stopped"));
    return out.join(" · ");
}

function thought(node) {
    const head = h("summary"), body = h("div.thought-text"), made = h("details.thought", head, body);
    made.refresh = () => {
        const busy = node.state === "writing" && !node.text;
        head.textContent = busy ? t("thinking") : node.thought_ms ? t("thought_for", { time: duration(node.thought_ms / 1000) }) : t("thought");
        made.classList.toggle("busy", busy);
        if (body.textContent !== node.thinking) body.textContent = node.thinking;
    };
    return made;
}

// A call, and what came of it: typed in by a person where the page has no such tool.
function call_card(call, answer, acts) {
    const head = h("summary", icon("tool"), h("span", call.name || "…"), h("span.tag", answer ? t("call.done") : t("call.open")));
    const made = h("details.call", { open: !answer && acts.may_answer }, head, h("pre", { tabindex: "0", "aria-label": t("call.arguments") }, call.arguments || "{}"));
    if (answer) made.append(h("p.hint", t("call.result")), h("pre", { tabindex: "0", "aria-label": t("call.result") }, answer.text));
    else if (acts.may_answer) {
        const text = h("textarea", { rows: "2", "aria-label": t("call.answer", { name: call.name }), placeholder: t("call.answer", { name: call.name }) });
        made.append(h("form", { onsubmit: (event) => { event.preventDefault(); acts.answer_call(call, text.value); } }, text,
            h("div.row.end", h("button.main.small", { type: "submit" }, t("call.send")))));
    }
    return made;
}

function user_message(conversation, node, acts) {
    return h("article.message.user", { "aria-label": t("you") }, h("div.bubble", files(node), node.text ? h("div.typed", node.text) : null),
        h("div.actions", branches(conversation, node, acts), button("edit", t("edit"), () => acts.edit(node), { bare: true }),
            copier(() => node.text)));
}

function assistant_message(conversation, node, acts) {
    const text = h("div.prose"), calls = h("div"), wrong = h("div"), bottom = h("div.actions"), thoughts = thought(node);
    const made = h("article.message.assistant", { "aria-label": t("model") }, thoughts, text, calls, wrong, bottom);
    let drawn = null, next = 0, timer = 0;

    function draw_text() {
        if (node.text === drawn) return;
        drawn = node.text;
        text.replaceChildren(markdown(drawn));
    }

    function draw_calls() {
        const answers = children(conversation, node.id).length ? acts.answers_of(node) : new Map();
        calls.replaceChildren(...(node.calls ?? []).filter(Boolean).map((call) =>
            call_card(call, answers.get(call.id), { ...acts, may_answer: node.state !== "writing" && acts.is_last(node) && !acts.is_running() })));
    }

    function draw_bottom() {
        const writing = node.state === "writing", ends = acts.is_last(node);
        bottom.replaceChildren(...[branches(conversation, node, acts), writing ? null : copier(() => node.text),
            writing || acts.is_running() ? null : button("again", t("retry"), () => acts.retry(node), { bare: true }),
            ends && node.text && !node.calls?.length && (["stopped", "broken"].includes(node.state) || node.finish === "length") && !acts.is_running()
                ? button("on", t("go_on"), () => acts.go_on(node), { kind: "small" }) : null,
            h("span.facts", { title: when(new Date(node.time)) }, facts(node))].filter(Boolean));
    }

    made.refresh = () => {
        clearTimeout(timer);
        const now = performance.now();
        if (node.state === "writing" && now < next) {
            timer = setTimeout(made.refresh, next - now);
            return;
        }
        draw();
        acts.grown();
        made.getBoundingClientRect(); // laid out now, so that the time it takes counts
        next = performance.now() + Math.max(60, 4 * (performance.now() - now));
    };

    function draw() {
        const writing = node.state === "writing";
        made.setAttribute("aria-busy", String(writing));
        thoughts.hidden = !node.thinking;
        if (node.thinking) thoughts.refresh();
        made.classList.toggle("empty", writing && !node.text && !node.thinking);
        draw_text();
        const shape = JSON.stringify([node.state, node.calls, acts.is_running(), acts.is_last(node), conversation.at, node.error]);
        if (shape === made.shape) {
            const small = bottom.querySelector(".facts");
            if (small) small.textContent = facts(node);
            return;
        }
        made.shape = shape;
        draw_calls();
        draw_bottom();
        wrong.replaceChildren(...(node.state === "broken" ? [h("p.wrong", { role: "alert" }, node.error ? sentence(node.error) : t("was_cut"))] : []));
    }
    made.refresh();
    return made;
}

// acts: what its buttons do, and what it asks of the thread it stands in. A tool's answer is shown with its call: null.
export function message(conversation, node, acts) {
    if (node.role === "tool") return null;
    return node.role === "user" ? user_message(conversation, node, acts) : assistant_message(conversation, node, acts);
}
