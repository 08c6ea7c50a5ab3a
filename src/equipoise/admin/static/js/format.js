// Numbers and times as people read them. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const NOTHING = "–";

/** A count: 1,234; from a million on 1.2M. */
export function count(value) {
  if (value == null) return NOTHING;
  return Math.abs(value) >= 1e6 ? compact.format(value) : whole.format(value);
}

/** Something a second: 0.5, 12, 1,234, 56.7K. */
export function rate(value) {
  if (value == null) return NOTHING;
  if (value >= 1e5) return compact.format(value);
  return value > 0 && value < 9.95 ? tenth.format(value) : whole.format(value);
}

/** Milliseconds as [number, unit]. */
export function milliseconds(value) {
  if (value == null || value === 0) return [NOTHING, ""];
  if (value >= 1000) return [hundredth.format(value / 1000), "s"];
  if (value >= 100) return [whole.format(value), "ms"];
  return [value >= 10 ? tenth.format(value) : hundredth.format(value), "ms"];
}

/** Bytes with the largest unit that leaves something in front of the point: 512 B, 1.5 MiB. */
export function size(value) {
  if (value == null) return NOTHING;
  const power = value < 1 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  const number = value / 1024 ** power;
  return `${power ? tenth.format(number) : whole.format(number)}\u202f${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/** A part of one: 93.5 %. */
export function percent(value) {
  return value == null ? NOTHING : `${tenth.format(100 * value)}\u202f%`;
}

/** Seconds in at most two units: 42s, 3m 5s, 2h 10m, 5d 3h. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

/** Seconds in one unit, which changes seldom enough not to redraw 500 rows each second: 5s, 3m, 2h, 5d. */
export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 10) return "just now";
  if (s < 60) return `${Math.floor(s / 10) * 10}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 86400) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86400)}d`;
}

/** Seconds since the epoch as 14:03:22, here. */
export function clock(seconds, withSeconds = true) {
  const at = new Date(seconds * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return withSeconds ? `${minutes}:${two(at.getSeconds())}` : minutes;
}

/** An instant in full, for a tooltip. */
export function instant(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? String(text ?? "") : at.toLocaleString();
}

/** least_in_flight -> Least in flight; python:module:Class stays. */
export function algorithmName(name) {
  if (name.includes(":")) return name;
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** 1 target, 2 targets. */
export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
