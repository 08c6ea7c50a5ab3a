// One pool: its name and algorithm, its cache, its two plots, its targets.

import { algorithmName, count, milliseconds, plural, rate } from "../format.js";
import { html, useMemo, useState } from "../html.js";
import { MOST_LINES } from "../history.js";
import { Plot } from "../plot.js";
import { Cache } from "./cache.js";
import { Chevron, Plus } from "./icons.js";
import { Targets } from "./targets.js";

const INKS = { up: "--good", down: "--bad", draining: "--warn" };
const SECOND = {
  rate: ["Requests per second", rate],
  mean: ["Mean response time, 5 minutes", (value) => milliseconds(value).join(" ")],
};

export function Pool({ store, name, pool, theme }) {
  const [highlight, setHighlight] = useState(null);
  const [second, setSecond] = useState("rate");
  const history = store.histories.get(name);
  const markers = useMemo(() => flips(store.log, name), [store.logRevision, name]);
  const up = pool.targets.filter((target) => target.health === "up").length;
  const total = pool.targets.reduce((sum, target) => sum + target.in_flight, 0);
  const algorithm = store.algorithms.find((each) => each.name === pool.algorithm);
  const many = history.tracks.size > MOST_LINES;
  const shared = { history, markers, highlight, theme, revision: store.revision, group: `pool ${name}` };
  const [title, format] = SECOND[second];
  return html`<section class="card pool" aria-labelledby=${`pool-${name}`} data-pool=${name}>
    <header class="pool-head">
      <div class="pool-title">
        <h2 id=${`pool-${name}`}><span class="overline">Pool</span> ${name}</h2>
        <p class="facts">
          <span class=${up < pool.targets.length ? "warn" : ""}>${up} of ${plural(pool.targets.length, "target")} up</span>
          <span>${count(total)} in flight</span>
          <span data-spread=${pool.spread}>spread ${count(pool.spread)}</span>
        </p>
      </div>
      <div class="pool-actions">
        ${store.mayWrite
          ? html`<button type="button" class="select" aria-haspopup="dialog" onClick=${() => store.open({ kind: "algorithm", pool: name })}>
              <span class="select-label">Algorithm</span>${algorithmName(pool.algorithm)}<${Chevron} />
            </button>
            <button type="button" class="primary" aria-haspopup="dialog" onClick=${() => store.open({ kind: "add", pool: name })}><${Plus} />Add target</button>`
          : html`<span class="select-like"><span class="select-label">Algorithm</span>${algorithmName(pool.algorithm)}</span>`}
      </div>
      ${algorithm?.promise && html`<p class="promise">${algorithmName(pool.algorithm)}: ${algorithm.promise}.</p>`}
    </header>
    <${Cache} store=${store} pool=${name} cache=${pool.cache} />
    ${pool.targets.length > 0 &&
    html`<div class="plots">
      <figure>
        <figcaption>In flight${many ? ": highest, mean and lowest" : " per target"}</figcaption>
        <${Plot} ...${shared} quantity="inFlight" format=${count} whole=${true} label=${spoken(pool)} />
      </figure>
      <figure>
        <figcaption>
          ${title}
          <span class="segments" role="group" aria-label="What the second plot shows">
            ${Object.entries({ rate: "Rate", mean: "Response" }).map(
              ([key, word]) => html`<button key=${key} type="button" aria-pressed=${second === key ? "true" : "false"} onClick=${() => setSecond(key)}>${word}</button>`,
            )}
          </span>
        </figcaption>
        <${Plot} ...${shared} quantity=${second} format=${format} label="${title} of each target over the last minutes; the table has the current values" />
      </figure>
    </div>`}
    <${Targets} store=${store} pool=${name} targets=${pool.targets} history=${history} highlight=${highlight} onHighlight=${setHighlight} />
  </section>`;
}

/** What the first plot shows now, for those who do not see it. */
function spoken(pool) {
  const first = pool.targets.slice(0, MOST_LINES).map((target) => `${target.name} ${target.in_flight}`);
  return `Requests in flight per target over the last minutes. Now: ${first.join(", ")}`;
}

function flips(log, pool) {
  const its = log.filter((entry) => entry.kind === "flip" && entry.data.pool === pool);
  return its.map(({ time, data }) => ({ time, label: `${data.target} ${data.to}`, ink: INKS[data.to] ?? "--muted" }));
}
