// Follows the router's stream, and takes it up again when it breaks.

import { parser, pause } from "./sse.js";

// Milliseconds without a word (the router says something each 5 s) after which the line is taken as broken.
const SILENCE = 15_000;

// Calls `onEvent` with each event and `onLine` with "live", "lost" or "refused". A hidden page listens to nothing:
// browsers have few connections to one server, and other tabs need them.
export function follow(api, { onEvent, onLine }) {
  let tries = 0;
  let open = null;
  let later = null;

  async function listen() {
    const line = new AbortController();
    open = line;
    let timer = null;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => line.abort(), SILENCE);
    };
    try {
      alive();
      const answer = await fetch("live", { headers: api.headers, signal: line.signal, cache: "no-store" });
      if (answer.status === 401) {
        onLine("refused");
        api.onSignIn();
        open = null;
        return;
      }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const take = parser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        alive();
        for (const event of take(part.value)) {
          tries = 0;
          onLine("live");
          onEvent(event.kind, JSON.parse(event.data));
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError) && error.name !== "AbortError" && !String(error.message).startsWith("status")) throw error;
    } finally {
      clearTimeout(timer);
      if (open === line) {
        open = null;
        if (!document.hidden) {
          onLine("lost");
          later = setTimeout(listen, pause(tries) * 1000);
          tries += 1;
        }
      }
    }
  }

  function stop() {
    clearTimeout(later);
    const line = open;
    open = null;
    line?.abort();
  }

  document.addEventListener("visibilitychange", () => {
    stop();
    if (!document.hidden) listen();
  });
  return {
    start() {
      stop();
      tries = 0;
      listen();
    },
  };
}
