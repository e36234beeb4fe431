// The rows of the fleet's table: a head to sort by, and a group for each pool of workers.

import { change } from "./actions.js";
import { attribute, h, hiding, keyed, words } from "./dom.js";
import { workerHref } from "./fleet.js";
import { count, duration, rate, share } from "./format.js";
import { barPart, mark } from "./parts.js";

const COLUMNS = [
  { key: "worker", label: "Worker", kind: "" },
  { key: "state", label: "State", kind: "" },
  { key: "inflight", label: "In flight", kind: "number second" },
  { key: "load", label: "Running, waiting", kind: "bar" },
  { key: "kv", label: "KV cache", kind: "bar" },
  { key: "rate", label: "Req/s", kind: "number second" },
  { key: "first", label: "First byte", kind: "number second" },
];

export function head(sortBy) {
  const cells = COLUMNS.map((column) => {
    const node = h("th", { scope: "col", class: column.kind }, h("button", { type: "button", onclick: () => sortBy(column.key) }, column.label));
    return { key: column.key, node, sorted: attribute(node, "aria-sort") };
  });
  const actions = h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions"));
  return {
    node: h("thead", {}, h("tr", {}, ...cells.map((cell) => cell.node), actions)),
    update({ column, backwards }) {
      for (const cell of cells) cell.sorted(cell.key === column ? (backwards ? "descending" : "ascending") : null);
    },
  };
}

export function poolPart(app) {
  const [name, role, ready] = [h("span", { class: "name" }), h("span", { class: "role" }), h("span", { class: "quiet" })];
  const [setName, setRole, setReady] = [words(name), words(role), words(ready)];
  const cells = h("span", { class: "cells", "aria-hidden": "true" });
  const top = h("tr", { class: "pool" }, h("th", { scope: "rowgroup", colspan: COLUMNS.length + 1 }, name, " ", role, " ", ready, cells));
  const node = h("tbody", {}, top);
  const hideCells = hiding(cells);
  const showCells = keyed(cells, (one) => one.id, cellPart);
  const showRows = keyed(node, (one) => one.id, (one) => rowPart(app, one), top);
  return {
    node,
    update(pool) {
      setName(pool.title);
      setRole(pool.role === "regular" ? "" : pool.role);
      setReady(`${count(pool.ready)} of ${count(pool.all)} ready`);
      hideCells(!pool.cells.length);
      showCells(pool.cells.map((one) => ({ ...one, most: pool.most })));
      showRows(pool.rows.map((one) => ({ ...one, most: pool.most })));
    },
  };
}

// One worker as a square of its pool: its colour tells the state, how full it is the load.
function cellPart(one) {
  const node = h("a", { href: workerHref(one.id), tabindex: "-1" });
  const [tone, title] = [attribute(node, "data-tone"), attribute(node, "title")];
  let known = "";
  return {
    node,
    update(now) {
      const load = Math.min(1, ((now.running ?? 0) + (now.waiting ?? 0)) / now.most).toFixed(2);
      tone(now.tone);
      title(`${now.name}: ${now.word}`);
      if (load !== known) node.style.setProperty("--load", load);
      known = load;
    },
  };
}

function rowPart(app, one) {
  const state = mark();
  const [age, why, labels] = [h("span", { class: "age" }), h("span", { class: "why" }), h("span", { class: "labels" })];
  const [setAge, setWhy, setLabels] = [words(age), words(why), words(labels)];
  const [inflight, requests, first] = [1, 2, 3].map(() => h("td", { class: "number second" }));
  const [setInflight, setRequests, setFirst] = [inflight, requests, first].map(words);
  const load = barPart(["run", "wait"]);
  const kv = barPart(["kv"]);
  const act = h("button", { type: "button", class: "quiet-button", onclick: () => change(app, act.dataset.verb, one.id) });
  const [setAct, setName, setVerb] = [words(act), attribute(act, "aria-label"), attribute(act, "data-verb")];
  const node = h(
    "tr",
    { "data-worker": one.id },
    h("th", { scope: "row" }, h("a", { href: workerHref(one.id) }, one.name), labels),
    h("td", { class: "condition" }, state.node, age, why),
    inflight,
    load.node,
    kv.node,
    requests,
    first,
    h("td", { class: "act" }, act),
  );
  return {
    node,
    update(now) {
      state.update(now.tone, now.word);
      setAge(now.age);
      setWhy(now.why);
      setLabels(now.labels);
      setInflight(count(now.inflight));
      setRequests(rate(now.rate));
      setFirst(duration(now.first));
      const queue = now.waiting ? ` + ${count(now.waiting)}` : "";
      load.update([(now.running ?? 0) / now.most, (now.waiting ?? 0) / now.most], `${count(now.running)}${queue}`);
      kv.update([now.kv ?? 0], share(now.kv));
      setVerb(now.isDraining ? "undrain" : "drain");
      setAct(now.isDraining ? "Undrain" : "Drain");
      setName(`${now.isDraining ? "Undrain" : "Drain"} ${now.name}`);
    },
  };
}
