// The balancer in one line of figures.

import { count, duration, plural, rate } from "../format.js";
import { html } from "../html.js";

export function Summary({ store }) {
  const { status, sparks } = store;
  const pools = Object.values(status.pools);
  const targets = pools.flatMap((pool) => pool.targets);
  const up = targets.filter((target) => target.health === "up").length;
  const down = targets.filter((target) => target.health === "down").length;
  const spread = Math.max(0, ...pools.map((pool) => pool.spread));
  const tracks = Object.keys(status.pools).flatMap((name) => [...store.histories.get(name).tracks.values()]);
  const failures = sum(tracks.map((track) => (track.present ? track.failureRate : null)));
  const behind = status.workers.filter((worker) => worker.version !== undefined && worker.version < status.version).length;
  const connections = status.workers.reduce((total, worker) => total + worker.connections, 0);
  return html`<section class="summary" aria-label="Summary">
    <${Figure} label="In flight" value=${count(sparks.inFlight.at(-1))} spark=${sparks.inFlight} />
    <${Figure} label="Spread" value=${count(spread)} note="most − least in flight" />
    <${Figure} label="Requests/s" value=${rate(sparks.rate.at(-1))} spark=${sparks.rate} />
    <${Figure} label="Failures/s" value=${rate(failures)} tone=${failures > 0 ? "bad" : ""} note=${failures > 0 ? "see the targets" : "none now"} />
    <${Figure} label="Targets up" value=${`${count(up)} / ${count(targets.length)}`} tone=${down ? "bad" : up < targets.length ? "warn" : ""} note=${plural(pools.length, "pool")} />
    <${Figure} label="Workers" value=${count(status.workers.length)} note=${behind ? `${behind} not yet at version ${status.version}` : `${plural(connections, "connection")}`} />
    <${Figure} label="Uptime" value=${duration(status.uptime_s)} note=${status.compiled === false ? "interpreted" : "compiled"} />
    <${Figure} label="Version" value=${count(status.version)} note="of the configuration" />
  </section>`;
}

function Figure({ label, value, note, spark, tone = "" }) {
  return html`<div class="figure" data-figure=${label}>
    <div class="figure-label">${label}</div>
    <div class="figure-value ${tone}">${value}</div>
    ${spark ? html`<${Spark} values=${spark} />` : html`<div class="figure-note">${note}</div>`}
  </div>`;
}

/** The last minute as a small line; the scale starts at 0. */
function Spark({ values }) {
  const width = 100;
  const height = 18;
  const high = Math.max(1, ...values.map((value) => value ?? 0));
  const points = values
    .map((value, i) => [width - (values.length - 1 - i) * (width / 59), value])
    .filter(([, value]) => value !== null)
    .map(([x, value]) => `${x.toFixed(1)},${(height - 1 - (value / high) * (height - 3)).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
    ${points.length > 1 && html`<polygon points="${points[0].split(",")[0]},${height} ${points.join(" ")} ${width},${height}" />`}
    <polyline points=${points.join(" ")} />
  </svg>`;
}

function sum(values) {
  const known = values.filter((value) => value != null);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}
