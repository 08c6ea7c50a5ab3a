// The bar on top: the name, how the connection is, who is signed in, the theme.

import { duration } from "../format.js";
import { html } from "../html.js";
import { Auto, Leave, Mark, Moon, Sun } from "./icons.js";

const CONNECTIONS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  "signed-out": "Signed out",
};
const THEMES = { system: [Auto, "Theme of the system"], light: [Sun, "Light theme"], dark: [Moon, "Dark theme"] };
const NEXT = { system: "light", light: "dark", dark: "system" };
// From here on the bar says how long the token still lasts.
const SOON_S = 15 * 60;

export function Topbar({ store, theme, onTheme }) {
  const [Icon, name] = THEMES[theme];
  const { claims } = store.api;
  const left = claims.exp === undefined ? null : claims.exp - store.now();
  return html`<header class="topbar">
    <h1 class="brand"><${Mark} />Equipoise</h1>
    <span class="connection" data-state=${store.connection} role="status">
      <i class="pulse" aria-hidden="true"></i>${CONNECTIONS[store.connection]}
    </span>
    <span class="spacer"></span>
    ${store.api.token &&
    html`<span class="who" title=${claims.sub ? `Signed in as ${claims.sub}` : "Signed in"}>
      ${store.mayWrite ? "Admin" : "Read only"}
      ${left !== null &&
      left < SOON_S &&
      html`<button type="button" class="link" onClick=${() => store.renew()}>
        ${left > 0 ? `token ends in ${duration(left)}` : "token has expired"}
      </button>`}
    </span>`}
    <button type="button" class="ghost square" title="${name}; press for the next" aria-label="${name}; press for the next" onClick=${() => onTheme(NEXT[theme])}>
      <${Icon} />
    </button>
    ${store.api.token &&
    html`<button type="button" class="ghost square" title="Sign out" aria-label="Sign out" onClick=${() => (store.api.use(""), location.reload())}>
      <${Leave} />
    </button>`}
  </header>`;
}
