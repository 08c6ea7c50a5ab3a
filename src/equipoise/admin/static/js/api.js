// The admin API as the page calls it: one token, JSON in and out, problems as errors.

/** What the API answered instead of a result (RFC 9457). */
export class Problem extends Error {
  constructor(status, document = {}) {
    super(document.detail || document.title || `the balancer answered ${status}`);
    this.status = status;
    this.title = document.title ?? "";
    /** [{place, message}]: what is wrong, and where. */
    this.errors = Array.isArray(document.errors) ? document.errors : [];
  }
}

/** Nobody answered at all. */
export class Unreachable extends Error {
  constructor() {
    super("The balancer cannot be reached.");
  }
}

const STORED = "equipoise.token";

export class Api {
  /** `refused(problem)` is called whenever the token is not accepted. */
  constructor(refused) {
    this.refused = refused;
    this.token = sessionStorage.getItem(STORED) ?? "";
  }

  /** Takes a token, kept for this tab alone and until it is closed. */
  use(token) {
    this.token = token;
    if (token) sessionStorage.setItem(STORED, token);
    else sessionStorage.removeItem(STORED);
  }

  /** What the token says of itself, for display; the balancer alone judges it. */
  get claims() {
    try {
      const payload = this.token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0))));
    } catch {
      return {};
    }
  }

  /** The JSON of an answer. `version` makes the call fail with 412 when the configuration has moved on. */
  async call(method, path, { body, version, signal } = {}) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (version !== undefined) headers["If-Match"] = `"${version}"`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.open(path, { method, headers, body: text, signal });
    try {
      return await response.json();
    } catch {
      throw new Unreachable();
    }
  }

  /** An answer whose body is still to be read. */
  async open(path, { method = "GET", headers = {}, body, signal } = {}) {
    const token = this.token;
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: { ...headers, Authorization: `Bearer ${token}` },
        body,
        signal,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable();
    }
    if (response.ok) return response;
    const problem = new Problem(response.status, await response.json().catch(() => ({})));
    // An answer to a token that was replaced meanwhile says nothing about the new one.
    if (response.status === 401 && token === this.token) this.refused(problem);
    throw problem;
  }
}

/** The path of a pool's targets, or of one of them. */
export function targetPath(pool, target) {
  const base = `v1/pools/${encodeURIComponent(pool)}/targets`;
  return target === undefined ? base : `${base}/${encodeURIComponent(target)}`;
}
