// What an operator is asked before a change: one dialog for each.

import { addTarget, changeTarget, purgeCache, removeTarget, setAlgorithm, setCache } from "../actions.js";
import { algorithmName, plural } from "../format.js";
import { html, useState } from "../html.js";
import { ttl } from "./cache.js";
import { Dialog, errorAt, Field, tied, useWrite, Wrong } from "./dialog.js";

const STATES = {
  up: ["Up", "takes requests whenever its health allows"],
  draining: ["Draining", "finishes what is in flight, takes nothing new"],
  down: ["Down", "takes nothing"],
};

export function Dialogs({ store }) {
  const { dialog } = store;
  if (!dialog) return null;
  const Which = DIALOGS[dialog.kind];
  return html`<${Which} key=${`${dialog.kind} ${dialog.pool} ${dialog.target}`} store=${store} ...${dialog} />`;
}

const MODES = {
  identical: ["Identical requests", "same method, host, path, query, headers and body get the same answer for a time"],
  rfc9111: ["HTTP caching", "what clients and targets say by Cache-Control, ETag and their like (RFC 9111)"],
};

function CacheSettings({ store, pool }) {
  const [before] = useState(() => store.status.pools[pool]?.cache ?? {});
  const was = { mode: before.mode, ttl: ttl(before.ttl ?? 60) };
  const [values, set] = useState(was);
  const changes = () => Object.fromEntries(Object.entries(values).map(([key, value]) => [key, value.trim()]).filter(([key, value]) => value !== was[key]));
  const { failed, busy, submit } = useWrite(
    store,
    (version) => setCache(store, pool, changes(), version),
    () => finish(store, `the cache of ${pool} was changed`),
  );
  return html`<${Dialog} title="Cache of ${pool}" onClose=${() => store.close()}>
    <form onSubmit=${submit} noValidate>
      <${Wrong} failed=${failed} fields=${Object.keys(values)} />
      <fieldset class="choices">
        <legend>Mode</legend>
        ${Object.entries(MODES).map(
          ([mode, [word, meaning]]) => html`<label key=${mode} class="choice">
            <input type="radio" name="mode" value=${mode} checked=${values.mode === mode} onChange=${() => set({ ...values, mode })} />
            <span><b>${word}</b><span class="sub">${meaning}</span></span>
          </label>`,
        )}
      </fieldset>
      <${Text} failed=${failed} values=${values} set=${set} name="ttl" label="Time" hint="How long an answer is given again, such as 30s or 5m" autofocus />
      <${Buttons} store=${store} busy=${busy} word="Apply" disabled=${Object.keys(changes()).length === 0} />
    </form>
  <//>`;
}

function CacheOff({ store, pool }) {
  const { failed, busy, submit } = useWrite(
    store,
    (version) => setCache(store, pool, { enabled: false }, version),
    () => finish(store, `${pool} keeps no answers any more`),
  );
  const entries = store.status.pools[pool]?.cache?.entries ?? 0;
  return html`<${Dialog} title="Switch the cache of ${pool} off?" onClose=${() => store.close()}>
    <form onSubmit=${submit}>
      <${Wrong} failed=${failed} />
      <p>${plural(entries, "answer")} will be dropped, and every request goes to a target.</p>
      <${Buttons} store=${store} busy=${busy} word="Switch off" danger=${true} />
    </form>
  <//>`;
}

function Purge({ store, pool }) {
  const [values, set] = useState({ which: "all", path: "/" });
  const which = () => (values.which === "all" ? {} : { [values.which]: values.path.trim() });
  const { failed, busy, submit } = useWrite(
    store,
    () => purgeCache(store, pool, which()),
    () => finish(store, `the cache of ${pool} was purged`),
  );
  const entries = store.status.pools[pool]?.cache?.entries ?? 0;
  const error = errorAt(failed, "path") ?? errorAt(failed, "prefix");
  const kinds = {
    all: ["Everything", `${plural(entries, "answer")} now`],
    path: ["One path", "with any query, unless it has one itself"],
    prefix: ["Paths that begin with", "the text below"],
  };
  return html`<${Dialog} title="Purge the cache of ${pool}" onClose=${() => store.close()}>
    <form onSubmit=${submit} noValidate>
      <${Wrong} failed=${failed} fields=${["path", "prefix"]} />
      <fieldset class="choices">
        <legend class="sr">What is dropped</legend>
        ${Object.entries(kinds).map(
          ([kind, [word, meaning]]) => html`<label key=${kind} class="choice">
            <input type="radio" name="which" value=${kind} checked=${values.which === kind} autofocus=${kind === "all"} onChange=${() => set({ ...values, which: kind })} />
            <span><b>${word}</b><span class="sub">${meaning}</span></span>
          </label>`,
        )}
      </fieldset>
      ${values.which !== "all" &&
      html`<${Field} name="path" label="Path" error=${error}>
        <input ...${tied("path", error)} autocomplete="off" spellcheck=${false} value=${values.path} onInput=${(event) => set({ ...values, path: event.currentTarget.value })} />
      <//>`}
      <${Buttons} store=${store} busy=${busy} word="Purge" danger=${true} />
    </form>
  <//>`;
}

const DIALOGS = { add: AddTarget, edit: EditTarget, remove: RemoveTarget, algorithm: Algorithm, cache: CacheSettings, "cache-off": CacheOff, purge: Purge };

function Buttons({ store, busy, word, danger, disabled }) {
  return html`<footer class="dialog-foot">
    <button type="button" onClick=${() => store.close()}>Cancel</button>
    <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy || disabled} aria-busy=${busy ? "true" : undefined}>${word}</button>
  </footer>`;
}

function finish(store, text) {
  store.close();
  store.toast(text);
}

/** The value of a number field; nothing and nonsense go to the API as they are, which says what is wrong with them. */
function numeric(text) {
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function find(store, pool, target) {
  return store.status.pools[pool]?.targets.find((each) => each.name === target);
}

function Text({ name, label, hint, failed, values, set, ...rest }) {
  const error = errorAt(failed, name);
  return html`<${Field} name=${name} label=${label} hint=${hint} error=${error}>
    <input ...${tied(name, error, hint)} autocomplete="off" spellcheck=${false} value=${values[name]} onInput=${(event) => set({ ...values, [name]: event.currentTarget.value })} ...${rest} />
  <//>`;
}

function AddTarget({ store, pool }) {
  const [values, set] = useState({ url: "http://", name: "", weight: "1", max_in_flight: "0" });
  const body = () => {
    const { url, name, weight, max_in_flight } = values;
    const given = { url: url.trim(), weight: numeric(weight), max_in_flight: numeric(max_in_flight) };
    return name.trim() ? { ...given, name: name.trim() } : given;
  };
  const { failed, busy, submit } = useWrite(
    store,
    (version) => addTarget(store, pool, body(), version),
    () => finish(store, `${body().name ?? body().url} was added to ${pool}`),
  );
  const shared = { failed, values, set };
  return html`<${Dialog} title="Add a target to ${pool}" onClose=${() => store.close()}>
    <form onSubmit=${submit} noValidate>
      <${Wrong} failed=${failed} fields=${Object.keys(values)} />
      <${Text} ...${shared} name="url" label="URL" hint="http://host:port, https://… or h2c://…" inputmode="url" autofocus />
      <${Text} ...${shared} name="name" label="Name" hint="Host and port unless given" />
      <div class="pair">
        <${Text} ...${shared} name="weight" label="Weight" hint="Its share beside the others" inputmode="numeric" />
        <${Text} ...${shared} name="max_in_flight" label="Most in flight" hint="0: no limit" inputmode="numeric" />
      </div>
      <${Buttons} store=${store} busy=${busy} word="Add target" />
    </form>
  <//>`;
}

function EditTarget({ store, pool, target }) {
  const [before] = useState(() => find(store, pool, target) ?? {});
  const ordered = before.state ?? (before.health === "draining" ? "draining" : "up");
  const [values, set] = useState({ weight: String(before.weight ?? 1), max_in_flight: String(before.max_in_flight ?? 0), state: ordered });
  const changes = () => {
    const asked = { weight: numeric(values.weight), max_in_flight: numeric(values.max_in_flight), state: values.state };
    const was = { weight: before.weight, max_in_flight: before.max_in_flight, state: ordered };
    return Object.fromEntries(Object.entries(asked).filter(([key, value]) => value !== was[key]));
  };
  const nothing = Object.keys(changes()).length === 0;
  const { failed, busy, submit } = useWrite(
    store,
    (version) => changeTarget(store, pool, target, changes(), version),
    () => finish(store, `${target} was changed`),
  );
  const shared = { failed, values, set };
  return html`<${Dialog} title="Change ${target}" onClose=${() => store.close()}>
    <form onSubmit=${submit} noValidate>
      <${Wrong} failed=${failed} fields=${Object.keys(values)} />
      <div class="pair">
        <${Text} ...${shared} name="weight" label="Weight" hint="Its share beside the others" inputmode="numeric" autofocus />
        <${Text} ...${shared} name="max_in_flight" label="Most in flight" hint="0: no limit" inputmode="numeric" />
      </div>
      <fieldset class="choices">
        <legend>State</legend>
        ${Object.entries(STATES).map(
          ([state, [word, meaning]]) => html`<label key=${state} class="choice">
            <input type="radio" name="state" value=${state} checked=${values.state === state} onChange=${() => set({ ...values, state })} />
            <span><b>${word}</b><span class="sub">${meaning}</span></span>
          </label>`,
        )}
      </fieldset>
      <${Buttons} store=${store} busy=${busy} word="Apply" disabled=${nothing} />
    </form>
  <//>`;
}

function RemoveTarget({ store, pool, target }) {
  const [force, setForce] = useState(false);
  const { failed, busy, submit } = useWrite(
    store,
    (version) => removeTarget(store, pool, target, force, version),
    () => finish(store, `${target} was removed from ${pool}`),
  );
  const inFlight = find(store, pool, target)?.in_flight ?? 0;
  const others = store.status.pools[pool]?.targets.filter((each) => each.name !== target && each.health === "up").length ?? 0;
  return html`<${Dialog} title="Remove ${target}?" onClose=${() => store.close()}>
    <form onSubmit=${submit}>
      <${Wrong} failed=${failed} />
      <p>${others ? `It takes no new requests from now on; ${plural(others, "target")} of ${pool} ${others === 1 ? "goes" : "go"} on.` : `No other target of ${pool} is up: its requests will be answered 503.`}</p>
      <label class="choice">
        <input type="checkbox" checked=${force} onChange=${(event) => setForce(event.currentTarget.checked)} />
        <span><b>Cut what is in flight</b><span class="sub">Do not wait for the ${plural(inFlight, "request")} in flight there now; their clients see an error.</span></span>
      </label>
      <${Buttons} store=${store} busy=${busy} word=${force ? "Cut and remove" : "Remove"} danger=${true} />
    </form>
  <//>`;
}

function Algorithm({ store, pool }) {
  const [now] = useState(() => store.status.pools[pool]?.algorithm ?? "");
  const [chosen, choose] = useState(now);
  const known = store.algorithms.some((each) => each.name === now) ? store.algorithms : [...store.algorithms, { name: now, promise: "an algorithm of your own" }];
  const { failed, busy, submit } = useWrite(
    store,
    (version) => setAlgorithm(store, pool, chosen, version),
    () => finish(store, `${pool} now goes by ${algorithmName(chosen).toLowerCase()}; all counters were kept`),
  );
  return html`<${Dialog} title="Algorithm of ${pool}" onClose=${() => store.close()}>
    <form onSubmit=${submit}>
      <${Wrong} failed=${failed} />
      <fieldset class="choices">
        <legend class="sr">Algorithm</legend>
        ${known.map(
          (each) => html`<label key=${each.name} class="choice">
            <input type="radio" name="algorithm" value=${each.name} checked=${chosen === each.name} autofocus=${each.name === now} onChange=${() => choose(each.name)} />
            <span><b>${algorithmName(each.name)}</b>${each.name === now && html`<span class="tag">now</span>`}<span class="sub">${each.promise}</span></span>
          </label>`,
        )}
      </fieldset>
      <${Buttons} store=${store} busy=${busy} word="Switch" disabled=${chosen === now} />
    </form>
  <//>`;
}
