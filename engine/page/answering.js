// answering.js - answers on their way: any number of conversations at once, whichever area is shown. What changes is told
// by an event "changed" of `changes` (detail: the conversation and the node).

import { events, get } from "./api.js";
import * as conversation_of from "./conversation.js";
import * as kept from "./kept.js";
import { run as run_tool, tools_of } from "./tools.js";

const ROUNDS_MOST = 8; // of calls by themselves, before a person is asked
const KEEP_MS = 400;
const running = new Map(); // conversation's id -> {conversation, abort}
export const changes = new EventTarget();
export const is_running = (id) => running.has(id);
export const n_running = () => running.size;
export const stop = (id) => running.get(id)?.abort.abort();

const tell = (conversation, node) => changes.dispatchEvent(new CustomEvent("changed", { detail: { conversation, node } }));

// A page that goes away may see its streams break off before it is told that it goes: both put aside what there is.
const put_aside = () => kept.put_aside([...running.values()].map((one) => one.conversation));
window.addEventListener("pagehide", put_aside);

// And before anything is shown, since what a page writes while it goes may come too late for the one that follows; for no more
// than a twentieth of the time.
let next_aside = 0;
function put_aside_often() {
    const began = performance.now();
    if (began < next_aside) return;
    put_aside();
    const done = performance.now();
    next_aside = done + Math.max(40, 20 * (done - began));
}

// The fields of the request that the conversation's settings say; what is not set is left to the model.
function fields(settings) {
    const out = {};
    for (const name of ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "seed", "max_tokens"])
        if (Number.isFinite(settings[name])) out[name] = settings[name];
    if (settings.model) out.model = settings.model;
    if (settings.stop?.length) out.stop = settings.stop;
    if (settings.thinking) out.enable_thinking = settings.thinking === "on";
    if (settings.effort) out.reasoning_effort = settings.effort;
    if (settings.schema) out.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema: JSON.parse(settings.schema) } };
    const tools = tools_of(settings);
    if (tools.length) out.tools = tools;
    return out;
}

function take_delta(node, delta) {
    if (delta.content) node.text += delta.content;
    if (delta.reasoning_content) node.thinking = (node.thinking ?? "") + delta.reasoning_content;
    for (const call of delta.tool_calls ?? []) {
        node.calls ??= [];
        const held = (node.calls[call.index] ??= { id: "", name: "", arguments: "" });
        held.id ||= call.id ?? "";
        held.name += call.function?.name ?? "";
        held.arguments += call.function?.arguments ?? "";
    }
    return Boolean(delta.content || delta.reasoning_content || delta.tool_calls);
}

// One answer, into `node`, which is the leaf: one that has text already is gone on with.
async function write(conversation, node, signal) {
    let saved = Date.now(), began = 0, n = 0;
    const goes_on = Boolean(node.text), sent = conversation_of.messages(conversation);
    if (!goes_on) sent.pop();
    Object.assign(node, { state: "writing", error: "", finish: "", changed: saved });
    tell(conversation, node);
    const body = { messages: sent, stream: true, stream_options: { include_usage: true }, ...fields(conversation.settings) };
    for await (const event of events("/v1/chat/completions", body, signal)) {
        node.model = event.model ?? node.model;
        const choice = event.choices?.[0];
        if (choice && take_delta(node, choice.delta ?? {})) {
            const now = performance.now();
            if (began === 0) {
                began = now;
                if (node.thinking && !node.text) node.thought_from = Date.now();
            } else node.rate = (++n * 1000) / (now - began);
            if (node.thought_from && node.text && !node.thought_ms) node.thought_ms = Date.now() - node.thought_from;
        }
        if (choice?.finish_reason) node.finish = choice.finish_reason;
        if (event.usage) node.usage = event.usage;
        if (event.timings) node.timings = event.timings;
        if (Date.now() - saved > KEEP_MS) {
            node.changed = saved = Date.now();
            kept.keep(conversation).catch(() => {});
        }
        put_aside_often();
        tell(conversation, node);
    }
    Object.assign(node, { state: "done", changed: Date.now() });
}

async function answer_calls(conversation, signal) {
    for (const call of conversation_of.open_calls(conversation)) {
        const text = await run_tool(call, { get, signal });
        if (text === null) return false; // a person answers it
        tell(conversation, conversation_of.add(conversation, { role: "tool", call_id: call.id, name: call.name, text }));
    }
    return true;
}

// Answers what stands at the leaf: a question, what tools have said, or an answer that was cut.
export async function answer(conversation) {
    if (running.has(conversation.id)) return;
    const abort = new AbortController();
    running.set(conversation.id, { conversation, abort });
    put_aside(); // its address is shown before the disk has kept it
    let node = conversation.nodes[conversation.at];
    try {
        for (let round = 0; round < ROUNDS_MOST; round++) {
            if (node.role !== "assistant") node = conversation_of.add(conversation, { role: "assistant", state: "writing" });
            await write(conversation, node, abort.signal);
            if (conversation_of.open_calls(conversation).length === 0 || !(await answer_calls(conversation, abort.signal))) break;
            node = conversation.nodes[conversation.at];
        }
    } catch (error) {
        node.state = error.name === "AbortError" ? "stopped" : "broken";
        if (node.state === "broken") node.error = { code: error.code ?? "", status: error.status ?? 0, message: error.message };
    }
    conversation.changed = node.changed = Date.now();
    put_aside(); // its end too: the page may be left before the line after the next has kept it
    running.delete(conversation.id);
    tell(conversation, node);
    await kept.keep(conversation).then(() => running.size === 0 && kept.forget_aside()).catch(() => {});
}
