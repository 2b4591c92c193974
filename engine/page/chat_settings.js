// chat_settings.js - the sheet of a conversation's settings: what the model is told first, how it picks words, what it may
// call and what form its answer has. Each says what it does. What is left empty is the model's own. The last ones chosen
// are where the next conversation begins.

import { h } from "./dom.js";
import { t } from "./text.js";
import { own_tools, TOOLS } from "./tools.js";
import { dialog, field } from "./ui.js";

const LAST = "tawny.settings";
// name, least, most, step
const NUMBERS = [["temperature", 0, 2, 0.05], ["top_p", 0, 1, 0.01], ["top_k", 0, 1000, 1], ["min_p", 0, 1, 0.01], ["repeat_penalty", 0.5, 2, 0.01],
    ["presence_penalty", -2, 2, 0.1], ["frequency_penalty", -2, 2, 0.1], ["max_tokens", 1, 1000000, 1], ["seed", 0, 9007199254740991, 1]];

export function settings_kept() {
    try {
        return JSON.parse(localStorage.getItem(LAST) ?? "{}") ?? {};
    } catch {
        return {};
    }
}

// The next chat begins with it; "": with the box's.
export const keep_model = (model) => localStorage.setItem(LAST, JSON.stringify({ ...settings_kept(), model: model || undefined }));

function choice(name, values, settings, changed) {
    const made = h(`select#set-${name}`, { onchange: () => { settings[name] = made.value || undefined; changed(); } },
        values.map((value) => h("option", { value }, t(`set.${name}.${value || "default"}`))));
    made.value = settings[name] ?? "";
    return field(t(`set.${name}`), made, t(`set.${name}.hint`));
}

function of_number([name, least, most, step], settings, changed) {
    const made = h(`input#set-${name}`, { type: "number", min: least, max: most, step, inputmode: "decimal", value: settings[name] ?? "", placeholder: t("set.default"),
        oninput: () => {
            const value = made.value === "" ? undefined : Number(made.value);
            made.setAttribute("aria-invalid", String(!made.checkValidity()));
            if (made.checkValidity()) { settings[name] = value; changed(); }
        } });
    return field(t(`set.${name}`), made, t(`set.${name}.hint`));
}

// A text that must be JSON, and what is said where it is not.
function of_json(name, settings, changed, is_good) {
    const wrong = h("p.wrong", { role: "alert" }), made = h(`textarea#set-${name}.mono`, { rows: "5", spellcheck: "false", value: settings[name] ?? "", placeholder: t(`set.${name}.example`),
        oninput: () => {
            let fault = "";
            try {
                if (made.value.trim() && !is_good(JSON.parse(made.value))) fault = t(`set.${name}.wrong`);
            } catch (error) {
                fault = error.message;
            }
            wrong.textContent = fault;
            if (!fault) { settings[name] = made.value.trim() || undefined; changed(); }
        } });
    return h("div", field(t(`set.${name}`), made, t(`set.${name}.hint`)), wrong);
}

function tool_boxes(settings, changed) {
    return h("fieldset", h("legend", t("set.tools")), h("p.hint", t("set.tools.hint")), Object.keys(TOOLS).map((name) => {
        const box = h("input", { type: "checkbox", checked: settings.tools?.includes(name) ?? false, onchange: () => {
            settings.tools = (settings.tools ?? []).filter((one) => one !== name).concat(box.checked ? [name] : []);
            changed();
        } });
        return h("label.check", box, h("span", h("b", t(`tool.${name}`)), " ", h("span.hint", t(`tool.${name}.hint`))));
    }));
}

export function settings_sheet(conversation, models, after) {
    const settings = conversation.settings;
    const changed = () => localStorage.setItem(LAST, JSON.stringify(settings));
    const system = h("textarea#set-system", { rows: "4", value: settings.system ?? "", oninput: () => { settings.system = system.value || undefined; changed(); } });
    const stops = h("textarea#set-stop", { rows: "2", value: (settings.stop ?? []).join("\n"), oninput: () => {
        settings.stop = stops.value.split("\n").filter(Boolean).slice(0, 16);
        changed();
    } });
    return dialog(t("settings"), () => [field(t("set.system"), system, t("set.system.hint")),
        choice("thinking", ["", "on", "off"], settings, changed), choice("effort", ["", "low", "medium", "high"], settings, changed),
        h("h3", t("set.words")), h("div.pairs", NUMBERS.map((one) => of_number(one, settings, changed))), field(t("set.stop"), stops, t("set.stop.hint")),
        h("h3", t("set.form")), tool_boxes(settings, changed),
        of_json("own_tools", settings, changed, (value) => own_tools(JSON.stringify(value)).length > 0),
        of_json("schema", settings, changed, (value) => value && typeof value === "object" && !Array.isArray(value))], { kind: "sheet" }).then(after);
}
