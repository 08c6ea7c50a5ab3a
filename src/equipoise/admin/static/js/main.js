// Where the page begins.

import { App } from "./app.js";
import { html, render } from "./html.js";
import { Store } from "./store.js";

const store = new Store();
render(html`<${App} store=${store} />`, document.getElementById("app"));
store.start();
