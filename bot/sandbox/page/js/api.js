// The sandbox's browser API: JSON requests and the live stream.

/** ApiError carries what the server said, ready to be shown. */
export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const query = (params) => new URLSearchParams(Object.entries(params).filter(([, v]) => v !== undefined && v !== null && v !== ""));

/** get reads GET /client/<path>. */
export const get = (path, params = {}) => request(`/client/${path}?${query(params)}`);

/** post sends POST /client/<path>. */
export const post = (path, body) =>
  request(`/client/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new ApiError("unreachable", "The sandbox is not running. Start it again; this page picks up by itself.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok || body.ok === false) {
    throw new ApiError(body.error ?? `http_${response.status}`, body.message ?? body.error ?? `The sandbox answered ${response.status}.`);
  }
  return body;
}

const EVENT_TYPES = ["message", "message_changed", "message_deleted", "ephemeral", "channel", "modal", "home", "toast", "presence", "app", "user", "reset"];

/**
 * stream opens the user's live events from seq on. The browser resumes by
 * itself after a short break (Last-Event-ID); onback runs after every break,
 * because the workspace behind the address may be a new one.
 * Returns a function that closes it.
 */
export function stream({ user, seq, onevent, onbreak, onback }) {
  let source;
  let retry;
  let broken = false;
  let last = seq;

  const open = () => {
    source = new EventSource(`/client/stream?${query({ user, since: String(last) })}`);
    source.onopen = () => {
      if (broken) onback(last);
      broken = false;
    };
    source.onerror = () => {
      if (!broken) onbreak();
      broken = true;
      // A refused connection ends the EventSource for good, so start a new one.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 1000);
    };
    for (const type of EVENT_TYPES) {
      source.addEventListener(type, (event) => {
        last = Number(event.lastEventId) || last;
        onevent(type, JSON.parse(event.data));
      });
    }
  };

  open();
  return () => {
    clearTimeout(retry);
    source.close();
  };
}
