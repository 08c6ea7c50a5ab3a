// What an operator may do, as calls of the API. Each returns null when done, or what went wrong (see Store.write).

import { targetPath } from "./api.js";

export function addTarget(store, pool, target, version) {
  return store.write("POST", targetPath(pool), target, version);
}

export function changeTarget(store, pool, target, changes, version) {
  return store.write("PATCH", targetPath(pool, target), changes, version);
}

export function removeTarget(store, pool, target, force, version) {
  return store.write("DELETE", targetPath(pool, target) + (force ? "?force=true" : ""), undefined, version);
}

export function setAlgorithm(store, pool, algorithm, version) {
  return store.write("PUT", `v1/pools/${encodeURIComponent(pool)}/algorithm`, { algorithm }, version);
}

function cachePath(pool) {
  return `v1/pools/${encodeURIComponent(pool)}/cache`;
}

/** Changes some settings of a pool's cache, `enabled` among them. */
export function setCache(store, pool, changes, version) {
  return store.write("PUT", cachePath(pool), changes, version);
}

/** Drops all that a pool's cache holds, or what `which` names: {path} or {prefix}; whatever version is in force. */
export function purgeCache(store, pool, which) {
  const query = new URLSearchParams(which).toString();
  return store.write("DELETE", cachePath(pool) + (query ? `?${query}` : ""));
}

/** Switches a pool's cache; without a dialog where nothing is lost. */
export async function switchCache(store, pool, enabled) {
  const failed = await setCache(store, pool, { enabled }, store.status.version);
  if (failed) store.toast(failed.message, true);
  else store.toast(enabled ? `${pool} keeps answers from now on` : `${pool} keeps no answers any more`);
}

/** Drains a target, or takes it back; without a dialog, since the opposite is one press away. */
export async function setState(store, pool, target, state) {
  const failed = await changeTarget(store, pool, target, { state }, store.status.version);
  if (failed) store.toast(failed.message, true);
  else store.toast(state === "up" ? `${target} takes requests again` : `${target} is draining: no new requests go there`);
}
