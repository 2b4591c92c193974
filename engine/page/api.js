// api.js - the box's API as the page uses it: with the key, and errors as one kind of thing. The key is in the session's
// storage, or in the browser's where the person chose to keep it; nowhere else, and in no address.

const KEY = "tawny.key";
const store = (kept) => (kept ? localStorage : sessionStorage);

export const key = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "";
export const key_is_kept = () => localStorage.getItem(KEY) !== null;

export function key_set(secret, kept) {
    key_forget();
    store(kept).setItem(KEY, secret);
}

export function key_forget() {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
}

// status 0: the box was not reached. code: the API's word for it; text: its sentence, for a person.
export class Refused extends Error {
    constructor(status, code, text, param = null, retry_s = 0) {
        super(text);
        Object.assign(this, { status, code, param, retry_s });
    }
}

async function refused(answer) {
    let error = {};
    try {
        const body = await answer.json();
        error = body.error ?? body;
    } catch {
        // not JSON: the code says enough
    }
    if (typeof error === "string") error = { message: error };
    return new Refused(answer.status, error.code ?? "", error.message ?? `HTTP ${answer.status}`, error.param ?? null,
        Number(answer.headers.get("Retry-After")) || 0);
}

// The box does not take it any more; another one, that was given since, stays.
function key_refused(secret) {
    for (const storage of [sessionStorage, localStorage]) if (storage.getItem(KEY) === secret) storage.removeItem(KEY);
}

// The answer's Response; a Refused where it is none that was wished for.
export async function send(method, path, { body, headers = {}, signal, secret = key() } = {}) {
    const sent = { ...headers };
    if (secret) sent.Authorization = `Bearer ${secret}`;
    if (body !== undefined && !(body instanceof Blob)) {
        sent["Content-Type"] ??= "application/json";
        body = JSON.stringify(body);
    }
    let answer;
    try {
        answer = await fetch(path, { method, headers: sent, body, signal, cache: "no-store", credentials: "omit" });
    } catch (error) {
        throw error.name === "AbortError" ? error : new Refused(0, "unreachable", "");
    }
    if (answer.ok) return answer;
    const why = await refused(answer);
    if (answer.status === 401 && secret === key()) {
        key_refused(secret);
        document.dispatchEvent(new Event("signed-out"));
    }
    throw why;
}

export async function ask(method, path, body, options = {}) {
    const answer = await send(method, path, { ...options, body });
    const type = answer.headers.get("Content-Type") ?? "";
    return type.startsWith("application/json") ? answer.json() : answer.text();
}

export const get = (path, options) => ask("GET", path, undefined, options);

// /health, whatever it says (503 is an answer too; a server that ends refuses it by its code); null: nothing is known.
export async function health(signal) {
    try {
        const now = await (await fetch("/health", { cache: "no-store", signal })).json();
        return now.status ? now : now.error?.code === "stopping" ? { status: "stopping" } : null;
    } catch {
        return null;
    }
}

// The events of a stream, each an object; ends at [DONE]. One that ends without that, or says an error, is a Refused.
export async function* events(path, body, signal) {
    const answer = await send("POST", path, { body, signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        let piece;
        try {
            piece = await reader.read();
        } catch (error) {
            throw error.name === "AbortError" ? error : new Refused(0, "broken_off", "");
        }
        if (piece.done) throw new Refused(0, "broken_off", "");
        const lines = (rest + piece.value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
            if (!line.startsWith("data: ")) continue;
            if (line.startsWith("data: [DONE]")) return;
            const event = JSON.parse(line.slice(6));
            if (event.error) throw new Refused(event.error.code === "stopping" ? 503 : 500, event.error.code ?? "", event.error.message);
            yield event;
        }
    }
}
