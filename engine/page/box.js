// box.js - the box itself: its device and layers, what the doctor says with his cures, memory by what holds it, requests and
// speed over time, keys, log and audit. What a key may not see says so in its own place, and hides nothing else.

import { get, health, key } from "./api.js";
import { h } from "./dom.js";
import { keys_part } from "./keys.js";
import { plot } from "./plot.js";
import { settings_part } from "./settings.js";
import { crashes_part, machine_card, update_part } from "./system.js";
import { bytes, number, t, when } from "./text.js";
import { button, code_block, problem, waiting } from "./ui.js";

const LOOK_MS = 3000, KEPT = 1200; // an hour
const past = []; // [{at, tokens, prompt, running, waiting}], as long as the page is open
let timer = 0, watching = null;

// ---- over time ----

// The sum of a metric over its labels.
function metric(text, name) {
    let sum = 0;
    for (const line of text.split("\n"))
        if (line.startsWith(name) && (line[name.length] === "{" || line[name.length] === " ")) sum += Number(line.slice(line.lastIndexOf(" ") + 1)) || 0;
    return sum;
}

async function measure() {
    const text = await get("/metrics");
    past.push({ at: Date.now(), tokens: metric(text, "vllm:generation_tokens_total"), prompt: metric(text, "vllm:prompt_tokens_total"),
        running: metric(text, "vllm:num_requests_running"), waiting: metric(text, "vllm:num_requests_waiting") });
    if (past.length > KEPT) past.shift();
}

// A counter that begins anew (the engine was restarted) counts from there.
const rates = (name) => past.slice(1).map((now, i) => [now.at, Math.max(0, now[name] - past[i][name]) * 1000 / Math.max(1, now.at - past[i].at)]);

function plots(place) {
    const per_second = (value) => t("per_second", { n: number(value, 1) });
    place.replaceChildren(plot(t("plot.tokens"), rates("tokens"), per_second), plot(t("plot.prompt"), rates("prompt"), per_second),
        plot(t("plot.requests"), past.map((now) => [now.at, now.running + now.waiting]), (value) => number(value)));
}

// ---- what it is ----

const row = (name, value) => (value === null || value === undefined || value === "" ? null : [h("dt", t(name)), h("dd", value)]);

function device_card(now) {
    return h("div.card", h("div.row.between", h("h2", t("box.device")), h(`span.tag.${now.status}`, t(`state.${now.status}`))), now.error ? h("p.wrong", now.error) : null,
        h("dl", row("device", now.device), row("box.backend", [now.backend, now.driver].filter(Boolean).join(", ")), row("reason", now.why_this_device), row("model", now.model), row("model.layers", now.layers),
            row("context", now.context && t("box.context", { n: number(now.context), trained: number(now.context_trained) })), row("box.context_why", now.context_why),
            row("box.requests", t("box.running", { running: number(now.running ?? 0), waiting: number(now.waiting ?? 0) })), row("box.version", now.version)));
}

function memory_card(now) {
    const memory = now.memory;
    if (!memory) return null;
    const free = Math.max(0, memory.free_before - memory.weights - memory.keys_and_values - memory.states - memory.scratch);
    const parts = [["weights", memory.weights], ["keys_and_values", memory.keys_and_values], ["states", memory.states], ["scratch", memory.scratch], ["free", free]].filter(([, size]) => size > 0);
    const total = parts.reduce((sum, [, size]) => sum + size, 0), stack = h("div.stack", { "aria-hidden": "true" });
    parts.forEach(([name, size], i) => {
        if (name === "free") return;
        const piece = h(`div.part-${i}`);
        piece.style.width = `${100 * size / total}%`;
        stack.append(piece);
    });
    return h("div.card", h("h2", t("box.memory")), stack, h("dl", parts.map(([name, size], i) =>
        [h("dt", name === "free" ? null : h(`span.key.part-${i}`, { "aria-hidden": "true" }), t(`memory.${name}`)), h("dd", bytes(size))])), h("p.hint", t("box.memory.hint")));
}

// ---- the doctor ----

function layer(one) {
    const kind = { ok: "ready", refused: "failed" }[one.state] ?? "";
    return h("details", { open: one.state === "refused" }, h("summary.row", h("span", one.name), h(`span.tag.push${kind ? "." + kind : ""}`, one.state)),
        h("dl", row("doctor.wanted", one.wanted), row("doctor.found", one.found), row("doctor.to_do", one.to_do)), one.lines?.length ? code_block(one.lines.join("\n"), one.name) : null);
}

async function doctor(place) {
    place.replaceChildren(waiting());
    try {
        const report = await get("/v1/doctor?format=json"), skipped = report.layers.filter((one) => one.state === "skipped");
        place.replaceChildren(h("p", h("b", report.verdict)), h("p.hint", report.place), ...report.layers.filter((one) => one.state !== "skipped").map(layer), skipped.length ? h("p.hint", t("doctor.skipped", { names: skipped.map((one) => one.name).join(", ") })) : "");
    } catch (error) {
        place.replaceChildren(problem(error, () => doctor(place)));
    }
}

// ---- log and audit ----

async function logs(place, level) {
    try {
        const { data } = await get(`/v1/logs?limit=200&level=${level}`);
        place.replaceChildren(...data.map((line) => h(`div.${line.level}`, h("span.soft", `${line.time.slice(11, 19)} `), line.text)));
        place.scrollTop = place.scrollHeight;
    } catch (error) {
        place.replaceChildren(problem(error));
    }
}

function log_part() {
    const lines = h("div.card.log", { tabindex: "0", role: "log", "aria-live": "off", "aria-label": t("box.log") });
    const level = h("select#level", { "aria-label": t("box.level"), onchange: () => logs(lines, level.value) }, ["info", "warn", "error", "debug"].map((name) => h("option", { value: name }, t(`level.${name}`))));
    logs(lines, "info");
    return h("section", h("div.row.between", h("h2", t("box.log")), h("div.row", level, button("again", t("refresh"), () => logs(lines, level.value), { bare: true }))), lines);
}

async function audit(place) {
    try {
        const { data } = await get("/v1/audit?limit=50");
        place.replaceChildren(data.length === 0 ? h("p.soft", t("audit.none")) : h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("box.audit") }, h("table", h("thead", h("tr", ["time", "key", "peer", "request", "outcome"].map((name) => h("th", t(`audit.${name}`))))),
            h("tbody", data.reverse().map((one) => h("tr", h("td.tight", when(new Date(one.time))), h("td", one.name ?? "–"), h("td", one.peer), h("td", h("code", `${one.method} ${one.path}`)), h("td", `${one.status}${one.what ? ` · ${one.what}` : ""}`)))))));
    } catch (error) {
        place.replaceChildren(problem(error));
    }
}

export async function show(place) {
    const state = h("div"), machine = h("div"), memory = h("div"), curves = h("div.grid"), report = h("div"), audits = h("div");
    let gone = false;
    const look = watching = async () => {
        clearTimeout(timer);
        const now = await health();
        if (!gone && now) {
            state.replaceChildren(device_card(now));
            memory.replaceChildren(...[memory_card(now)].filter(Boolean));
        } else if (!gone) state.replaceChildren(problem({ code: "unreachable" }, watching));
        try {
            await measure();
            if (!gone) plots(curves);
        } catch (error) {
            if (!gone) curves.replaceChildren(problem(error));
        }
        if (!gone && now) await get("/v1/box").then((box) => machine.replaceChildren(machine_card(box)), () => machine.replaceChildren());
        // goes on, so that the hour is there when one comes back
        if (look === watching && key()) timer = setTimeout(watching, gone ? 4 * LOOK_MS : LOOK_MS);
    };
    watching();
    place.append(h("h1", t("area.box")), state, machine, memory, h("h2", t("box.speed")), curves,
        h("div.row.between", h("h2", t("box.doctor")), button("again", t("refresh"), () => doctor(report), { bare: true })), report, keys_part(), settings_part(), update_part(), crashes_part(), log_part(), h("h2", t("box.audit")), audits);
    doctor(report);
    audit(audits);
    return () => { gone = true; };
}
