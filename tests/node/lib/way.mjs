// A way to Redis that can be held up and cut, and counts what comes.

import net from "node:net";

export class Way {
  #pairs = new Set();
  #server = net.createServer((near) => {
    const far = net.connect(this.target, "127.0.0.1");
    const pair = [near, far];
    far.on("data", (bytes) => (this.brought += bytes.length));
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.on("error", () => {});
      from.on("close", () => (to.destroy(), this.#pairs.delete(pair)));
      from.on("data", (bytes) => this.#pass(bytes, to));
    }
    if (this.held) pair.forEach((socket) => socket.pause());
  });

  /** For so many milliseconds everything is on its way. */
  delay = 0;

  /** What comes is gone, and nobody is told. Only cutting makes it well again. */
  swallows = false;

  #pass(bytes, to) {
    if (this.swallows) return;
    const { delay } = this;
    const later = (to.later ??= []);
    if (!delay && later.length === 0) return void to.write(bytes);
    // What comes later does not overtake, whichever timer is first.
    later.push(bytes);
    to.last = Math.max(to.last ?? 0, Date.now() + delay);
    setTimeout(() => !to.destroyed && to.write(later.shift()), to.last - Date.now());
  }

  /** So many bytes have come from the other end. */
  brought = 0;

  /** Leads to a port; returns the URL of a Redis there. */
  async open(target) {
    this.target = target;
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `redis://127.0.0.1:${this.#server.address().port}`;
  }

  /** Nothing passes any more, and no connection ends. */
  hold() {
    this.held = true;
    for (const [near, far] of this.#pairs) {
      near.pause();
      far.pause();
    }
  }

  /** What was held up goes on. */
  goOn() {
    this.held = false;
    for (const pair of this.#pairs) pair.forEach((socket) => socket.resume());
  }

  /** All connections end; new ones are as good as any. */
  cut() {
    this.held = false;
    for (const pair of this.#pairs) pair.forEach((socket) => socket.destroy());
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
