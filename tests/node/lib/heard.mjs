// What a client has heard, in order, with a way to wait for the next of a kind.

import { within } from "./waiting.mjs";

export class Heard {
  #unread = [];
  #waiting = [];

  /** Everything since the start, read or not: `[event, ...args]`. */
  all = [];

  push(event, args) {
    const entry = [event, ...args.filter((arg) => typeof arg !== "function")];
    this.all.push(entry);
    const at = this.#waiting.findIndex((waiter) => waiter.event === event);
    if (at >= 0) this.#waiting.splice(at, 1)[0].resolve(entry.slice(1));
    else this.#unread.push(entry);
  }

  /** The arguments of the first `event` not taken yet, now or within `ms`. */
  next(event, ms = 5000) {
    const at = this.#unread.findIndex(([name]) => name === event);
    if (at >= 0) return Promise.resolve(this.#unread.splice(at, 1)[0].slice(1));
    return within(ms, `event ${JSON.stringify(event)}`, new Promise((resolve) => this.#waiting.push({ event, resolve })));
  }

  /** The next `count` of `event`: the list of their argument lists. */
  async take(event, count, ms = 10_000) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(event, ms));
    return taken;
  }

  /** The arguments of every `event` so far, taken or not. */
  of(event) {
    return this.all.filter(([name]) => name === event).map((entry) => entry.slice(1));
  }
}
