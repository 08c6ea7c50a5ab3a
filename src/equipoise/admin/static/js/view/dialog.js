// The frame of every dialog: the browser keeps the focus inside, Escape closes, and focus returns where it was.

import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { Close } from "./icons.js";

/** `closable` false keeps it open whatever is pressed. */
export function Dialog({ title, onClose, closable = true, className = "", children }) {
  const element = useRef(null);
  // Before anything else can happen on the page: a key pressed right after the click is the dialog's.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    if (closable) onClose();
  };
  // Some browsers close on a second Escape without asking; a dialog that must stay opens itself again.
  const closed = () => {
    if (closable) onClose();
    else if (element.current?.isConnected) element.current.showModal();
  };
  const outside = (event) => {
    if (closable && event.target === element.current) onClose();
  };
  return html`<dialog ref=${element} class="dialog ${className}" aria-labelledby="dialog-title" onCancel=${cancel} onClose=${closed} onMouseDown=${outside}>
    <div class="dialog-body">
      <header class="dialog-head">
        <h2 id="dialog-title">${title}</h2>
        ${closable && html`<button type="button" class="ghost square" aria-label="Close" onClick=${onClose}><${Close} /></button>`}
      </header>
      ${children}
    </div>
  </dialog>`;
}

/**
 * A form that carries out one write: `act(version)` returns null when done, or {message, errors, version}. What is wrong
 * with a field stands at the field (`errorAt(errors, name)`), all else on top.
 */
export function useWrite(store, act, done) {
  const [failed, setFailed] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const form = event.currentTarget;
    setBusy(true);
    const outcome = await act(failed?.version ?? store.dialog.version);
    setBusy(false);
    setFailed(outcome);
    if (outcome === null) return done();
    // The first field that is wrong, once it is marked so.
    requestAnimationFrame(() => form.querySelector("[aria-invalid]")?.focus());
  };
  return { failed, busy, submit };
}

/** A problem's message belongs to the field whose name its place ends with. */
export function errorAt(failed, name) {
  return failed?.errors.find((error) => error.place.split(".").at(-1) === name)?.message;
}

/** What no field of the form stands for. */
export function Wrong({ failed, fields = [] }) {
  if (!failed) return null;
  const elsewhere = failed.errors.filter((error) => !fields.includes(error.place.split(".").at(-1)));
  return html`<div class="wrong" role="alert">
    <p>${failed.message}</p>
    ${elsewhere.length > 0 && html`<ul>${elsewhere.map((error) => html`<li><code>${error.place}</code>: ${error.message}</li>`)}</ul>`}
  </div>`;
}

/** A labelled field with its hint and what is wrong with it. */
export function Field({ name, label, hint, error, children }) {
  return html`<div class="field">
    <label for=${`field-${name}`}>${label}</label>
    ${children}
    ${error && html`<p class="field-error" id=${`error-${name}`}>${error}</p>`}
    ${hint && html`<p class="hint" id=${`hint-${name}`}>${hint}</p>`}
  </div>`;
}

/** The attributes that tie an input to its label, hint and error. */
export function tied(name, error, hint) {
  const described = [error && `error-${name}`, hint && `hint-${name}`].filter(Boolean).join(" ");
  return { id: `field-${name}`, name, "aria-invalid": error ? "true" : undefined, "aria-describedby": described || undefined };
}
