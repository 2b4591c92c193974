// system.js - the parts of the area Box about the system under the engine: which version runs and the next one, and how
// the engine ended when it did. Where the box has none of it (a plain Linux machine), it says so.

import { get, send } from "./api.js";
import { h } from "./dom.js";
import { bytes, duration, moment, number, t, when } from "./text.js";
import { bar, button, confirm, note, problem, sentence, waiting } from "./ui.js";

const LOOK_MS = 3000, BUSY = ["receiving", "checking", "trying", "verified"];

const system = (name, one) => (one ? [h("dt", t(name)), h("dd", `${one.version}${one.built ? ` · ${when(one.built)}` : ""}`)] : null);

function update_card(now, choose) {
    return h("div.card", h("dl", system("update.running", now.running), system("update.other", now.other),
        h("dt", t("update.state")), h("dd", h(`span.tag${now.state === "refused" || now.state === "went back" ? ".failed" : ""}`, t(`update.${now.state.replace(" ", "_")}`)), now.version ? ` ${now.version}` : "", now.why ? h("p.hint", now.why) : null)),
        now.bytes ? [bar(now.received / now.bytes, t("update")), h("p.hint", `${bytes(now.received)} / ${bytes(now.bytes)}`)] : null,
        now.supported ? h("div.row", button("up", t("update.choose"), choose, { kind: "small", disabled: BUSY.includes(now.state) }), h("span.hint", t("update.hint"))) : h("p.hint", t("update.not_here")));
}

// Sensors in the order of their device: "GPU · edge temperature".
function sensors(list) {
    return list.map((one) => [h("dt", [one.device, one.name].filter(Boolean).join(" · ")), h("dd", `${number(one.value, one.unit === "C" || one.unit === "W" ? 1 : 0)} ${one.unit === "C" ? "°C" : one.unit}`, h("span.soft", ` ${t(`sensor.${one.kind}`)}`))]);
}

export function machine_card(box) {
    const at = new Date(box.time * 1000), trust = box.time_trusted === undefined ? "" : ` · ${t(box.time_trusted ? "box.time.trusted" : "box.time.not")}`;
    return h("div.card", h("h2", t("box.machine")), h("dl", box.addresses.length ? [h("dt", t("box.addresses")), h("dd", box.addresses.map((one) => h("div", one)))] : null,
        h("dt", t("box.time")), h("dd", moment(at), trust),
        box.up_s === undefined ? null : [h("dt", t("box.up")), h("dd", duration(box.up_s))], h("dt", t("box.serving")), h("dd", duration(Math.max(0, box.time - box.serving_since))), sensors(box.sensors)));
}

export function update_part() {
    const place = h("div", waiting()), pick = h("input", { type: "file", accept: ".bin", hidden: true });
    let timer = 0;
    const look = async () => {
        clearTimeout(timer);
        try {
            const now = await get("/v1/update");
            place.replaceChildren(update_card(now, () => pick.click()));
            if (place.isConnected && BUSY.includes(now.state)) timer = setTimeout(look, LOOK_MS);
        } catch (error) {
            place.replaceChildren(problem(error, look));
        }
    };
    pick.addEventListener("change", async () => {
        const file = pick.files[0];
        pick.value = "";
        if (!file || !(await confirm(t("update"), t("update.ask", { name: file.name }), t("update.choose")))) return;
        setTimeout(look, 500);
        try {
            await send("POST", "/v1/update", { body: file, headers: { "Content-Type": "application/octet-stream" } });
        } catch (error) {
            note(sentence(error), "bad");
        }
        look();
    });
    look();
    return h("section", h("h2", t("update")), place, pick);
}

export function crashes_part() {
    const place = h("div", waiting());
    const look = async () => {
        try {
            const { data } = await get("/v1/crashes");
            place.replaceChildren(...(data.length === 0 ? [h("p.soft", t("crashes.none"))] : data.map((one) =>
                h("details", h("summary.row", h("span", one.reason ?? one.id), h("span.hint.push", when(new Date(one.time)))),
                    one.ran_seconds === undefined ? null : h("p.hint", t("crashes.ran", { time: duration(one.ran_seconds) })),
                    h("pre", { tabindex: "0", "aria-label": t("box.log") }, (one.log ?? []).join("\n"))))));
        } catch (error) {
            place.replaceChildren(problem(error, look));
        }
    };
    look();
    return h("section", h("h2", t("crashes")), place);
}
