// The last five minutes of a pool, by the second: what the plots draw. Pure: it reads no clock.

export const WINDOW_S = 300;
// A pause longer than this between two samples is a gap in the line, not a slope.
const GAP_S = 3;
// Two samples closer than this are one: a status may arrive on its own and, a moment later, on the stream.
const SAME_S = 0.5;
// Rates are taken over this long: a second's own difference jumps about, and a longer one hides a kill.
const RATE_OVER_S = 2.5;
// Colours and dashes repeat after this many targets; a plot of more shows the range over all of them instead.
export const COLOURS = 8;
export const MOST_LINES = 24;

export const QUANTITIES = ["inFlight", "rate", "mean"];

/** A counter's rate from its latest values. */
class Rate {
  #samples = [];

  /** The rate a second after this value; null while there is nothing to compare with, or when the counter went back. */
  add(at, value) {
    const last = this.#samples.at(-1);
    if (last && (value < last[1] || at < last[0])) this.#samples = [];
    if (last && at === last[0]) this.#samples.pop();
    this.#samples.push([at, value]);
    while (this.#samples.length > 2 && at - this.#samples[1][0] >= RATE_OVER_S) this.#samples.shift();
    const [since, before] = this.#samples[0];
    return at > since ? (value - before) / (at - since) : null;
  }
}

/** One target's part of a pool's history; each list is as long as the pool's `times`. */
class Track {
  constructor(slot, length) {
    this.slot = slot;
    this.inFlight = new Array(length).fill(null);
    this.rate = new Array(length).fill(null);
    this.mean = new Array(length).fill(null);
    this.requests = new Rate();
    this.failures = new Rate();
    this.up = false;
    this.present = true;
    this.missing = 0;
  }

  add(uptime, target) {
    this.present = true;
    this.missing = 0;
    this.up = target.health === "up";
    this.inFlight.push(target.in_flight);
    this.rate.push(this.requests.add(uptime, target.requests));
    this.mean.push(target.mean_response_ms || null);
    this.failureRate = this.failures.add(uptime, target.failures);
  }

  addNothing(gone) {
    if (gone) this.present = false;
    this.missing += 1;
    for (const quantity of QUANTITIES) this[quantity].push(null);
  }

  forget(number) {
    for (const quantity of QUANTITIES) this[quantity].splice(0, number);
  }
}

export class PoolHistory {
  constructor() {
    this.times = [];
    /** name -> Track, the gone ones included while a part of their line can still be seen. */
    this.tracks = new Map();
    this.envelopes = Object.fromEntries(QUANTITIES.map((quantity) => [quantity, { low: [], mean: [], high: [] }]));
  }

  /**
   * Adds a sample: seconds since the epoch, the balancer's uptime in seconds, the pool as in the status. Returns whether
   * it counts; of one that comes too soon after the last, only its new targets are taken up.
   */
  add(time, uptime, pool) {
    const last = this.times.at(-1);
    if (last !== undefined && time - last < SAME_S) {
      for (const target of pool.targets) this.#track(target.name);
      return false;
    }
    if (last !== undefined && time - last > GAP_S) this.#append(last + 1, uptime, null);
    this.#append(time, uptime, pool);
    let old = 0;
    while (old < this.times.length && this.times[old] < time - WINDOW_S - 2) old += 1;
    if (old) this.#forget(old);
    return true;
  }

  /** Colour and dash of a target: the same for as long as it is known. */
  slot(name) {
    return this.tracks.get(name)?.slot ?? 0;
  }

  #append(time, uptime, pool) {
    const seen = new Set();
    for (const target of pool?.targets ?? []) {
      seen.add(target.name);
      this.#track(target.name).add(uptime, target);
    }
    for (const [name, track] of this.tracks) if (!seen.has(name)) track.addNothing(pool !== null);
    this.times.push(time);
    for (const quantity of QUANTITIES) this.#envelop(quantity);
  }

  #envelop(quantity) {
    let low = Infinity;
    let high = -Infinity;
    let sum = 0;
    let number = 0;
    for (const track of this.tracks.values()) {
      const value = track.up && track.present ? track[quantity].at(-1) : null;
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      sum += value;
      number += 1;
    }
    const envelope = this.envelopes[quantity];
    envelope.low.push(number ? low : null);
    envelope.mean.push(number ? sum / number : null);
    envelope.high.push(number ? high : null);
  }

  #forget(number) {
    this.times.splice(0, number);
    for (const envelope of Object.values(this.envelopes)) {
      for (const list of Object.values(envelope)) list.splice(0, number);
    }
    for (const [name, track] of this.tracks) {
      track.forget(number);
      if (track.missing >= this.times.length) this.tracks.delete(name);
    }
  }

  #track(name) {
    let track = this.tracks.get(name);
    if (!track) {
      track = new Track(this.#freeSlot(), this.times.length);
      this.tracks.set(name, track);
    }
    return track;
  }

  #freeSlot() {
    const taken = new Set([...this.tracks.values()].map((track) => track.slot));
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    return slot;
  }
}
