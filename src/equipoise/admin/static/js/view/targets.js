// A pool's targets, a row each. With hundreds of them only the rows whose words changed are drawn again.

import { setState } from "../actions.js";
import { age, count, instant, milliseconds, plural, rate } from "../format.js";
import { MOST_LINES } from "../history.js";
import { Component, html, useMemo, useState } from "../html.js";
import { colour, dash } from "../plot.js";
import { Pencil, Trash } from "./icons.js";

// From this many on there is a box to find one in.
const SEARCH_FROM = 10;
const COLUMNS = [
  ["name", "Target", (row) => row.name],
  ["health", "Health", (row) => row.health],
  ["inFlight", "In flight", (row) => row.inFlight],
  ["weight", "Weight", (row) => row.weight],
  ["rate", "Req/s", (row) => row.rate ?? -1],
  ["mean", "Response", (row) => row.mean],
  ["failures", "Failures", (row) => row.failures],
];
const HEALTH = { up: "Up", down: "Down", draining: "Draining" };

export function Targets({ store, pool, targets, history, highlight, onHighlight }) {
  const [find, setFind] = useState("");
  const [sort, setSort] = useState(null);
  const rows = visible(targets.map((target) => row(target, history, store.now())), find, sort);
  const top = Math.max(1, ...targets.map((target) => target.in_flight));
  const up = targets.filter((target) => target.health === "up");
  // A mark for the mean in each bar: where all bars would end if all had the same.
  const mean = up.length > 1 ? up.reduce((sum, target) => sum + target.in_flight, 0) / up.length : null;
  const scale = nice(top);
  const handlers = useMemo(() => rowHandlers(store, pool, onHighlight), [store, pool]);
  if (!targets.length) {
    return html`<p class="empty">No targets yet: every request to this pool is answered 503.</p>`;
  }
  return html`<div class="targets" data-many=${targets.length > 16 ? "" : undefined}>
    ${targets.length >= SEARCH_FROM &&
    html`<div class="find">
      <input type="search" placeholder="Find by name, address or health" aria-label="Find targets in ${pool}" value=${find} onInput=${(event) => setFind(event.currentTarget.value)} />
      <span>${rows.length === targets.length ? plural(targets.length, "target") : `${count(rows.length)} of ${plural(targets.length, "target")}`}</span>
    </div>`}
    <div class="scroll" tabindex=${targets.length > 16 ? 0 : undefined}>
      <table role="table" aria-label="Targets of ${pool}">
        <thead role="rowgroup">
          <tr role="row">
            ${COLUMNS.map(([key, word]) => html`<${Heading} key=${key} id=${key} word=${word} sort=${sort} onSort=${setSort} />`)}
            ${store.mayWrite && html`<th role="columnheader" scope="col" class="col-actions"><span class="sr">Actions</span></th>`}
          </tr>
        </thead>
        <tbody role="rowgroup">
          ${rows.map(
            (each) =>
              html`<${Row} key=${each.name} ...${each} scale=${scale} mark=${mean === null ? null : Math.round((mean / scale) * 500) / 5} dim=${highlight !== null && highlight !== each.name} write=${store.mayWrite} on=${handlers} calm=${targets.length > 50} />`,
          )}
        </tbody>
      </table>
      ${!rows.length && html`<p class="empty">Nothing matches “${find}”.</p>`}
    </div>
  </div>`;
}

/** What a row shows, as plain values that can be compared. */
function row(target, history, now) {
  const track = history.tracks.get(target.name);
  const leaving = target.health === "draining" && Boolean(target.reason?.startsWith("removed"));
  return {
    name: target.name,
    url: target.url,
    // Where the plot shows the range over all, no colour stands for a single one.
    slot: history.tracks.size > MOST_LINES ? null : history.slot(target.name),
    health: target.health,
    ordered: target.state ?? (target.health === "draining" ? "draining" : "up"),
    leaving,
    reason: target.reason ?? "",
    since: target.since ?? "",
    age: target.since ? age(now - Date.parse(target.since) / 1000) : "",
    inFlight: target.in_flight,
    limit: target.max_in_flight,
    weight: target.weight,
    rate: track?.rate.at(-1) ?? null,
    rateText: rate(track?.rate.at(-1)),
    mean: target.mean_response_ms,
    meanText: milliseconds(target.mean_response_ms).join("\u202f"),
    failures: target.failures,
    failing: (track?.failureRate ?? 0) > 0,
  };
}

function visible(rows, find, sort) {
  const word = find.trim().toLowerCase();
  const found = word ? rows.filter((each) => `${each.name} ${each.url} ${each.health}`.toLowerCase().includes(word)) : rows;
  if (!sort) return found;
  const value = COLUMNS.find(([key]) => key === sort.key)[2];
  const sign = sort.down ? -1 : 1;
  return [...found].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
  });
}

/** One scale for all bars: a round number not below the highest. */
function nice(value) {
  if (value <= 10) return 10;
  const step = 10 ** Math.floor(Math.log10(value)) / 2;
  return Math.ceil(value / step) * step;
}

function rowHandlers(store, pool, onHighlight) {
  return {
    highlight: onHighlight,
    state: (target, state) => setState(store, pool, target, state),
    edit: (target) => store.open({ kind: "edit", pool, target }),
    remove: (target) => store.open({ kind: "remove", pool, target }),
  };
}

function Heading({ id, word, sort, onSort }) {
  const active = sort?.key === id;
  // The first press puts the interesting end on top: the most loaded, the slowest; names from a to z.
  const next = () => (active && sort.turned ? null : { key: id, down: active ? !sort.down : id !== "name", turned: active });
  const order = active ? (sort.down ? "descending" : "ascending") : "none";
  return html`<th role="columnheader" scope="col" class="col-${id}" aria-sort=${order}>
    <button type="button" class="heading" onClick=${() => onSort(next())}>${word}<i aria-hidden="true">${active ? (sort.down ? "↓" : "↑") : ""}</i></button>
  </th>`;
}

class Row extends Component {
  shouldComponentUpdate(next) {
    // The raw figures are for sorting; their texts are what shows.
    for (const key in next) if (next[key] !== this.props[key] && key !== "rate" && key !== "mean") return true;
    return false;
  }

  render(p) {
    const ink = { "--ink": `var(${colour(p.slot ?? 0)})` };
    // The scheme is said where it is not the usual one; the address, where it is not the name already.
    const address = p.url.replace(/^http:\/\//, "");
    return html`<tr role="row" class="target" data-target=${p.name} data-health=${p.health} data-dim=${p.dim ? "" : undefined} style=${ink} onMouseEnter=${() => p.on.highlight(p.name)} onMouseLeave=${() => p.on.highlight(null)}>
      <th role="rowheader" scope="row" class="col-name">
        <div class="name">
          ${p.slot !== null && html`<${Swatch} slot=${p.slot} />`}
          <span class="words"><span class="title" title=${p.url}>${p.name}</span>${address !== p.name && html`<span class="sub">${address}</span>`}</span>
        </div>
      </th>
      <td role="cell" class="col-health">
        <span class="chip" data-health=${p.health}>${HEALTH[p.health] ?? p.health}</span>
        <time class="sub" dateTime=${p.since} title="since ${instant(p.since)}">${p.age}</time>
        ${p.reason && html`<span class="sub reason" title=${p.reason}>${p.reason}</span>`}
      </td>
      <td role="cell" class="col-inFlight"><${Bar} ...${p} /></td>
      <td role="cell" class="col-weight number" data-label="Weight">${count(p.weight)}</td>
      <td role="cell" class="col-rate number" data-label="Req/s">${p.rateText}</td>
      <td role="cell" class="col-mean number" data-label="Response">${p.meanText}</td>
      <td role="cell" class="col-failures number" data-label="Failures"><span class=${p.failing ? "bad" : p.failures ? "" : "faint"}>${count(p.failures)}</span></td>
      ${p.write && html`<td role="cell" class="col-actions"><${Actions} ...${p} /></td>`}
    </tr>`;
  }
}

function Bar({ inFlight, limit, scale, mark, calm }) {
  const share = Math.min(1, inFlight / scale);
  return html`<div class="load">
    <b class="load-number">${count(inFlight)}</b>
    <div class="bar" data-calm=${calm ? "" : undefined} title=${limit ? `at most ${count(limit)} in flight` : undefined}>
      <i class="bar-fill" style=${{ transform: `scaleX(${share.toFixed(4)})` }}></i>
      ${limit > 0 && limit <= scale && html`<i class="bar-limit" style=${{ left: `${((limit / scale) * 100).toFixed(1)}%` }}></i>`}
      ${mark !== null && html`<i class="bar-mean" style=${{ left: `${mark}%` }}></i>`}
    </div>
  </div>`;
}

function Swatch({ slot }) {
  return html`<svg class="swatch" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    <line x1="1" y1="8" x2="15" y2="8" stroke-width="3.2" stroke-dasharray=${dash(slot).join(" ")} stroke-linecap="butt" />
  </svg>`;
}

function Actions({ name, ordered, leaving, on }) {
  if (leaving) return html`<span class="sub">leaving</span>`;
  const active = ordered === "up";
  const word = active ? "Drain" : "Enable";
  return html`<div class="actions">
    <button type="button" class="ghost turn" aria-label="${word} ${name}" title=${active ? "Drain: finish what is in flight, take nothing new" : "Enable: take requests again"} onClick=${() => on.state(name, active ? "draining" : "up")}>${word}</button>
    <button type="button" class="ghost square" aria-label="Change ${name}" title="Weight, limit, state" aria-haspopup="dialog" onClick=${() => on.edit(name)}><${Pencil} /></button>
    <button type="button" class="ghost square" aria-label="Remove ${name}" title="Remove" aria-haspopup="dialog" onClick=${() => on.remove(name)}><${Trash} /></button>
  </div>`;
}
