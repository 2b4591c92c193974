// kept.js - conversations, in this browser alone: in its database (IndexedDB). While an answer is written it is kept twice a
// second; what came since is put aside before it is shown (localStorage, which is written at once, each page under a name of
// its own), and taken in at the next start: a reload loses nothing that was shown. Several pages may be open at once: what is
// kept of a conversation is what all of them wrote.

import { new_id } from "./conversation.js";

const NAME = "tawny", STORE = "conversations", ASIDES = "tawny.aside", ASIDE = `${ASIDES}.${new_id()}`;
let opened = null;
const known = new Map(); // id -> the conversation as this page has it: one object for all

function open() {
    opened ??= new Promise((resolve, reject) => {
        const asked = indexedDB.open(NAME, 1);
        asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
        asked.onsuccess = () => resolve(asked.result);
        asked.onerror = () => reject(asked.error);
    });
    return opened;
}

async function within(mode, act) {
    const database = await open();
    return new Promise((resolve, reject) => {
        const change = database.transaction(STORE, mode), asked = act(change.objectStore(STORE));
        change.oncomplete = () => resolve(asked.result);
        change.onerror = change.onabort = () => reject(change.error);
    });
}

// The nodes of both, of each the one that was written to last; all else is the second's.
function merged(one, other) {
    const nodes = { ...one?.nodes };
    for (const [id, node] of Object.entries(other.nodes))
        if ((nodes[id]?.changed ?? 0) <= (node.changed ?? 0)) nodes[id] = node;
    return { ...other, nodes };
}

let all_read = null;

// All, the last changed first.
export async function all() {
    all_read ??= within("readonly", (store) => store.getAll()).then(async (found) => {
        const left = Object.entries(localStorage).filter(([name]) => name.startsWith(ASIDES)), aside = left.flatMap(([, text]) => JSON.parse(text));
        for (const conversation of [...found, ...aside]) {
            for (const node of Object.values(conversation.nodes)) if (node.state === "writing") node.state = "broken";
            const held = known.get(conversation.id);
            known.set(conversation.id, held?.changed > conversation.changed ? merged(conversation, held) : merged(held, conversation));
        }
        await Promise.all(aside.map((one) => keep(known.get(one.id))));
        for (const [name, text] of left) if (localStorage.getItem(name) === text) localStorage.removeItem(name); // else a page is at it
    });
    await all_read;
    return [...known.values()].sort((a, b) => b.changed - a.changed);
}

export async function find(id) {
    await all();
    return known.get(id) ?? null;
}

export function keep(conversation) {
    known.set(conversation.id, conversation);
    return within("readwrite", (store) => {
        const asked = store.get(conversation.id);
        asked.onsuccess = () => store.put(merged(asked.result, conversation));
        return asked;
    });
}

export function remove(id) {
    known.delete(id);
    return within("readwrite", (store) => store.delete(id));
}

export const forget_aside = () => localStorage.removeItem(ASIDE);

// Now, without waiting: those whose answers are being written.
export function put_aside(conversations) {
    if (conversations.length === 0) return;
    try {
        localStorage.setItem(ASIDE, JSON.stringify(conversations));
    } catch {
        // no room there: what was kept half a second ago is what is left
    }
}
