// Waiting for things that should happen soon, and saying what did not.

import net from "node:net";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `promise`, or an error that names `what` when it takes longer than `ms`. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks `question` every 20 ms until its answer is truthy, and returns that answer. */
export async function until(ms, what, question) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await question();
      if (answer) return answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`, { cause: last });
    await sleep(20);
  }
}

/** The next `event` of an emitter as the list of its arguments. */
export function event(emitter, name, ms = 5000) {
  return within(ms, `event ${name}`, new Promise((resolve) => emitter.once(name, (...args) => resolve(args))));
}

/** A port of 127.0.0.1 that nobody listens on, outside the range from which the system gives ports to clients. */
export async function freePort() {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    if (await canListen(port)) return port;
  }
  throw new Error("no free port between 15000 and 30000 on 127.0.0.1");
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
