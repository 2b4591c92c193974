// conversation.js - a conversation as data: messages are nodes of a tree, so that an edited question or another answer is
// a branch beside the first. `at` is the leaf that is shown; what is shown is the way from the root to it.
//
// A node: {id, parent, role, text, time} and, of a user's, files [{name, text}]; of an assistant's, thinking, calls
// [{id, name, arguments}], model, usage, timings, finish, error, state ("writing", "done", "stopped", "broken"), changed
// (when it was last written to); of a tool's, call_id and name.

export const new_id = () => (crypto.randomUUID ? crypto.randomUUID() : String(Date.now()) + Math.random().toString(36).slice(2));

export const make = (settings) => ({ id: new_id(), title: "", created: Date.now(), changed: Date.now(), settings: structuredClone(settings), nodes: {}, at: null });

export function add(conversation, node) {
    const made = { id: new_id(), parent: conversation.at, time: Date.now(), text: "", ...node };
    conversation.nodes[made.id] = made;
    conversation.at = made.id;
    conversation.changed = made.time;
    if (!conversation.title && made.role === "user") conversation.title = title_of(made);
    return made;
}

const title_of = (node) => ((node.text.trim() || node.files?.[0]?.name || "").split("\n")[0]).slice(0, 70);

export function path(conversation, at = conversation.at) {
    const found = [];
    for (let node = conversation.nodes[at]; node; node = conversation.nodes[node.parent]) found.unshift(node);
    return found;
}

export const children = (conversation, parent) =>
    Object.values(conversation.nodes).filter((node) => node.parent === parent).sort((a, b) => a.time - b.time);

export const siblings = (conversation, node) => children(conversation, node.parent);

// The branch that goes through this node, down to where it was last written.
export function choose(conversation, node) {
    for (let next = node; next; next = children(conversation, next.id).at(-1)) conversation.at = next.id;
}

// A file as it is told to the model: fenced by more ticks than it has itself.
function file_text({ name, text }) {
    const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map((found) => found[0].length + 1)));
    return `${name}:\n${fence}\n${text}\n${fence}`;
}

export const user_text = (node) => [node.text, ...(node.files ?? []).map(file_text)].filter(Boolean).join("\n\n");

// As /v1/chat/completions takes it. Thoughts are told back only where the answer is not finished: behind the last question.
export function messages(conversation) {
    const all = path(conversation), last = all.findLastIndex((node) => node.role === "user");
    const out = conversation.settings.system ? [{ role: "system", content: conversation.settings.system }] : [];
    all.forEach((node, at) => {
        if (node.role === "user") out.push({ role: "user", content: user_text(node) });
        else if (node.role === "tool") out.push({ role: "tool", tool_call_id: node.call_id, name: node.name, content: node.text });
        else out.push({ role: "assistant", content: node.text, ...(at > last && node.thinking ? { reasoning_content: node.thinking } : {}),
            ...(node.calls?.length ? { tool_calls: node.calls.map((call) => ({ id: call.id, type: "function",
                function: { name: call.name, arguments: call.arguments } })) } : {}) });
    });
    return out;
}

// The calls of the leaf's answer that nobody has answered yet.
export function open_calls(conversation) {
    const all = path(conversation), at = all.findLastIndex((node) => node.role === "assistant");
    const answered = new Set(all.slice(at + 1).map((node) => node.call_id));
    return (all[at]?.calls ?? []).filter((call) => !answered.has(call.id));
}

export function as_markdown(conversation, names) {
    return `# ${conversation.title}\n\n${path(conversation).filter((node) => node.text || node.files?.length).map((node) =>
        `## ${names[node.role]}\n\n${node.role === "user" ? user_text(node) : node.text}`).join("\n\n")}\n`;
}

// What was read from a file: a conversation, or null. Nothing is taken over that this page would not have written.
export function from_file(data) {
    const text = (value) => (typeof value === "string" ? value : "");
    if (!data || typeof data.nodes !== "object" || !data.nodes) return null;
    const nodes = {};
    for (const [id, node] of Object.entries(data.nodes)) {
        if (!["user", "assistant", "tool"].includes(node?.role) || node.id !== id) return null;
        nodes[id] = { id, parent: data.nodes[node.parent] ? node.parent : null, role: node.role, text: text(node.text), time: Number(node.time) || Date.now(),
            ...(node.role === "user" ? { files: (Array.isArray(node.files) ? node.files : []).map((file) => ({ name: text(file?.name), text: text(file?.text) })) } : {}),
            ...(node.role === "assistant" ? { thinking: text(node.thinking), model: text(node.model), state: "done", calls: (Array.isArray(node.calls) ? node.calls : [])
                .map((call) => ({ id: text(call?.id), name: text(call?.name), arguments: text(call?.arguments) })) } : {}),
            ...(node.role === "tool" ? { call_id: text(node.call_id), name: text(node.name) } : {}) };
    }
    if (!nodes[data.at] && Object.keys(nodes).length) return null;
    for (const node of Object.values(nodes)) // a ring would have no end
        for (let up = node, n = 0; up; up = nodes[up.parent]) if (n++ > Object.keys(nodes).length) return null;
    return { id: new_id(), title: text(data.title), created: Number(data.created) || Date.now(), changed: Date.now(), at: data.at ?? null, nodes,
        settings: data.settings && typeof data.settings === "object" ? structuredClone(data.settings) : {} };
}
