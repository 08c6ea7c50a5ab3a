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

/** Drains a target, or takes it back; without a dialog, since the opposite is one press away. */
export async function setState(store, pool, target, state) {
  const failed = await changeTarget(store, pool, target, { state }, store.status.version);
  if (failed) store.toast(failed.message, true);
  else store.toast(state === "up" ? `${target} takes requests again` : `${target} is draining: no new requests go there`);
}
