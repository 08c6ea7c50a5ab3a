// Server-sent events over fetch: EventSource cannot send the token's header.

import { Problem } from "./api.js";

// The balancer says something each second; after this long without a byte the connection is taken for dead.
const SILENCE_MS = 6_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;

/**
 * Follows GET /v1/events, connecting again whenever it breaks, until `signal` is aborted or the token is refused.
 * `on.connected()` and `on.lost()` say how it goes; `on.event(kind, data, id)` gets what arrives.
 */
export async function follow(api, on, signal) {
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      await once(api, on, signal, () => {
        wait = FIRST_WAIT_MS;
      });
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && error.status === 401)) return;
    }
    if (signal.aborted) return;
    on.lost();
    // Many pages at one balancer must not return all at once.
    await pause(wait * (0.75 + Math.random() / 2), signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

async function once(api, on, signal, heard) {
  const connection = new AbortController();
  const end = () => connection.abort();
  signal.addEventListener("abort", end, { once: true });
  let silence = setTimeout(end, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream" };
    const response = await api.open("v1/events", { headers, signal: connection.signal });
    on.connected();
    const parse = parser(on.event);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE_MS);
      parse(decoder.decode(value, { stream: true }));
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", end);
    end();
  }
}

/** Takes text in pieces, gives whole events (WHATWG HTML 9.2.6); an event whose data is no JSON is passed over. */
export function parser(emit) {
  let rest = "";
  let kind = "message";
  let data = [];
  let id = "";
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) dispatch(emit, kind, data.join("\n"), id);
        kind = "message";
        data = [];
        continue;
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "event") kind = value;
      else if (field === "data") data.push(value);
      else if (field === "id") id = value;
    }
  };
}

function dispatch(emit, kind, text, id) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return;
  }
  emit(kind, value, id);
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
