// One request's receipt: why it went where it went.

import { h } from "./dom.js";
import { workerHref } from "./fleet.js";
import { date, duration, place } from "./format.js";
import { facts, heading, mark, table } from "./parts.js";
import { candidate, numbers, outcome, stretches } from "./requests.js";

const CANDIDATES = ["Candidate", "Score", "In flight", "Running", "Waiting", "KV", "Age", "Why"].map((label, at) => ({
  label,
  kind: at > 0 && at < 7 ? "number" : "",
}));

export function view(app, _query, id) {
  const told = h("div", { "aria-live": "polite" }, h("p", { class: "quiet" }, "Asking the planes…"));
  const node = h("div", {}, h("p", { class: "back" }, h("a", { href: "#/requests" }, "Requests")), heading(id), told);
  app.api
    .get(`explain/${encodeURIComponent(id)}`)
    .then((receipt) => told.replaceChildren(...drawn(receipt)))
    .catch((error) => told.replaceChildren(h("p", {}, error.message)));
  return { title: id, node, update() {}, leave() {} };
}

function drawn(receipt) {
  const state = mark();
  const { word, tone } = outcome({ ...receipt, workers: receipt.attempts.map((one) => one.worker) });
  state.update(tone, receipt.outcome === "answered" ? `answered ${word}` : `${receipt.outcome}${receipt.status ? ` (${receipt.status})` : ""}`);
  const head = facts("wide", [
    ["Ended", state.node],
    ["Request", `${receipt.method} ${receipt.path}`],
    ["Model", receipt.model],
    ["Arrived", date(receipt.arrived)],
    ["First byte", receipt.first_byte === null ? null : `after ${duration(receipt.first_byte)}`],
    ["End", `after ${duration(receipt.ended)}`],
    ["Policy", receipt.policy],
    ["Plane", receipt.plane],
    ["Table", `${receipt.epoch}.${receipt.version}`],
  ]);
  const numbered = numbers(receipt.attempts);
  const parts = [head, timeline(receipt), ...receipt.attempts.map((attempt, at) => attemptPart(attempt, numbered[at]))];
  if (!receipt.attempts.length) parts.push(h("h2", {}, "No worker was tried"), leftOut(receipt.left_out));
  return parts;
}

function timeline(receipt) {
  const bars = stretches(receipt).map((one) => {
    const told = `${one.name} ${duration(one.seconds)}`;
    const bar = h("li", { "data-tone": one.tone, title: told }, h("span", {}, told));
    bar.style.setProperty("--part", one.part);
    return bar;
  });
  return h("ol", { class: "timeline", "aria-label": "What took how long" }, ...bars);
}

function attemptPart(attempt, number) {
  const name = number === null ? "Again, over a new connection: " : `Attempt ${number}: `;
  const leg = attempt.leg === "plain" ? "" : `, ${attempt.leg} by ${attempt.policy}`;
  const parts = [h("h2", {}, name, h("a", { href: workerHref(attempt.worker) }, place(attempt.worker)))];
  parts.push(h("p", { class: "quiet" }, `after ${duration(attempt.began)}${leg}`));
  if (attempt.failed) parts.push(h("p", { class: "problem" }, `Failed: ${attempt.failed}`));
  if (attempt.note) parts.push(h("p", {}, attempt.note));
  if (attempt.choices.length) parts.push(table("Candidates", CANDIDATES, attempt.choices.map(candidate)));
  if (!attempt.is_detailed && !attempt.is_again) parts.push(h("p", { class: "quiet" }, "Why is not written down: it is for so many choices a second only."));
  parts.push(leftOut(attempt.left_out));
  return h("section", {}, ...parts);
}

function leftOut(workers) {
  if (!workers.length) return null;
  return h("ul", { class: "plain" }, ...workers.map((one) => h("li", {}, h("span", { class: "quiet" }, "left out: "), place(one.worker), ": ", one.reason)));
}
