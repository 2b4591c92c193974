// upload.js - a model's file sent in pieces that can be gone on with, by the tus protocol (/v1/uploads). A connection that
// breaks is made again behind what the box has; the same file chosen anew goes on too, also after the page was closed: the
// box's list says what is under way, and the browser's storage when the file was written that each began with.

import { get, Refused, send } from "./api.js";

const PIECE_BYTES = 16 << 20, TRIES_MOST = 8;
const VERSION = { "Tus-Resumable": "1.0.0" };

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const model_of = (file) => file.name.replace(/\.gguf$/, "");

const WRITTEN = "tawny.upload.";

function remember(path, file) {
    try {
        localStorage.setItem(WRITTEN + path, file.lastModified);
    } catch {
        // no room there: it cannot be gone on with after the page was closed
    }
}

async function begin(file, signal) {
    const { data } = await get("/v1/uploads", { signal });
    const held = data.find((one) => one.id.startsWith("upload-") && one.name === model_of(file) && one.bytes === file.size && one.status === "arriving" && !one.active &&
        localStorage.getItem(`${WRITTEN}/v1/uploads/${one.id}`) === String(file.lastModified));
    if (held) return { path: `/v1/uploads/${held.id}`, offset: held.received };
    const answer = await send("POST", "/v1/uploads", { signal, headers: { ...VERSION, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${base64(file.name)}` } });
    const path = answer.headers.get("Location");
    remember(path, file);
    return { path, offset: Number(answer.headers.get("Upload-Offset")) || 0 };
}

async function offset_of(path, signal) {
    const answer = await send("HEAD", path, { signal, headers: VERSION });
    return Number(answer.headers.get("Upload-Offset"));
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// progress(bytes) is called as it goes; resolves when the box has all of it.
export async function upload(file, progress, signal) {
    let { path, offset } = await begin(file, signal), tries = 0;
    progress(offset, path);
    while (offset < file.size) {
        try {
            const answer = await send("PATCH", path, { signal, headers: { ...VERSION, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
                body: file.slice(offset, offset + PIECE_BYTES) });
            offset = Number(answer.headers.get("Upload-Offset"));
            tries = 0;
        } catch (error) {
            const passing = error instanceof Refused && (error.status === 0 || error.status === 409 || error.status === 423 || error.status >= 500);
            if (!passing || ++tries > TRIES_MOST) throw error;
            await pause(Math.min(15000, 500 * 2 ** tries));
            offset = await offset_of(path, signal).catch((again) => { if (again.status) throw again; return offset; });
        }
        progress(offset, path);
    }
    localStorage.removeItem(WRITTEN + path);
}
