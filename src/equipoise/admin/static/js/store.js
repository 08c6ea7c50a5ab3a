// All that the page knows, and the one way it changes: something is heard, then everybody who listens draws again.

import { Api, Problem } from "./api.js";
import { PoolHistory } from "./history.js";
import { follow } from "./stream.js";

const LONGEST_LOG = 200;
const SPARK = 60;
const TOAST_MS = 6_000;
// An event that is older than this when it arrives is history, not news.
const FRESH_S = 5;
const KINDS = ["flip", "change", "worker"];

export class Store {
  constructor() {
    this.api = new Api((problem) => this.#refused(problem));
    /** "signed-out" | "connecting" | "live" | "reconnecting" */
    this.connection = this.api.token ? "connecting" : "signed-out";
    this.signInMessage = "";
    this.status = null;
    this.algorithms = [];
    this.histories = new Map();
    this.sparks = { inFlight: [], rate: [] };
    this.log = [];
    this.logRevision = 0;
    this.toasts = [];
    this.announcement = "";
    /** What is open over the page: {kind, ...}; null for nothing. */
    this.dialog = null;
    this.revision = 0;
    this.clockOffset = 0;
    this.heardAt = 0;
    this.#listeners = new Set();
  }

  #listeners;
  #scheduled = false;
  #following = null;
  #toastId = 0;

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Draws once a frame, however much was heard; a hidden tab draws nothing and loses nothing. */
  changed() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }

  // Signing in and out ------------------------------------------------------------------------------------------------

  get role() {
    return this.api.claims.role ?? "read";
  }

  get mayWrite() {
    return this.role === "admin";
  }

  /** Takes up work with the token of this tab, if there is one. */
  start() {
    if (this.api.token) this.#follow();
  }

  /** Tries a token; returns what is wrong with it, or null. */
  async signIn(token) {
    const before = this.api.token;
    this.api.use(token);
    try {
      await this.#load();
    } catch (error) {
      if (this.api.token === token) this.api.use(before === token ? "" : before);
      return error instanceof Problem && error.status === 401 ? `The balancer refused this token (${error.message}).` : error.message;
    }
    this.signInMessage = "";
    this.#follow();
    return null;
  }

  signOut(message = "") {
    this.#following?.abort();
    this.#following = null;
    this.api.use("");
    this.connection = "signed-out";
    this.signInMessage = message;
    this.changed();
  }

  /** Signs in anew while everything goes on, with a token that lasts longer or may do more. */
  renew() {
    this.connection = "signed-out";
    this.signInMessage = "Enter another token. The page stays as it is.";
    this.changed();
  }

  get mayCancelSignIn() {
    return Boolean(this.api.token) && this.#following !== null;
  }

  cancelSignIn() {
    this.connection = "live";
    this.changed();
  }

  #refused(problem) {
    if (this.connection === "signed-out") return;
    const what = /expired/.test(problem.message) ? "Your token has expired." : `The balancer no longer accepts your token (${problem.message}).`;
    this.signOut(`${what} Sign in again to go on; the page and what you were doing stay as they are.`);
  }

  // What is heard -----------------------------------------------------------------------------------------------------

  #follow() {
    this.#following?.abort();
    this.#following = new AbortController();
    this.connection = this.status ? "live" : "connecting";
    this.changed();
    const on = {
      connected: () => this.#load().catch(() => {}),
      lost: () => this.#connection("reconnecting"),
      event: (kind, data, id) => this.#heard(kind, data, id),
    };
    void follow(this.api, on, this.#following.signal);
  }

  /** What is there already: the status, the log so far, the algorithms. */
  async #load() {
    const [status, recent, algorithms] = await Promise.all([
      this.api.call("GET", "v1/status"),
      this.api.call("GET", "v1/events/recent"),
      this.api.call("GET", "v1/algorithms"),
    ]);
    this.algorithms = algorithms.algorithms ?? algorithms;
    for (const event of recent.events ?? []) this.#log(event.kind, event, event.id);
    this.#status(status);
    this.changed();
  }

  #connection(state) {
    if (this.connection === "signed-out" || this.connection === state) return;
    this.connection = state;
    this.changed();
  }

  #heard(kind, data, id) {
    if (kind === "status") {
      this.#status(data);
      this.#connection("live");
    } else if (KINDS.includes(kind)) {
      const entry = this.#log(kind, data, id);
      // On connecting, the stream says again what happened before.
      if (entry && this.now() - entry.time < FRESH_S) this.announcement = entry.text;
    }
    this.changed();
  }

  #status(status) {
    const heard = Date.now() / 1000;
    const time = status.time ? Date.parse(status.time) / 1000 : heard;
    // The balancer's clock and this one may differ; what is drawn and said goes by the balancer's.
    this.clockOffset = time - heard;
    this.heardAt = heard;
    this.status = status;
    this.revision += 1;
    let inFlight = 0;
    let rate = null;
    let counts = false;
    for (const [name, pool] of Object.entries(status.pools)) {
      if (!this.histories.has(name)) this.histories.set(name, new PoolHistory());
      const history = this.histories.get(name);
      counts = history.add(time, status.uptime_s, pool) || counts;
      for (const target of pool.targets) {
        inFlight += target.in_flight;
        const its = history.tracks.get(target.name).rate.at(-1) ?? null;
        if (its !== null) rate = (rate ?? 0) + its;
      }
    }
    if (!counts) return;
    this.#spark("inFlight", inFlight);
    this.#spark("rate", rate);
  }

  #spark(name, value) {
    this.sparks[name].push(value);
    if (this.sparks[name].length > SPARK) this.sparks[name].shift();
  }

  /** The balancer's clock, seconds since the epoch. */
  now() {
    return Date.now() / 1000 + this.clockOffset;
  }

  /** Adds to the log unless it is there; returns the entry if it is new. */
  #log(kind, data, id) {
    const key = `${kind} ${data.id ?? id} ${data.time}`;
    if (this.log.some((entry) => entry.key === key)) return null;
    const entry = { key, kind, data, time: Date.parse(data.time) / 1000, text: sentence(kind, data) };
    if (Number.isNaN(entry.time)) entry.time = this.now();
    // The newest first; almost always that is where it goes.
    let at = 0;
    while (at < this.log.length && this.log[at].time > entry.time) at += 1;
    this.log.splice(at, 0, entry);
    this.log.length = Math.min(this.log.length, LONGEST_LOG);
    this.logRevision += 1;
    return entry;
  }

  // What is said ------------------------------------------------------------------------------------------------------

  open(dialog) {
    this.dialog = { ...dialog, version: this.status?.version };
    this.changed();
  }

  close() {
    this.dialog = null;
    this.changed();
  }

  /** Says how something went; failures stay until they are dismissed. */
  toast(text, bad = false) {
    const id = (this.#toastId += 1);
    this.toasts = [...this.toasts, { id, text, bad }].slice(-4);
    if (!bad) setTimeout(() => this.dismiss(id), TOAST_MS);
    this.changed();
  }

  dismiss(id) {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
    this.changed();
  }

  /**
   * Carries out a write made against a version of the configuration. Returns null when it is done, or
   * {message, errors, version}: what to show, and the version to try again with.
   */
  async write(method, path, body, version) {
    try {
      const answer = await this.api.call(method, path, { body, version });
      if (this.status && answer.version) this.status = { ...this.status, version: answer.version };
      this.#refresh();
      return null;
    } catch (error) {
      if (!(error instanceof Problem)) return { message: error.message, errors: [], version };
      if (error.status !== 412) return { message: error.message, errors: error.errors, version };
      await this.#refresh();
      const now = this.status?.version ?? version;
      const last = this.log.find((entry) => entry.kind === "change");
      const what = last ? ` The last change: ${last.text}.` : "";
      return {
        message: `Not done: the configuration changed while you were looking (version ${version}, now ${now}).${what} The page shows it as it is now; look again, then repeat.`,
        errors: [],
        version: now,
      };
    }
  }

  async #refresh() {
    await this.api.call("GET", "v1/status").then(
      (status) => (this.#status(status), this.changed()),
      () => {},
    );
  }
}

/** An event in words. */
export function sentence(kind, data) {
  if (kind === "flip") {
    const reason = data.reason ? `: ${data.reason}` : "";
    return `${data.target} in ${data.pool} is ${data.to}${reason}`;
  }
  if (kind === "worker") return `worker ${data.pid} ${data.event}`;
  return data.what ?? `version ${data.version}`;
}
