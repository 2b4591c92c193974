// handover.js - another device is signed in by a QR code: here it is shown, and there the code that it holds becomes the key.
// The code counts once, for two minutes; it stands in the address's fragment, and is taken out of that before it is used.

import { ask, key, key_set } from "./api.js";
import { h, svg } from "./dom.js";
import { t } from "./text.js";
import { button, dialog, note, sentence } from "./ui.js";

const EDGE = 4; // squares of white that a camera wants around it

function drawing(rows, label) {
    const size = rows.length + 2 * EDGE;
    const squares = rows.flatMap((row, y) => [...row].flatMap((bit, x) => (bit === "1" ? [`M${x + EDGE},${y + EDGE}h1v1h-1z`] : []))).join("");
    return svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
        svg("rect", { width: size, height: size, fill: "#fff" }), svg("path", { d: squares, fill: "#000" }));
}

export async function show_handover() {
    try {
        const made = await ask("POST", "/v1/handovers", {});
        await dialog(t("handover"), () => [drawing(made.qr, t("handover")), h("p", t("handover.how")), h("p.hint", t("handover.hint", { minutes: Math.round(made.expires_in / 60) }))]);
    } catch (error) {
        note(sentence(error), "bad");
    }
}

// The code in the address, which has it no more; "": there is none.
export function code_of_address() {
    const [, code] = location.hash.match(/^#\/in\/(\w+)$/) ?? [];
    if (code) history.replaceState(null, "", "/#/welcome");
    return code ?? "";
}

// Asks first: a code that is not wanted here stays good for another device. True: this browser is signed in now.
export async function take_handover(code) {
    try {
        const keep = h("input#keep-taken", { type: "checkbox" });
        const wanted = await dialog(t("sign_in"), (close) => [h("p", t("handover.ask")), key() ? h("p", t("handover.replaces")) : null, h("label.check", keep, h("span", t("key.keep"))),
            h("div.row.end", button(null, t("cancel"), () => close(false)), button(null, t("sign_in"), () => close(true), { kind: "main" }))]);
        if (!wanted) return false;
        key_set((await ask("POST", "/v1/handovers/take", { code }, { secret: "" })).key, keep.checked);
        return true;
    } catch (error) {
        note(sentence(error), "bad");
        return false;
    }
}
