// model_ways.js - how a model of the box is to be: what it does where a request says nothing (POST /v1/models/defaults), and
// whether it stays loaded (the setting `pin`).

import { ask, get } from "./api.js";
import { h, set } from "./dom.js";
import { t } from "./text.js";
import { button, dialog, field, note, sentence } from "./ui.js";

// name, least, most, step: those a person may want; the others stay as they are. Of the model of the start the context is the
// setting `ctx`: the box refuses another, and one that was kept before is taken back.
const FIELDS = [["ctx", 256, 1 << 20, 1], ["temperature", 0, 2, 0.05], ["top_p", 0, 1, 0.01], ["top_k", 0, 1000, 1], ["min_p", 0, 1, 0.01], ["repeat_penalty", 0.5, 2, 0.01],
    ["presence_penalty", -2, 2, 0.1], ["frequency_penalty", -2, 2, 0.1], ["max_tokens", 1, 1000000, 1]];

export async function defaults_form(model, changed) {
    const inputs = new Map(), wrong = h("p.wrong", { role: "alert" });
    const fields = FIELDS.filter(([name]) => name !== "ctx" || !model.of_start);
    const tell = (text, at) => {
        wrong.textContent = text;
        for (const [name, input] of inputs) set(input, { "aria-invalid": name === at ? "true" : null });
        inputs.get(at)?.focus();
    };
    const saved = await dialog(t("model.defaults"), (close) => h("form#defaults", { novalidate: true, onsubmit: async (event) => {
        event.preventDefault();
        const [half] = [...inputs].find(([, input]) => input.validity.badInput) ?? []; // no number, and not empty: its value reads ""
        if (half) return tell(inputs.get(half).validationMessage, half);
        const body = Object.fromEntries([...inputs].map(([name, input]) => [name, input.value === "" ? null : Number(input.value)]));
        try {
            await ask("POST", "/v1/models/defaults", { model: model.id, ...(model.of_start ? { ctx: null } : {}), ...body });
            close(true);
        } catch (error) {
            tell(sentence(error), error.param);
        }
    } }, h("p.hint", t("model.defaults.hint", { name: model.id }), model.of_start ? ` ${t("model.ctx.start")}` : ""), h("div.pairs", fields.map(([name, min, most, step]) => {
        const max = name === "ctx" ? Math.max(min, Math.min(most, model.context_trained || most)) : most;
        const input = h(`input#default-${name}`, { type: "number", min, max, step, inputmode: "decimal", value: model.defaults?.[name] ?? "", placeholder: t("set.default") });
        inputs.set(name, input);
        return field(t(name === "ctx" ? "context" : `set.${name}`), input, t(name === "ctx" ? "model.ctx.hint" : `set.${name}.hint`));
    })), wrong, h("div.row.end", button(null, t("cancel"), () => close(null)), h("button.main", { type: "submit" }, t("save")))));
    if (saved) changed();
}

// The list is one of the settings: it counts from the next start on.
export async function pin(name, on) {
    const { settings } = await get("/v1/settings"), now = settings.find((one) => one.name === "pin").value ?? "";
    const names = now.split(",").map((one) => one.trim()).filter((one) => one && one !== name);
    await ask("PUT", "/v1/settings", { pin: [...names, ...(on ? [name] : [])].join(", ") });
    note(t("settings.saved"));
}
