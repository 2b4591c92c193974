// uploads_tus.mjs - models sent by tus's own client from npm: whole, in pieces, stopped and gone on with, ended.
//
// Run by tests/api/uploads.py with TAWNY_URL, TAWNY_KEY, TAWNY_FILE (a model of 8 MB). Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Upload } from "tus-js-client";

const MB = 1 << 20, file = readFileSync(process.env.TAWNY_FILE);
const sha256 = createHash("sha256").update(file).digest("hex"), headers = { Authorization: "Bearer " + process.env.TAWNY_KEY };
const endpoint = process.env.TAWNY_URL + "/v1/uploads";

async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED tus npm: ${name}: ${why}` : `ok tus npm: ${name}`);
    } catch (error) {
        console.log(`FAILED tus npm: ${name}: ${error.message}`.replaceAll("\n", " "));
    }
}

// Until it ends, or until `stop` says so of the bytes that are accepted; gives the upload.
const send = (data, options, stop = () => false) => new Promise((resolve, reject) => {
    const upload = new Upload(data, {
        endpoint, headers, retryDelays: [100, 300, 1000], ...options,
        onError: reject, onSuccess: () => resolve(upload),
        onChunkComplete: (size, accepted) => { if (stop(accepted)) upload.abort().then(() => resolve(upload)); },
    });
    upload.start();
});
const state = async (url) => (await fetch(url, { headers })).json();

await check("in one request", async () => {
    const upload = await send(file, { metadata: { filename: "tus-one.gguf", sha256 } });
    const { status, received } = await state(upload.url);
    if (status !== "done" || received !== file.length) return status + " " + received;
});

await check("in pieces, stopped, gone on with by its address", async () => {
    const metadata = { filename: "tus.gguf", sha256 }, chunkSize = MB;
    const { url } = await send(file, { metadata, chunkSize }, (accepted) => accepted >= 3 * MB);
    const before = await state(url);
    if (before.status !== "arriving" || before.received < 3 * MB || before.received === file.length) return JSON.stringify(before);
    await send(file, { metadata, chunkSize, uploadUrl: url });
    const after = await state(url);
    if (after.status !== "done" || after.sha256 !== sha256) return JSON.stringify(after);
});

await check("with the first bytes in the request that makes it", async () => {
    const upload = await send(file, { metadata: { filename: "tus-two.gguf" }, uploadDataDuringCreation: true, chunkSize: 5 * MB });
    if ((await state(upload.url)).status !== "done") return JSON.stringify(await state(upload.url));
});

await check("a wrong digest is an error, and not tried again", async () => {
    try {
        await send(file, { metadata: { filename: "tus-three.gguf", sha256: "0".repeat(64) } });
        return "it was taken";
    } catch (error) {
        if (!error.message.includes("was expected") || error.originalResponse.getStatus() !== 400) return error.message;
    }
});

await check("ended by the client", async () => {
    const upload = await send(file, { metadata: { filename: "tus-four.gguf" }, chunkSize: MB }, (accepted) => accepted >= MB);
    await Upload.terminate(upload.url, { headers });
    const status = (await fetch(upload.url, { headers })).status;
    if (status !== 404) return "it is still there: " + status;
});
