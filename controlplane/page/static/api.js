// The admin API. The token stays in this tab (sessionStorage) and goes out as a header only.

const KEY = "routerctl-token";
const PATIENCE = 30_000;

// The API said no; `message` is for people.
export class Refused extends Error {
  constructor(status, message, told = null) {
    super(message);
    this.status = status;
    this.told = told;
  }
}

export class Api {
  // `onSignIn` is called when the router asks for a token, or for another one.
  constructor(onSignIn) {
    this.onSignIn = onSignIn;
  }

  get hasToken() {
    return sessionStorage.getItem(KEY) !== null;
  }

  signIn(token) {
    sessionStorage.setItem(KEY, token);
  }

  signOut() {
    sessionStorage.removeItem(KEY);
  }

  get headers() {
    const token = sessionStorage.getItem(KEY);
    return token === null ? {} : { authorization: `Bearer ${token}` };
  }

  get(path) {
    return this.send("GET", path);
  }

  post(path, body = {}) {
    return this.send("POST", path, body);
  }

  delete(path) {
    return this.send("DELETE", path);
  }

  // Returns what was answered. Throws Refused.
  async send(method, path, body) {
    const options = { method, headers: this.headers, signal: AbortSignal.timeout(PATIENCE), cache: "no-store" };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["content-type"] = "application/json";
    }
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Refused(0, "The router can not be reached.");
    }
    const told = await answer.json().catch(() => null);
    if (answer.ok) return told;
    if (answer.status === 401) this.onSignIn();
    throw new Refused(answer.status, told?.error?.message ?? `The router answered ${answer.status}.`, told);
  }
}

export function workerPath(id, rest = "") {
  return `workers/${encodeURIComponent(id)}${rest}`;
}
