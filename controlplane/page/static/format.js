// How numbers, times and names are written. Pure; what is not known is a dash.

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value) {
  if (!known(value)) return UNKNOWN;
  return value < 1000 ? String(Math.round(value)) : grouped.format(value);
}

export function share(value) {
  return known(value) ? `${Math.round(value * 100)}%` : UNKNOWN;
}

// Requests per second: two digits that mean something.
export function rate(value) {
  if (!known(value)) return UNKNOWN;
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : count(value);
}

// A duration in seconds, as short as it can be told.
export function duration(value) {
  if (!known(value)) return UNKNOWN;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${value.toFixed(2)} s`;
  return value < 120 ? `${value.toFixed(0)} s` : age(value);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

// How long something lasts: one unit, so that it seldom changes.
export function age(value) {
  if (!known(value)) return UNKNOWN;
  for (const [seconds, unit] of UNITS) {
    if (value >= seconds) return `${Math.floor(value / seconds)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(value))} s`;
}

const two = (value) => String(value).padStart(2, "0");

// The time of day of Unix seconds, in the reader's zone.
export function clock(unix) {
  const time = new Date(unix * 1000);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function date(unix) {
  const time = new Date(unix * 1000);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(unix)}`;
}

// A worker's id without what all ids have in common.
export function place(id) {
  return id.replace(/^https?:\/\//, "");
}

export function plural(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

// A value of the configuration as the file writes it, near enough for reading.
export function value(told) {
  if (told === null || told === undefined) return "not set";
  return typeof told === "string" ? told : JSON.stringify(told);
}

// The next "round" number that is not smaller: what an axis ends at.
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * step).find((round) => round >= value * 0.999);
}
