// restart.js - the box starts again, and the page waits with the person: how far it is, and what is to be done where it comes
// back as another one. A browser does not speak to a box whose certificate it does not trust, so such a box seems to stay
// away: where that can be, the address is shown at which one begins as at first.

import { get, health, key } from "./api.js";
import { h } from "./dom.js";
import { duration, FACTS, t } from "./text.js";
import { dialog, note, waiting } from "./ui.js";

const LOOK_MS = 700, SILENT_MS = 3000, STAYED_MS = 12000, LONG_MS = 30000;

// `is_new`: another certificate for certain. Ends when the box serves again, or when the person has closed it.
export async function wait_for_box(title, text, is_new = false) {
    const state = waiting(t("restart.ends")), address = new URL("/", FACTS.ca).href, began = Date.now();
    const other = h("p", { hidden: !is_new }, t(is_new ? "restart.new" : "restart.other"), " ", h("a", { href: address }, address));
    let open = true, away = 0;
    const watch = async (close) => {
        while (open) {
            await new Promise((done) => setTimeout(done, LOOK_MS));
            // while an engine starts its port may be open already, and answer nothing
            const now = await health(AbortSignal.timeout(SILENT_MS)), passed = Date.now() - began;
            if (!now || now.status === "stopping") away ||= Date.now();
            else if (now.status !== "loading" && (away || passed > STAYED_MS)) close(true);
            if (away) state.textContent = now?.status === "loading" ? t("restart.loads") : t("restart.away", { time: duration((Date.now() - away) / 1000) });
            if (away && Date.now() - away > LONG_MS) other.hidden = false;
        }
    };
    const back = await dialog(title, (close) => {
        watch(close);
        return [h("p", text), state, other];
    });
    open = false;
    if (!back) return;
    if (key()) await get("/v1/models").catch(() => {}); // a key that counts no more is forgotten there
    note(t(key() ? "restart.back" : "restart.back_key"));
    if (key()) document.dispatchEvent(new Event("signed-in"));
}
