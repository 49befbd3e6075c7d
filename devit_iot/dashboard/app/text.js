// Text that somebody else wrote, and how numbers are written. Nothing here touches the page.

// As Python's str.isprintable: no control, format, surrogate, private or unassigned character, and
// no separator but the space. So nothing turns the writing direction round or hides.
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )*$/u;

const encoder = new TextEncoder();

/** Whether `text` has at most `limit` code points, all printable. */
export function isPlain(text, limit) {
  return text.length <= 2 * limit && [...text].length <= limit && PRINTABLE.test(text);
}

/** Whether `name` can be a camera's name, by the limits that the server states. */
export function isCamera(name, limits) {
  return (
    name !== "" &&
    isPlain(name, limits.camera_length) &&
    encoder.encode(name).length <= limits.camera_bytes
  );
}

/** Milliseconds with two significant digits or more: "0.42 ms", "8.8 ms", "1.2 s". */
export function duration(ms) {
  if (ms >= 9995) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 99.5) return `${ms.toFixed(0)} ms`;
  if (ms >= 0.995) return `${ms.toFixed(1)} ms`;
  return `${ms.toFixed(2)} ms`;
}

/** "now", "12 s", "5 min", "3 h", "2 d": how long `ms` is, for people. */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** "just now" or "12 s ago". */
export function ago(ms) {
  return ms < 1500 ? "just now" : `${span(ms)} ago`;
}

/** A probability as whole per cent; only certainty is 100 %. */
export function percent(share) {
  return `${share < 1 ? Math.min(99, Math.round(100 * share)) : 100} %`;
}

/** An integer with thin spaces between thousands. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** "12:04:31" of the browser's clock. */
export function clock(at) {
  const two = (number) => String(number).padStart(2, "0");
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** "part 1", "parts 1 and 3", "parts 0, 1 and 3"; long lists are cut. */
export function partNames(parts) {
  const names = parts.length > 6 ? [...parts.slice(0, 5), `${parts.length - 5} more`] : [...parts];
  const last = names.pop();
  const text = names.length ? `${names.join(", ")} and ${last}` : `${last}`;
  return `${parts.length === 1 ? "part" : "parts"} ${text}`;
}
