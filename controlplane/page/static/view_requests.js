// Open and last requests of all planes.

import { attribute, h, keyed, words } from "./dom.js";
import { clock, count, duration } from "./format.js";
import { heading, mark } from "./parts.js";
import { outcome, way } from "./requests.js";

const REFRESH = 2000;
const LIMIT = 100;
const COLUMNS = [
  { label: "Arrived" },
  { label: "Request" },
  { label: "Path", kind: "second" },
  { label: "Model", kind: "second" },
  { label: "Outcome" },
  { label: "Worker" },
  { label: "First byte", kind: "number second" },
  { label: "Took", kind: "number" },
];

export function view(app) {
  const shown = { troubled: false, paused: false };
  const open = tablePart("Open requests");
  const ended = tablePart("Last requests");
  const opened = h("h2", {}, "Open");
  const note = h("p", { class: "quiet", role: "status" });
  const setOpened = words(opened.appendChild(h("span", { class: "quiet" })));
  const search = h("input", { name: "request", type: "search", "aria-label": "Request id", placeholder: "x-request-id of an answer" });
  const find = h(
    "form",
    {
      class: "inline",
      onsubmit: (event) => {
        event.preventDefault();
        if (search.value.trim()) location.hash = href(search.value.trim());
      },
    },
    search,
    h("button", { type: "submit" }, "Explain"),
  );
  const troubled = check("Only with trouble", (is) => {
    shown.troubled = is;
    refresh();
  });
  const paused = check("Stand still", (is) => {
    shown.paused = is;
  });

  let asked = 0;
  async function refresh() {
    asked += 1;
    const number = asked;
    try {
      const lines = await app.api.get(`requests?limit=${LIMIT}${shown.troubled ? "&troubled=yes" : ""}`);
      if (number !== asked || !node.isConnected) return;
      setOpened(` ${count(lines.active)}`);
      open.update(lines.open ?? [], app.now());
      ended.update(lines.ended ?? [], app.now());
      note.textContent = (lines.ended ?? []).length ? "" : shown.troubled ? "Nothing went wrong lately." : "No request has ended lately.";
    } catch (error) {
      note.textContent = error.message;
    }
  }

  const node = h(
    "div",
    {},
    heading("Requests", find),
    h("div", { class: "toolbar" }, troubled, paused),
    opened,
    open.node,
    h("h2", {}, "Last"),
    ended.node,
    note,
  );
  setTimeout(refresh);
  const timer = setInterval(() => {
    if (!shown.paused && !document.hidden) refresh();
  }, REFRESH);
  return { title: "Requests", node, update() {}, leave: () => clearInterval(timer) };
}

const href = (request) => `#/request/${encodeURIComponent(request)}`;

function check(label, set) {
  const box = h("input", { type: "checkbox", onchange: () => set(box.checked) });
  return h("label", { class: "check" }, box, label);
}

function tablePart(caption) {
  const body = h("tbody", {});
  const table = h(
    "table",
    { class: "rows requests" },
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, ...COLUMNS.map((one) => h("th", { scope: "col", class: one.kind ?? "" }, one.label)))),
    body,
  );
  const node = h("div", { class: "scroll" }, table);
  const show = keyed(body, (line) => `${line.plane} ${line.request} ${line.arrived}`, rowPart);
  return {
    node,
    update(lines, now) {
      node.hidden = !lines.length;
      show(lines.map((line) => ({ ...line, now })));
    },
  };
}

function rowPart(line) {
  const state = mark();
  const name = line.phase ? h("span", {}, line.request) : h("a", { href: href(line.request) }, line.request);
  const [worker, first, took] = [h("td", {}), h("td", { class: "number second" }), h("td", { class: "number" })];
  const [setWorker, setFirst, setTook] = [worker, first, took].map(words);
  const node = h(
    "tr",
    {},
    h("td", {}, clock(line.arrived)),
    h("th", { scope: "row" }, name),
    h("td", { class: "second" }, `${line.method} ${line.path}`),
    h("td", { class: "second" }, line.model ?? ""),
    h("td", { class: "condition" }, state.node),
    worker,
    first,
    took,
  );
  const tone = attribute(node, "data-tone");
  return {
    node,
    update(now) {
      const { word, tone: how } = outcome(now);
      state.update(how, word);
      tone(how === "bad" ? how : null);
      setWorker(way(now));
      setFirst(duration(now.first_byte));
      setTook(duration(now.ended ?? now.now - now.arrived));
    },
  };
}
