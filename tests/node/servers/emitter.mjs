// A command line on @socket.io/redis-emitter 5.1, with the options of our emitter-cli that the emitter suite uses:
//
//     emit EVENT [ARG]... [--to ROOM]... [--except ROOM]... [--nsp NSP] [--url URL] [--key PREFIX]
//
// An argument is JSON, or a text if it is not valid JSON. It proves the suite right where no emitter-cli is at hand.

import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const options = { to: [], except: [], nsp: ["/"], url: [process.env.REDIS_URL ?? "redis://127.0.0.1:6379"], key: ["socket.io"] };
const positionals = [];
const words = process.argv.slice(2);
while (words.length) {
  const word = words.shift();
  const list = word.startsWith("--") && options[word.slice(2)];
  if (list) list.push(words.shift());
  else positionals.push(word);
}
const [command, event, ...args] = positionals;
if (command !== "emit" || event === undefined) {
  console.error("usage: emit EVENT [ARG]...");
  process.exit(2);
}

const redis = await createClient({ url: options.url.at(-1) }).connect();
let emitter = new Emitter(redis, { key: options.key.at(-1) }, options.nsp.at(-1));
for (const room of options.to) emitter = emitter.to(room);
if (options.except.length) emitter = emitter.except(options.except);
emitter.emit(event, ...args.map(valueOf));
await redis.close();

function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
