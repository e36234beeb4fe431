// The fleet at a glance: figures, what needs attention, and a row for each worker.

import { add } from "./actions.js";
import { h, hiding, keyed, words } from "./dom.js";
import { attention, pools, scale, steadied, summary } from "./fleet.js";
import { count } from "./format.js";
import { attentionPart, summaryPart } from "./parts.js";
import { head, poolPart } from "./pool.js";
import { inOrder } from "./store.js";

// A fleet of a few workers is seen at a glance in its rows.
const CELLS_FROM = 12;
// More rows than anybody reads, and still drawn within a moment.
const MAX_ROWS = 1000;

export function view(app, query) {
  const shown = { text: query.get("q") ?? "", only: query.get("only") ?? "all", sort: { column: "worker", backwards: false } };
  const figures = summaryPart();
  const notes = attentionPart();
  let places = new Map();
  const heads = head((column) => {
    places = new Map();
    shown.sort = { column, backwards: shown.sort.column === column && !shown.sort.backwards };
    update();
  });
  const table = h("table", { class: "rows fleet" }, h("caption", { class: "unseen" }, "Workers by role and models"), heads.node);
  const showPools = keyed(table, (pool) => pool.key, () => poolPart(app), heads.node);
  const rest = h("p", { class: "quiet", role: "status" });
  const [hideTable, setRest] = [hiding(table), words(rest)];
  const search = h("input", {
    type: "search",
    placeholder: "Filter by address, state, reason, label",
    "aria-label": "Filter workers",
    value: shown.text,
    oninput: () => {
      shown.text = search.value;
      update();
    },
  });
  const only = h("input", {
    type: "checkbox",
    checked: shown.only === "trouble",
    onchange: () => {
      shown.only = only.checked ? "trouble" : "all";
      update();
    },
  });

  function update() {
    const workers = inOrder(app.state);
    figures.update(summary(app.state));
    notes.update(attention(app.state));
    heads.update(shown.sort);
    const most = scale(workers);
    let room = MAX_ROWS;
    let cut = 0;
    const isHeld = places.size > 0 && (table.matches(":hover") || table.contains(document.activeElement));
    const found = pools(workers, app.now(), shown).map((pool) => {
      const rows = (isHeld ? steadied(pool.rows, places) : pool.rows).slice(0, room);
      room -= rows.length;
      cut += pool.rows.length - rows.length;
      return { ...pool, rows, most, cells: pool.all >= CELLS_FROM ? pool.cells : [] };
    });
    showPools(found.filter((pool) => pool.rows.length));
    places = new Map(found.flatMap((pool) => pool.rows).map((one, at) => [one.id, at]));
    hideTable(room === MAX_ROWS);
    setRest(cut ? `${count(cut)} more workers; filter to see them.` : workers.length && table.hidden ? "No worker matches." : "");
  }

  const tools = [
    search,
    h("label", { class: "check" }, only, "Needs attention"),
    h("button", { type: "button", class: "end", onclick: () => add(app) }, "Add worker…"),
  ];
  const node = h(
    "div",
    {},
    h("h1", { class: "unseen", tabindex: "-1" }, "Fleet"),
    figures.node,
    notes.node,
    h("div", { class: "toolbar" }, ...tools),
    h("div", { class: "scroll" }, table),
    rest,
  );
  return { title: "Fleet", node, update, leave() {} };
}
