// Server-sent events out of a stream of text. EventSource can not send the admin token, so the page reads the stream itself.

// Returns a function that takes the next piece of text and returns the events that it completes.
export function parser() {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    return blocks.map(event).filter((found) => found.data !== "");
  };
}

function event(block) {
  const found = { kind: "message", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) found.kind = line.slice(7);
    else if (line.startsWith("data: ")) found.data += line.slice(6);
  }
  return found;
}

// Seconds to wait before another try, after so many in vain.
export function pause(tries) {
  return Math.min(10, 0.5 * 2 ** Math.min(tries, 6));
}
