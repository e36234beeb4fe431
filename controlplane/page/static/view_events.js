// What changed in the fleet, and why: the newest first.

import { h, keyed } from "./dom.js";
import { eventPart, heading } from "./parts.js";

const KINDS = ["worker", "breaker", "process", "configuration", "discovery"];
const MOST = 500;

export function view(app, query) {
  const shown = { text: query.get("q") ?? "", kind: "", trouble: false };
  const list = h("ol", { class: "events" });
  const show = keyed(list, (event) => `${event.time} ${event.told_by} ${event.text}`, (event) => ({ node: eventPart(event), update() {} }));
  const none = h("p", { class: "quiet", role: "status" });
  const search = h("input", { type: "search", "aria-label": "Filter events", placeholder: "Filter", value: shown.text, oninput: () => set({ text: search.value }) });
  const kind = h(
    "select",
    { "aria-label": "Kind", onchange: () => set({ kind: kind.value }) },
    h("option", { value: "" }, "All kinds"),
    ...KINDS.map((name) => h("option", { value: name }, name)),
  );
  const trouble = h("input", { type: "checkbox", onchange: () => set({ trouble: trouble.checked }) });
  let drawn = null;

  function set(change) {
    Object.assign(shown, change);
    drawn = null;
    update();
  }

  function update() {
    if (drawn === app.events) return;
    drawn = app.events;
    const found = matching(app.events, shown).slice(0, MOST);
    show(found);
    none.textContent = found.length ? "" : "No event matches.";
  }
  const node = h(
    "div",
    {},
    heading("Events"),
    h("div", { class: "toolbar" }, search, kind, h("label", { class: "check" }, trouble, "Warnings and errors")),
    list,
    none,
  );
  return { title: "Events", node, update, leave() {} };
}

export function matching(events, { text, kind, trouble }) {
  const wanted = text.toLowerCase();
  return events.filter(
    (event) => (!kind || event.kind === kind) && (!trouble || event.level !== "info") && event.text.toLowerCase().includes(wanted),
  );
}
