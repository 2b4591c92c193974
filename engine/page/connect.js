// connect.js - the lines with which each client talks to this box: its own address, model and CA in them. The key is not
// written into them: TAWNY_KEY stands for it, so that what is copied can be shown around.

import { get, health, key } from "./api.js";
import { h } from "./dom.js";
import { FACTS, rich, t } from "./text.js";
import { code_block } from "./ui.js";

// A name as it may stand in a command: whoever brought the model gave it, and a shell reads more than names.
const plain = (name) => (/^[\p{L}\p{N}_.:+@/-]+$/u.test(name) ? name : "MODEL");

// name, steps: a text (of the tables), or [label, lines] to copy.
function clients({ url, model: name, context }) {
    const model = plain(name);
    const ollama = `https://${location.hostname}:11434`, home = ["bash", `export TAWNY_KEY=tawny-...\nexport SSL_CERT_FILE=$PWD/tawny-ca.crt NODE_EXTRA_CA_CERTS=$PWD/tawny-ca.crt`];
    const openai = t("connect.openai", { url: `${url}/v1`, model });
    return [
        ["curl", ["bash", `export TAWNY_KEY=tawny-...
curl --cacert tawny-ca.crt ${url}/v1/chat/completions \\
  -H "Authorization: Bearer $TAWNY_KEY" -H 'Content-Type: application/json' \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}], "stream": true}'`]],
        ["Python (openai)", home, ["python", `import os
from openai import OpenAI

client = OpenAI(base_url="${url}/v1", api_key=os.environ["TAWNY_KEY"])
stream = client.chat.completions.create(
    model="${model}", stream=True,
    messages=[{"role": "user", "content": "Hello!"}])
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)`]],
        ["Node (openai)", home, ["javascript", `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${url}/v1", apiKey: process.env.TAWNY_KEY });
const answer = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(answer.choices[0].message.content);`]],
        ["Claude Code", ["bash", `export TAWNY_KEY=tawny-...
export ANTHROPIC_BASE_URL=${url} ANTHROPIC_AUTH_TOKEN=$TAWNY_KEY NODE_EXTRA_CA_CERTS=$PWD/tawny-ca.crt
export ANTHROPIC_MODEL=${model} ANTHROPIC_DEFAULT_OPUS_MODEL=${model} ANTHROPIC_DEFAULT_SONNET_MODEL=${model} ANTHROPIC_DEFAULT_HAIKU_MODEL=${model}
export CLAUDE_CODE_AUTO_COMPACT_WINDOW=${context} CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
claude`]],
        ["Codex", t("connect.codex"), ["toml", `model = "${model}"
model_provider = "tawny"
[model_providers.tawny]
name = "tawny"
base_url = "${url}/v1"
wire_api = "responses"
env_key = "TAWNY_KEY"`], home],
        ["OpenClaw", t("connect.openclaw"), ["json", JSON.stringify({ models: { mode: "merge", providers: { tawny: { baseUrl: `${url}/v1`,
            apiKey: "${TAWNY_KEY}", api: "openai-completions", models: [{ id: model, name: model, contextWindow: context, maxTokens: 8192 }] } } },
            agents: { defaults: { model: { primary: `tawny/${model}` } } } }, null, 2)], home],
        ["Open WebUI", openai, t("connect.ca_env")],
        ["Continue", t("connect.continue"), ["yaml", `models:
  - name: Tawny
    provider: openai
    model: ${model}
    apiBase: ${url}/v1
    apiKey: tawny-...
    requestOptions:
      caBundlePath: /path/to/tawny-ca.crt`]],
        ["Cline", openai, t("connect.ca_system")],
        ["VS Code", t("connect.vscode"), openai, t("connect.ca_system")],
        ["Home Assistant, n8n", t("connect.ollama", { url: ollama, model }), t("connect.ca_system")],
        ["ollama (Node)", home, ["javascript", `import { Ollama } from "ollama";

const tawny = new Ollama({ host: "${ollama}", headers: { Authorization: "Bearer " + process.env.TAWNY_KEY } });
const answer = await tawny.chat({ model: "${model}", messages: [{ role: "user", content: "Hello!" }] });
console.log(answer.message.content);`]],
    ];
}

export async function show(place) {
    const now = await health();
    const about = { url: location.origin, model: now?.model || "builtin", context: now?.context ?? 32768 };
    const choice = h("select#model-choice", { onchange: () => { about.model = choice.value; list(); } }, h("option", about.model));
    const cards = h("div");
    const list = () => {
        const open = [...cards.querySelectorAll("details")].map((card) => card.open);
        cards.replaceChildren(...clients(about).map(([name, ...steps], at) => h("details", { open: open[at] ?? at === 0 }, h("summary", name),
            steps.map((step) => (Array.isArray(step) ? code_block(step[1], `${name}: ${step[0]}`) : h("p", rich(step)))))));
    };
    if (key()) {
        try {
            const { data } = await get("/v1/models");
            choice.replaceChildren(...data.map((model) => h("option", model.id)));
            choice.value = about.model;
        } catch {
            // a key for other things: the model of the start is what can be named
        }
    }
    list();
    place.append(h("h1", t("area.connect")), h("p.lead", t("connect.lead")),
        h("div.card", h("dl", h("dt", t("address")), h("dd", h("code", `${about.url}/v1`)), h("dt", t("key")), h("dd", t("connect.key")),
            h("dt", h("label", { for: "model-choice" }, t("model"))), h("dd", choice))),
        h("h2", t("connect.ca")), h("p", rich(t("connect.ca_text"))),
        code_block(`curl ${FACTS.ca.startsWith("https") ? "-k " : ""}-o tawny-ca.crt ${FACTS.ca}\nopenssl x509 -in tawny-ca.crt -noout -fingerprint -sha256`, t("connect.ca")),
        h("h2", t("connect.clients")), cards);
}
