// Short words on how something went, and the same for those who listen to the page.

import { html } from "../html.js";
import { Close } from "./icons.js";

export function Toasts({ store }) {
  return html`<div class="toasts">
    ${store.toasts.map(
      (toast) => html`<div key=${toast.id} class="toast" data-bad=${toast.bad ? "" : undefined} role=${toast.bad ? "alert" : "status"}>
        <span>${toast.text}</span>
        <button type="button" class="ghost square" aria-label="Dismiss" onClick=${() => store.dismiss(toast.id)}><${Close} /></button>
      </div>`,
    )}
    <p class="sr" aria-live="polite">${store.announcement}</p>
  </div>`;
}
