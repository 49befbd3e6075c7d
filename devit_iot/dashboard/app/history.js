// What happened when, of one board or of the labels: states and the times at which they began.

const MAX_CHANGES = 500;

/** States in the order of time; the same state twice is one. */
export class History {
  #changes = []; // {at, state}

  /** True if the state is another one than before, or the first. */
  note(state, at) {
    if (this.#changes.at(-1)?.state === state) return false;
    this.#changes.push({ at, state });
    if (this.#changes.length > MAX_CHANGES) this.#changes.shift();
    return true;
  }

  /** {at, state} of the present state, or undefined. */
  get last() {
    return this.#changes.at(-1);
  }

  /** {state, from, to} of every stretch between two times, the oldest first. */
  between(start, end) {
    return this.#changes
      .map(({ at, state }, index) => ({
        state,
        from: Math.max(start, at),
        to: Math.min(end, this.#changes[index + 1]?.at ?? end),
      }))
      .filter(({ from, to }) => to > from);
  }
}

const SECONDS = 60;

/** How many labels came, and how many of them lacked a part, within the last minute. */
export class LastMinute {
  #seconds = []; // {second, labels, degraded}, oldest first

  add(degraded, at) {
    const second = Math.floor(at / 1000);
    if (this.#seconds.at(-1)?.second !== second) {
      this.#seconds.push({ second, labels: 0, degraded: 0 });
      if (this.#seconds.length > SECONDS) this.#seconds.shift();
    }
    const bucket = this.#seconds.at(-1);
    bucket.labels += 1;
    bucket.degraded += degraded ? 1 : 0;
  }

  /** {labels, degraded} of the last 60 seconds. */
  sum(now) {
    const since = Math.floor(now / 1000) - SECONDS;
    const total = { labels: 0, degraded: 0 };
    for (const bucket of this.#seconds) {
      if (bucket.second <= since) continue;
      total.labels += bucket.labels;
      total.degraded += bucket.degraded;
    }
    return total;
  }
}
