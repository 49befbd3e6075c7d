// Says for screen readers what happens: politely, a few words at a time, never a flood.

const PAUSE_MS = 2000;
const MOST = 3;

export class Announcer {
  #element;
  #waiting = [];
  #since = 0;

  constructor(element) {
    this.#element = element;
  }

  say(text) {
    this.#waiting.push(text);
  }

  /** Speak what waits, if the last words are long enough ago. */
  update(now) {
    if (!this.#waiting.length || now - this.#since < PAUSE_MS) return;
    const more = this.#waiting.length - MOST;
    const words = this.#waiting.slice(-MOST);
    if (more > 0) words.unshift(`${more} more events`);
    this.#element.textContent = `${words.join(". ")}.`;
    this.#waiting = [];
    this.#since = now;
  }
}
