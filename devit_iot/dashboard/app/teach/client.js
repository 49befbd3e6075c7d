// Asks the process that collects pictures, and hands its answers to whoever asked.

import { Refused } from "../messages.js";
import { readAnswer, readState } from "./messages.js";

const PATIENCE_MS = 20000;
const FIT_MS = 180000; // many pictures on a busy hub

/** What is asked for was not done; the message is for people. */
export class NotDone extends Error {}

export class TeachClient {
  /** What is collected, or null while nobody says that anything is. */
  state = null;
  #facts;
  #send;
  #onRefused;
  #waiting = new Map();

  /** `send(text)` publishes an ask; `onRefused(reason)` counts what is not as documented. */
  constructor(facts, send, onRefused) {
    this.#facts = facts;
    this.#send = send;
    this.#onRefused = onRefused;
  }

  /** Whether the message was one of ours. */
  take(topic, payload) {
    const { state, answer } = this.#facts.topics.teach;
    if (topic !== state && !topic.startsWith(answer)) return false;
    try {
      if (topic === state) {
        const said = payload.length ? readState(payload, this.#facts.limits) : null;
        this.state = said?.collecting ? said : null;
      } else {
        const found = readAnswer(payload, this.#facts.limits);
        this.#waiting.get(found.id)?.(found);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#onRefused(error.reason);
    }
    return true;
  }

  /** The answer to `what`; throws NotDone. */
  async ask(what) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(4)), hex).join("");
    const answer = await new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      setTimeout(resolve, what.do === "fit" ? FIT_MS : PATIENCE_MS, null);
      if (!this.#send(JSON.stringify({ ...what, id }))) resolve(undefined);
    });
    this.#waiting.delete(id);
    if (answer === undefined) throw new NotDone("There is no connection to the broker.");
    if (answer === null) {
      throw new NotDone(
        "No answer: this user may not teach (the access list has the role teacher for that), or devit collect is busy or gone.",
      );
    }
    if (answer.error) throw new NotDone(answer.error);
    return answer;
  }
}

function hex(byte) {
  return byte.toString(16).padStart(2, "0");
}
