// kept.js - conversations in the browser's own database (IndexedDB): nowhere else. While an answer is written it is kept
// twice a second; what came since is put aside before it is shown (localStorage, which is written at once), and taken in at
// the next start: a reload loses nothing that was shown.

const NAME = "tawny", STORE = "conversations", ASIDE = "tawny.aside";
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

let all_read = null;

// All, the last changed first.
export async function all() {
    all_read ??= within("readonly", (store) => store.getAll()).then((found) => {
        const changed = new Map(found.map((one) => [one.id, one.changed]));
        const aside = JSON.parse(localStorage.getItem(ASIDE) ?? "[]").filter((one) => one.changed >= (changed.get(one.id) ?? 0));
        for (const conversation of [...found, ...aside]) {
            for (const node of Object.values(conversation.nodes)) if (node.state === "writing") node.state = "broken";
            known.set(conversation.id, conversation);
        }
        return Promise.all(aside.map(keep)).then(forget_aside);
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
    return within("readwrite", (store) => store.put(conversation));
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
