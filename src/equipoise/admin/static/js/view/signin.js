// Signing in with a token. It lies over the page, so that after an expired token everything is where it was.

import { html, useState } from "../html.js";
import { Dialog } from "./dialog.js";
import { Mark } from "./icons.js";

export function SignIn({ store }) {
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const given = token.trim().replace(/^bearer\s+/i, "");
    if (busy) return;
    if (!given) return setWrong("Paste a token first.");
    setBusy(true);
    setWrong("");
    const said = await store.signIn(given);
    setBusy(false);
    if (said) setWrong(said);
  };
  const title = html`<span class="signin-brand"><${Mark} />Equipoise</span>`;
  return html`<${Dialog} title=${title} className="signin" closable=${store.mayCancelSignIn} onClose=${() => store.cancelSignIn()}>
    <form onSubmit=${submit}>
      ${store.signInMessage && html`<p class="notice" role="alert">${store.signInMessage}</p>`}
      <div class="field">
        <label for="token">Token</label>
        <input id="token" type="password" autocomplete="off" spellcheck=${false} placeholder="eyJ…" autofocus aria-invalid=${wrong ? "true" : undefined} aria-describedby="token-hint token-wrong" value=${token} onInput=${(event) => setToken(event.currentTarget.value)} />
        <p class="field-error" id="token-wrong" role="alert">${wrong}</p>
      </div>
      <button type="submit" class="primary wide" disabled=${busy} aria-busy=${busy ? "true" : undefined}>${busy ? "Signing in…" : "Sign in"}</button>
      <p class="hint" id="token-hint">On the balancer's machine, <code>equipoise token --role admin --ttl 8h</code> prints one; <code>--role read</code> looks but cannot touch. It is kept in this tab only.</p>
    </form>
  <//>`;
}
