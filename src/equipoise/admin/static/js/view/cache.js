// The cache of a pool: a switch, how often it had the answer, how full it is, and ways to set and empty it.

import { switchCache } from "../actions.js";
import { count, percent, plural, size } from "../format.js";
import { html } from "../html.js";

export function Cache({ store, pool, cache }) {
  if (!cache) return null;
  const looked = cache.hits + cache.misses;
  return html`<section class="cache" aria-label="Cache of ${pool}" data-cache=${cache.enabled ? "on" : "off"}>
    ${store.mayWrite
      ? html`<button type="button" role="switch" class="switch" aria-checked=${cache.enabled ? "true" : "false"} onClick=${() => press(store, pool, cache)}>
          <i class="switch-knob" aria-hidden="true"></i>Cache
        </button>`
      : html`<span class="cache-word">Cache ${cache.enabled ? "on" : "off"}</span>`}
    ${cache.enabled &&
    html`<p class="facts">
      <span title=${looked ? `${count(cache.hits)} of ${plural(looked, "request")}` : "no request yet"}><b class="hit-ratio">${percent(cache.hit_ratio)}</b> hits</span>
      <span>${plural(cache.entries, "answer")}</span>
      <span>${size(cache.bytes)} of ${size(cache.max_bytes)}</span>
      ${cache.evictions > 0 && html`<span>${count(cache.evictions)} evicted</span>`}
      <span>${cache.mode === "rfc9111" ? "HTTP caching (RFC 9111)" : `${ttl(cache.ttl)} for identical requests`}</span>
    </p>`}
    ${cache.enabled &&
    store.mayWrite &&
    html`<div class="cache-actions">
      <button type="button" class="ghost" aria-haspopup="dialog" aria-label="Set the cache of ${pool}" onClick=${() => store.open({ kind: "cache", pool })}>Settings</button>
      <button type="button" class="ghost" aria-haspopup="dialog" aria-label="Purge the cache of ${pool}" onClick=${() => store.open({ kind: "purge", pool })}>Purge</button>
    </div>`}
  </section>`;
}

/** Switching on loses nothing. Switching off empties the cache, so it is asked for where there is something to lose. */
function press(store, pool, cache) {
  if (cache.enabled && cache.entries > 0) store.open({ kind: "cache-off", pool });
  else void switchCache(store, pool, !cache.enabled);
}

/** Seconds as the file has them: 500ms, 30s, 5m, 1h. */
export function ttl(seconds) {
  for (const [unit, length] of [["h", 3600], ["m", 60], ["s", 1]]) {
    if (seconds >= length && seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return `${Math.round(seconds * 1000)}ms`;
}
