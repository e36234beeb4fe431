// The page put together: what is shown, what it follows, and where a link leads.

import { Api } from "./api.js";
import { attribute, words } from "./dom.js";
import { follow } from "./live.js";
import { route } from "./route.js";
import { signIn } from "./signin.js";
import { apply, nothing, withEvents } from "./store.js";
import * as config from "./view_config.js";
import * as events from "./view_events.js";
import * as fleet from "./view_fleet.js";
import * as planes from "./view_planes.js";
import * as request from "./view_request.js";
import * as requests from "./view_requests.js";
import * as worker from "./view_worker.js";

const VIEWS = { fleet, worker, requests, request, planes, config, events };
// The entry of the menu that a view belongs to.
const MENU = { worker: "fleet", request: "requests" };

const main = document.querySelector("main");
const say = words(document.querySelector("#said"));
const line = document.querySelector("#line");
const [setLine, setLineTone] = [words(line), attribute(line, "data-line")];
let isSigningIn = false;
let current = null;
let received = 0;
let isDue = false;

const app = {
  api: new Api(askForToken),
  state: nothing(),
  events: [],
  // The router's clock, in Unix seconds.
  now: () => app.state.at + (performance.now() - received) / 1000,
  say(text) {
    say("");
    setTimeout(() => say(text));
  },
};

const live = follow(app.api, { onEvent: take, onLine: showLine });

function take(kind, data) {
  if (kind === "change") {
    apply(app.state, data);
    received = performance.now();
    if (data.full) loadEvents();
  } else if (kind === "events") {
    app.events = withEvents(app.events, data);
  }
  // One drawing for all that comes within a frame.
  if (!isDue) requestAnimationFrame(draw);
  isDue = true;
}

function draw() {
  isDue = false;
  current?.update();
}

async function loadEvents() {
  const told = await app.api.get("events?limit=1000").catch(() => ({ events: [] }));
  app.events = withEvents(app.events, told.events);
  draw();
}

function showLine(state) {
  setLineTone(state);
  setLine({ live: "live", lost: "connection lost, trying again", refused: "signed out" }[state]);
}

function show() {
  if (isSigningIn) return;
  const { view: chosen, query, id } = route(location.hash, Object.keys(VIEWS));
  current?.leave();
  current = VIEWS[chosen].view(app, query, id);
  main.replaceChildren(current.node);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${MENU[chosen] ?? chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${current.title} · routerctl`;
  if (app.state.router) current.update();
}

async function askForToken() {
  if (isSigningIn) return;
  isSigningIn = true;
  current?.leave();
  current = null;
  document.body.dataset.signedIn = "no";
  await signIn(app.api, main);
  isSigningIn = false;
  begin();
}

function begin() {
  document.body.dataset.signedIn = app.api.hasToken ? "token" : "open";
  show();
  live.start();
}

const theme = document.querySelector("#theme");
theme.value = document.documentElement.dataset.theme ?? "auto";
theme.addEventListener("change", () => {
  if (theme.value === "auto") {
    localStorage.removeItem("routerctl-theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("routerctl-theme", theme.value);
    document.documentElement.dataset.theme = theme.value;
  }
});
document.querySelector("#sign-out").addEventListener("click", () => {
  app.api.signOut();
  location.reload();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => {
  show();
  // Where a link leads is read from its beginning.
  main.querySelector("h1")?.focus();
  window.scrollTo(0, 0);
});
begin();
