// backup.js - keys, certificates and settings as one file under a password, taken back from it, and a box as it was when it
// was new. What is asked for twice here cannot be undone.

import { ask, key_forget } from "./api.js";
import { h } from "./dom.js";
import { wait_for_box } from "./restart.js";
import { moment, t } from "./text.js";
import { button, dialog, field, note, save_file, sentence } from "./ui.js";

const LEAST = 10; // letters of a password

// A form whose refusal stands in it; resolves with what `send` gave, or null.
const form = (title, text, fields, action, send) => dialog(title, (close) => {
    const wrong = h("p.wrong", { role: "alert" }), go = h("button.main", { type: "submit" }, action);
    return h("form", { onsubmit: async (event) => {
        event.preventDefault();
        go.disabled = true;
        try {
            close(await send());
        } catch (error) {
            wrong.textContent = sentence(error);
            go.disabled = false;
        }
    } }, h("p", text), fields, wrong, h("div.row.end", button(null, t("cancel"), () => close(null)), go));
});

const password = (autocomplete) => h("input#backup-password", { type: "password", required: true, minlength: LEAST, autocomplete });

async function backup() {
    const secret = password("new-password");
    const file = await form(t("backup"), t("backup.text"), field(t("backup.password"), secret, t("backup.password.hint")), t("backup.make"), () => ask("POST", "/v1/backup", { password: secret.value }));
    if (file) save_file(`tawny-backup-${file.hostname}.json`, "application/json", JSON.stringify(file));
}

async function restore() {
    const secret = password("current-password"), pick = h("input#backup-file", { type: "file", accept: ".json", required: true });
    const done = await form(t("restore"), t("restore.text"), [field(t("backup.file"), pick), field(t("backup.password"), secret)], t("restore"), async () => {
        let file;
        try {
            file = JSON.parse(await pick.files[0].text());
        } catch {
            throw new Error(t("restore.none"));
        }
        return ask("POST", "/v1/restore", { password: secret.value, backup: file });
    });
    if (done?.restarting) await wait_for_box(t("restore"), t("restore.done", { when: moment(new Date(done.made * 1000)) }));
    else if (done) note(t("restore.later"));
}

async function reset() {
    const word = h("input#reset-word", { type: "text", required: true, pattern: "erase", autocomplete: "off", autocapitalize: "off" }), keep = h("input", { type: "checkbox", checked: true });
    const done = await form(t("reset"), t("reset.text"), [field(t("reset.word"), word), h("label.check", keep, h("span", t("reset.keep")))], t("reset"),
        () => ask("POST", "/v1/reset", { confirm: word.value, keep_models: keep.checked }));
    if (!done) return;
    key_forget();
    await wait_for_box(t("reset"), t("reset.done"), true);
    document.dispatchEvent(new Event("signed-out"));
}

// can_reset: there is somebody under the server who erases at a start.
export const backup_row = (can_reset) => h("div.row", button("down", t("backup"), backup, { kind: "small" }), button("up", t("restore"), restore, { kind: "small" }),
    can_reset ? button("bin", t("reset"), reset, { kind: "small" }) : null);
