// Random faults, of which a seed gives the same again: numbered messages go through them, and a checker looks for what came
// twice, out of order, or not at all without being told of. Two nodes under test, each with a way to Redis of its own that can
// fail, and one of Node.js.
//
//     SEED=7 FAULT_SECONDS=60 ADAPTER=classic|sharded|streams SERVER_CMD='["target/debug/cluster-node"]' node --test chaos.test.mjs

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { better } from "./lib/better.mjs";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { startRedis } from "./lib/process.mjs";
import { sleep, until } from "./lib/waiting.mjs";
import { Way } from "./lib/way.mjs";

const seed = Number(process.env.SEED ?? 1);
const length = Number(process.env.FAULT_SECONDS ?? 12) * 1000;
const ways = { a: new Way(), b: new Way() };
after(() => Object.values(ways).forEach((way) => way.close()));
const cluster = clusterUnderTest(undefined, { redisOf: async (name, redis) => (ways[name] ? ways[name].open(redis.port) : redis.url) });
const ours = ["a", "b"];

/** Numbers between 0 and 1 that a seed gives again: mulberry32. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What happens to whom, when, and for how long. */
function plan(seed, length) {
  const dice = random(seed);
  const below = (end) => Math.floor(dice() * end);
  const kinds = ["redis is killed", "redis stands", "way is held up", "way is cut", "way is slow", "way swallows", "node stands", "node is killed"];
  const faults = [];
  const free = {};
  for (let at = 500; at < length; at += 200 + below(1500)) {
    const kind = kinds[below(kinds.length)];
    const node = ours[below(2)];
    const ms = kind === "way is cut" ? 0 : 100 + below(2500);
    const target = kind.startsWith("redis") ? "redis" : `${kind.split(" ")[0]} ${node}`;
    if ((free[target] ?? 0) > at) continue; // It still has what it had.
    free[target] = at + ms + 1500;
    faults.push({ at, kind, node, ms });
  }
  return faults;
}

const faults = {
  "redis is killed": async ({ ms }) => {
    await cluster.redis.stop("SIGKILL");
    await sleep(ms);
    cluster.redis = await startRedis(cluster.redis.port);
  },
  "redis stands": async ({ ms }) => {
    const { redis } = cluster;
    redis.signal("SIGSTOP");
    await sleep(ms);
    redis.signal("SIGCONT");
  },
  "way is held up": async ({ node, ms }) => {
    ways[node].hold();
    await sleep(ms);
    ways[node].goOn();
  },
  "way is cut": async ({ node }) => ways[node].cut(),
  "way is slow": async ({ node, ms }) => {
    ways[node].delay = 50 + (ms % 200);
    await sleep(ms);
    ways[node].delay = 0;
  },
  "way swallows": async ({ node, ms }) => {
    ways[node].swallows = true;
    await sleep(ms);
    ways[node].swallows = false;
    ways[node].cut();
  },
  "node stands": async ({ node, ms }) => {
    const program = cluster.nodes[node];
    program.signal("SIGSTOP");
    await sleep(ms);
    program.signal("SIGCONT");
  },
  "node is killed": async ({ node, ms }, lives) => {
    lives[node].killed = true;
    await cluster.nodes[node].stop("SIGKILL");
    await sleep(ms);
    // It does not start while Redis is away; who runs it starts it again.
    while (cluster.nodes[node].end) await cluster.start(node).catch(() => sleep(100));
    lives[node] = await live(node, lives);
  },
};

const timers = new Set();
afterEach(() => timers.forEach(clearInterval));

/** All lives of our nodes, in order; and the event that carries numbers. */
const all = [];
let event;

/** A node from its start to its end: a client of it has it say numbers, and notes what it hears. */
async function live(node, lives) {
  const socket = await cluster.client(node);
  const life = { name: `${node}-${all.length}`, node, said: [], heard: [], socket };
  socket.on(event, (from, number) => life.heard.push({ from, number, at: Date.now() }));
  let next = 0;
  const timer = setInterval(() => {
    if (life.killed || life.silent) return clearInterval(timer);
    const number = next++;
    life.said.push({ number });
    socket.emit("cmd", { op: "number", event, args: [life.name, number] }, ({ at, ok }) => {
      life.said[number].at = at;
      life.said[number].ok = ok;
    });
  }, 10);
  timers.add(timer);
  all.push(life);
  return life;
}

/** What `listener` has heard of `speaker`, and what is missing between. */
function check(listener, speaker, gaps, tolerance) {
  const heard = listener.heard.filter(({ from }) => from === speaker.name);
  const numbers = heard.map(({ number }) => number);
  for (let i = 1; i < numbers.length; i++) {
    assert.ok(numbers[i] > numbers[i - 1], `${listener.name} heard ${numbers[i]} of ${speaker.name} after ${numbers[i - 1]}`);
  }
  if (heard.length === 0) return { missing: 0, untold: [] };
  const there = new Set(numbers);
  // Who came later does not miss what was said before; what a node had not sent when it was killed is gone with it.
  const last = speaker.killed || listener.killed ? numbers.at(-1) : speaker.said.length - 1;
  const missing = speaker.said.slice(numbers[0], last + 1).filter(({ number, ok }) => ok && !there.has(number));
  if (listener === speaker) assert.deepEqual(missing, [], `${listener.name} heard all of its own`);
  const untold = missing.filter(({ number, at }) => {
    // It went through Redis before the next that was heard did.
    const until = heard.find((next) => next.number > number)?.at ?? Infinity;
    return !gaps.some((gap) => gap[0] - tolerance <= until && at <= gap[1] + tolerance);
  });
  return { missing: missing.length, untold };
}

test(`random faults, SEED=${seed}: nothing comes twice or out of order, and no loss is silent`, async (t) => {
  event = fresh("number");
  const lives = {};
  for (const node of ours) lives[node] = await live(node, lives);
  await sleep(300);
  const steps = plan(seed, length);
  const began = Date.now();
  await Promise.all(steps.map(async (step) => {
    await sleep(step.at - (Date.now() - began));
    t.diagnostic(`${step.at} ms: ${step.kind}${step.kind.startsWith("redis") ? "" : `, ${step.node}`}, ${step.ms} ms`);
    await faults[step.kind](step, lives);
  }));
  // Everything is well again, and in a while everybody knows.
  const well = Object.fromEntries(ours.map((node) => [node, lives[node].said.length]));
  const crossed = (at, from) => lives[at].heard.some((one) => one.from === lives[from].name && one.number >= well[from]);
  await until(15_000, "our nodes hear each other again", () => ours.every((at) => ours.every((from) => crossed(at, from))));
  for (const node of ours) lives[node].silent = true;
  const ended = (at, from) => lives[at].heard.findLast((one) => one.from === lives[from].name)?.number === lives[from].said.length - 1;
  await until(5000, "the last of all", () => ours.every((at) => ours.every((from) => ended(at, from))));

  const stats = better.asserted ? Object.fromEntries(await Promise.all(ours.map(async (node) => [node, (await cmd(lives[node].socket, { op: "stats" })).stats]))) : {};
  const sums = { said: 0, missing: 0, untold: 0 };
  for (const speaker of all) sums.said += speaker.said.length;
  for (const listener of all) {
    for (const speaker of all) {
      // Those who were killed cannot tell what they have missed.
      const told = listener.killed ? [[0, Infinity]] : (stats[listener.node]?.gaps ?? [[0, Infinity]]);
      const { missing, untold } = check(listener, speaker, told, 50);
      sums.missing += missing;
      sums.untold += untold.length;
      if (speaker.killed || !better.asserted) continue; // Its numbers are gone with it.
      const sender = stats[speaker.node];
      const counted = sender.dropped + sender.failed + sender.unknown + stats[listener.node].lost;
      const numbers = untold.map(({ number }) => number).join(" ");
      assert.ok(untold.length <= counted, `${listener.name} misses ${numbers} of ${speaker.name} outside all gaps, and ${counted} are counted`);
    }
  }
  assert.ok(sums.said > 100, `${sums.said} said`);
  t.diagnostic(`${steps.length} faults, ${all.length} lives, ${sums.said} said, ${sums.missing} missing, ${sums.untold} of them counted and not in a gap`);
});
