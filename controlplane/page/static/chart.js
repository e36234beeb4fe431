// Lines over the last minutes: where they run (pure), and the drawing.

import { h, s } from "./dom.js";
import { ceiling } from "./format.js";

export const WIDTH = 320;
export const HEIGHT = 72;

// The path of a line through values, with gaps where one is not known.
export function path(times, values, [from, to], most) {
  let drawn = "";
  let isOpen = false;
  values.forEach((value, at) => {
    if (value === null) {
      isOpen = false;
      return;
    }
    const x = ((times[at] - from) / Math.max(1, to - from)) * WIDTH;
    const y = HEIGHT - (Math.min(value, most) / most) * HEIGHT;
    // A stretch of no length shows a value that stands alone.
    drawn += isOpen ? `L${x.toFixed(1)} ${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}h0`;
    isOpen = true;
  });
  return drawn;
}

export function last(values) {
  return values.findLast((value) => value !== null) ?? null;
}

export function most(series) {
  return Math.max(0, ...series.flat().filter((value) => value !== null));
}

// A chart of one or two lines. `series` is [{ name, tone, values }], `write` makes text of a value.
export function chart(title, times, series, write, atMost = null) {
  const end = times.at(-1) ?? 0;
  const span = [end - 600, end];
  const peak = most(series.map((one) => one.values));
  const top = atMost ?? ceiling(peak);
  const present = series.map((one) => `${series.length > 1 ? `${one.name} ` : ""}${write(last(one.values))}`).join(", ");
  const words = `${title}: ${present} now, ${write(peak)} at most in the last ten minutes`;
  return h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      {},
      h("span", { class: "chart-title" }, title),
      h(
        "span",
        { class: "chart-now" },
        ...series.map((one) =>
          h("span", { class: `key ${one.tone}` }, series.length > 1 ? h("small", {}, one.name) : null, write(last(one.values))),
        ),
      ),
    ),
    s(
      "svg",
      { viewBox: `0 -2 ${WIDTH} ${HEIGHT + 4}`, role: "img", "aria-label": words, preserveAspectRatio: "none" },
      ...[0, 0.5, 1].map((part) => s("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part })),
      ...series.map((one) => s("path", { class: `line ${one.tone}`, d: path(times, one.values, span, top) })),
    ),
    h("p", { class: "chart-scale", "aria-hidden": "true" }, h("span", {}, "10 min ago"), h("span", {}, `top ${write(top)}`)),
  );
}
