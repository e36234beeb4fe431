// The lines in which two texts differ. Pure.

const MOST = 4000;

// Returns [{ sign: " " | "+" | "-", text }]; equal lines far from any change are left out, as { sign: "…", text: "" }.
export function diff(before, after, around = 3) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const lines = [
    ...a.slice(0, head).map(same),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map(same),
  ];
  return folded(lines, around);
}

const same = (text) => ({ sign: " ", text });
const minus = (text) => ({ sign: "-", text });
const plus = (text) => ({ sign: "+", text });

function middle(a, b) {
  // The table of longest common parts has a cell for each pair of lines.
  if (a.length * b.length > MOST * 100) return [...a.map(minus), ...b.map(plus)];
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push(same(a[i]));
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
      lines.push(minus(a[i]));
      i += 1;
    } else {
      lines.push(plus(b[j]));
      j += 1;
    }
  }
  return [...lines, ...a.slice(i).map(minus), ...b.slice(j).map(plus)];
}

function folded(lines, around) {
  const near = lines.map(() => false);
  lines.forEach((line, at) => {
    if (line.sign !== " ") near.fill(true, Math.max(0, at - around), at + around + 1);
  });
  const kept = [];
  lines.forEach((line, at) => {
    if (near[at]) kept.push(line);
    else if (at > 0 && near[at - 1]) kept.push({ sign: "…", text: "" });
  });
  return kept;
}
