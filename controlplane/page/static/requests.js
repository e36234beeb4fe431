// Requests and receipts as they are shown. Pure.

import { duration, place } from "./format.js";

// How a request ended, in a word, and how that is to be taken.
export function outcome(line) {
  if (line.phase) return { word: line.phase, tone: "info" };
  if (line.outcome === "answered") {
    // Several workers alone are no trouble: a prefill and a decode worker share a request.
    const retried = line.failed > 0;
    return { word: String(line.status), tone: line.status >= 500 ? "bad" : line.status >= 400 || retried ? "warn" : "ok" };
  }
  return { word: line.outcome, tone: line.outcome === "aborted by client" ? "warn" : "bad" };
}

export function way(line) {
  return (line.workers ?? []).map(place).join(" → ");
}

// The attempts' numbers. One over a new connection, since the worker had closed the kept one, has none of its own.
export function numbers(attempts) {
  let number = 0;
  return attempts.map((attempt) => (attempt.is_again ? null : ++number));
}

// What happened when: the stretches of a receipt's life, as parts of the whole (0..1).
export function stretches(receipt) {
  const whole = Math.max(receipt.ended, 0.001);
  const ends = [...receipt.attempts.map((attempt) => attempt.began), receipt.first_byte ?? receipt.ended, receipt.ended];
  const found = [];
  const add = (name, tone, from, to) => {
    if (to > from) found.push({ name, tone, from: from / whole, part: (to - from) / whole, seconds: to - from });
  };
  const numbered = numbers(receipt.attempts);
  add("received", "quiet", 0, ends[0]);
  receipt.attempts.forEach((attempt, at) => {
    const isLast = at === receipt.attempts.length - 1;
    const to = isLast ? (receipt.first_byte ?? receipt.ended) : receipt.attempts[at + 1].began;
    const name = numbered[at] === null ? "again" : `${attempt.leg === "plain" ? "attempt" : attempt.leg} ${numbered[at]}`;
    add(name, attempt.failed ? "bad" : "wait", attempt.began, to);
  });
  if (receipt.first_byte !== null && receipt.first_byte !== undefined) add("answer", "run", receipt.first_byte, receipt.ended);
  return found;
}

// The row of a candidate: what was known of it when it was chosen or not.
export function candidate(choice) {
  const load = choice.load ?? {};
  const number = (value, write = String) => (value === null || value === undefined ? "?" : write(value));
  return [
    place(choice.worker),
    choice.score === null || choice.score === undefined ? "" : String(Number(choice.score.toPrecision(4))),
    choice.load ? number(load.in_flight) : "",
    choice.load ? number(load.running) : "",
    choice.load ? number(load.waiting) : "",
    choice.load ? number(load.kv_usage, (value) => `${Math.round(value * 100)}%`) : "",
    choice.load ? number(load.age, duration) : "",
    choice.reason,
  ];
}
