// plot.js - a line over time, as a drawing with words beside it: the newest value, the largest, and the span.

import { h, svg } from "./dom.js";
import { t } from "./text.js";

const WIDTH = 600, HEIGHT = 120;

// points: [[ms, value]], the oldest first; text(value): as it is shown.
export function plot(title, points, text) {
    const values = points.map(([, value]) => value), most = Math.max(1e-9, ...values), last = values.at(-1) ?? 0;
    const from = points[0]?.[0] ?? 0, span = Math.max(1, (points.at(-1)?.[0] ?? 1) - from);
    const at = ([time, value]) => `${((time - from) / span * WIDTH).toFixed(1)},${(HEIGHT - 4 - value / most * (HEIGHT - 12)).toFixed(1)}`;
    const line = points.map(at).join("L");
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "plot", role: "img", "aria-label": `${title}: ${text(last)}` },
        svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 4, y2: HEIGHT - 4 }),
        ...(points.length > 1 ? [svg("path", { class: "area", d: `M0,${HEIGHT - 4}L${line}L${WIDTH},${HEIGHT - 4}Z` }), svg("path", { d: `M${line}` })] : []));
    return h("div.card", h("div.row.between", h("h3", title), h("span.hint", t("plot.most", { value: text(Math.max(0, ...values)) }))), h("p.figure", text(last)), drawing,
        h("p.hint", t("plot.span", { minutes: Math.max(1, Math.round(span / 60000)) })));
}
