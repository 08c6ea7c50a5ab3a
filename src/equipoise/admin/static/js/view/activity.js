// What happened: flips, changes, workers; the newest on top.

import { clock, instant } from "../format.js";
import { html, useMemo } from "../html.js";

export function Activity({ store }) {
  const { log } = store;
  const today = new Date().toDateString();
  const list = useMemo(() => log.map((entry) => html`<${Entry} key=${entry.key} entry=${entry} today=${today} />`), [store.logRevision, today]);
  return html`<section class="card activity" aria-labelledby="activity-title">
    <h2 id="activity-title">Activity</h2>
    ${log.length ? html`<ol tabindex="0" aria-labelledby="activity-title">${list}</ol>` : html`<p class="empty">Nothing has changed since the balancer started.</p>`}
  </section>`;
}

function Entry({ entry, today }) {
  const at = new Date(entry.time * 1000);
  const when = at.toDateString() === today ? clock(entry.time) : at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  return html`<li data-kind=${entry.kind} data-tone=${tone(entry)}>
    <time dateTime=${at.toISOString()} title=${instant(at)}>${when}</time>
    <span class="what">${words(entry)}</span>
  </li>`;
}

function tone({ kind, data }) {
  if (kind === "flip") return data.to === "up" ? "good" : data.to === "down" ? "bad" : "warn";
  if (kind === "worker") return data.event === "died" ? "bad" : "plain";
  return "change";
}

function words({ kind, data, text }) {
  if (kind === "flip") {
    return html`<b>${data.target}</b> is ${data.to} ${data.reason && html`<span class="sub">${data.reason}</span>`}`;
  }
  if (kind === "change") return html`${text}<span class="sub">version ${data.version}</span>`;
  return html`${text}`;
}

export function Workers({ store }) {
  const { workers, version } = store.status;
  return html`<section class="card workers" aria-labelledby="workers-title">
    <h2 id="workers-title">Workers</h2>
    <table>
      <thead><tr><th scope="col">Process</th><th scope="col" class="number">Connections</th><th scope="col" class="number">Version</th></tr></thead>
      <tbody>
        ${workers.map(
          (worker) => html`<tr key=${worker.pid}>
            <th scope="row">${worker.pid}</th>
            <td class="number">${worker.connections}</td>
            <td class="number"><span class=${worker.version !== undefined && worker.version < version ? "warn" : ""}>${worker.version ?? version}</span></td>
          </tr>`,
        )}
      </tbody>
    </table>
    ${dropped(workers) > 0 && html`<p class="warn small">${dropped(workers)} access-log lines were dropped: the log is written more slowly than requests arrive.</p>`}
  </section>`;
}

function dropped(workers) {
  return workers.reduce((sum, worker) => sum + (worker.log_dropped ?? 0), 0);
}

