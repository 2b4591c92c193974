// ollama_client.mjs - what the scripts of the `ollama` npm client share: the client, a check, a refusal that is expected.
import { Ollama } from "ollama";

export const client = new Ollama({ host: process.env.TAWNY_URL, headers: { Authorization: "Bearer " + process.env.TAWNY_KEY } });

// Prints "ok NAME", or "FAILED NAME: why" of what test() returned or threw.
export async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED ollama npm: ${name}: ${why}` : `ok ollama npm: ${name}`);
    } catch (error) {
        console.log(`FAILED ollama npm: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
}

export async function refused(status, words, ask) {
    try {
        await ask();
        return "it was not refused";
    } catch (error) {
        if (error.status_code !== status || !error.message.includes(words)) return `${error.name} ${error.status_code}: ${error.message}`;
    }
}
