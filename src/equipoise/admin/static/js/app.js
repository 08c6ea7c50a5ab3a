// The page: what is where, and the theme.

import { html, useEffect, useReducer, useState } from "./html.js";
import { Activity, Workers } from "./view/activity.js";
import { Dialogs } from "./view/dialogs.js";
import { Pool } from "./view/pool.js";
import { SignIn } from "./view/signin.js";
import { Summary } from "./view/summary.js";
import { Toasts } from "./view/toasts.js";
import { Topbar } from "./view/topbar.js";

export function App({ store }) {
  const [, draw] = useReducer((n) => n + 1, 0);
  useEffect(() => store.subscribe(draw), [store]);
  const [theme, shown, setTheme] = useTheme();
  const { status } = store;
  return html`
    <${Topbar} store=${store} theme=${theme} onTheme=${setTheme} />
    ${status &&
    html`<main data-version=${status.version}>
      <${Summary} store=${store} />
      <div class="columns">
        <div class="pools">
          ${Object.entries(status.pools).map(([name, pool]) => html`<${Pool} key=${name} store=${store} name=${name} pool=${pool} theme=${shown} />`)}
        </div>
        <aside>
          <${Activity} store=${store} />
          <${Workers} store=${store} />
        </aside>
      </div>
    </main>`}
    ${!status && store.connection !== "signed-out" && html`<main><p class="waiting">Connecting to the balancer…</p></main>`}
    ${status && html`<${Dialogs} store=${store} />`}
    ${store.connection === "signed-out" && html`<${SignIn} store=${store} />`}
    <${Toasts} store=${store} />
  `;
}

const STORED = "equipoise.theme";

/** The theme that was chosen ("system", "light", "dark"), the one that shows, and how to choose. */
function useTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [systemDark, setSystemDark] = useState(dark.matches);
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  useEffect(() => {
    const changed = (event) => setSystemDark(event.matches);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  const choose = (next) => {
    if (next === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem(STORED);
    } else {
      document.documentElement.dataset.theme = next;
      localStorage.setItem(STORED, next);
    }
    setTheme(next);
  };
  const shown = theme === "system" ? (systemDark ? "dark" : "light") : theme;
  return [theme, shown, choose];
}
