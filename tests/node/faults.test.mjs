// Numbered messages through faults: what is lost is lost within the fault, and counted; nothing comes twice or out of order,
// and the cluster is back within 3 s. Two nodes under test and one of Node.js, over pub/sub.
//
//     ADAPTER=classic|sharded SERVER_CMD='["target/debug/cluster-node"]' node --test faults.test.mjs

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { createClient } from "redis";
import { better } from "./lib/better.mjs";
import { ask } from "./lib/client.mjs";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { startRedis } from "./lib/process.mjs";
import { sleep, until, within } from "./lib/waiting.mjs";
import { Way } from "./lib/way.mjs";

const way = new Way();
after(() => way.close());
const env = { QUEUE: 3000, BUFFER: 64 << 10 };
const cluster = clusterUnderTest(undefined, { env, redisOf: async (name, redis) => (name === "b" ? way.open(redis.port) : redis.url) });
const ours = ["a", "b"];

const timers = new Set();
afterEach(() => timers.forEach(clearInterval));

/**
 * Our nodes broadcast numbers before, while and after `fault` is done, which returns when it was over. Then both hear each
 * other again within 3 s; local clients have heard all, at once; the others all but what was sent within the fault.
 */
async function through(fault) {
  const name = fresh("stream");
  const clients = {};
  for (const node of ["a", "b", "n"]) clients[node] = await cluster.client(node);
  const counted = async () => {
    if (!better.asserted) return {};
    const stats = await Promise.all(ours.map((node) => cmd(clients[node], { op: "stats" })));
    return Object.fromEntries(ours.map((node, i) => [node, stats[i].stats]));
  };
  const countedBefore = await counted();
  const heard = (at, from) => clients[at].heard.of(name).filter(([sender]) => sender === from).map(([, n]) => n);
  const sent = { a: [], b: [] };
  const done = { a: [], b: [] };
  const feed = setInterval(() => {
    for (const from of ours) {
      const n = sent[from].push(Date.now()) - 1;
      clients[from].emit("cmd", { op: "broadcast", event: name, args: [from, n] }, () => (done[from][n] = Date.now()));
    }
  }, 5);
  timers.add(feed);
  await sleep(150);
  const began = Date.now();
  const before = Object.fromEntries(ours.map((at) => [at, Object.fromEntries(ours.map((from) => [from, heard(at, from).at(-1) ?? -1]))]));
  const over = await fault({
    /** What is sent now is heard at home now. */
    atHome: async () => {
      for (const node of ours) {
        const count = sent[node].length;
        await until(500, `${node} hears itself`, () => heard(node, node).length > count);
        assert.deepEqual(await within(500, "an answer", ask(clients[node], "echo", node)), [node]);
      }
    },
  });
  const marks = Object.fromEntries(ours.map((node) => [node, sent[node].length]));
  const crossed = () => ours.every((at) => ours.every((from) => (heard(at, from).at(-1) ?? -1) >= marks[from]));
  await until(3000 - (Date.now() - over), "our nodes hear each other within 3 s", crossed);
  const back = Date.now();
  await sleep(200);
  clearInterval(feed);
  const last = (at, from) => heard(at, from).at(-1) === sent[from].length - 1;
  await until(2000, "the last of all", () => ours.every((at) => ours.every((from) => last(at, from))));
  const countedAfter = await counted();
  for (const at of ["a", "b", "n"]) {
    for (const from of ours) {
      const numbers = heard(at, from);
      assert.deepEqual(numbers, [...new Set(numbers)].sort((x, y) => x - y), `${at} heard ${from} in order, nothing twice`);
      const there = new Set(numbers);
      const missing = sent[from].map((time, n) => [n, time]).filter(([n]) => !there.has(n));
      if (at === from) assert.deepEqual(missing, [], `${at} heard all of its own`);
      if (!ours.includes(at)) continue; // What a Node.js server loses is its own affair.
      for (const [n, time] of missing) {
        assert.ok(n > before[at][from] && time <= back, `${n} of ${from} was sent ${time - began} ms after the fault began, and ${time - over} after its end`);
      }
      if (better.asserted && at !== from) accounted(missing, done[from], since(countedBefore[from], countedAfter[from]), since(countedBefore[at], countedAfter[at]));
    }
  }
}

/** How much each number has grown. */
const since = (before, after) => Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - before[name]]));

/**
 * Each of the missing messages is in somebody's numbers: the sender's, who could not send it or does not know, or the
 * receiver's, who dropped it or may have missed it in a gap. Nobody counts those of a gap, only how long it was: at least from
 * when the server had sent the first, which it has told in `done`, to when it was asked to send the last.
 */
function accounted(missing, done, sender, receiver) {
  const counted = sender.dropped + sender.failed + sender.unknown + receiver.lost;
  if (missing.length <= counted) return;
  const [first, last] = [missing[0], missing.at(-1 - counted)];
  const span = Math.max(0, last[1] - (done[first[0]] ?? first[1]));
  const numbers = `${missing.length} missing over ${span} ms; sender: ${JSON.stringify(sender)}, receiver: ${JSON.stringify(receiver)}`;
  assert.ok(receiver.gapCount > 0 && receiver.gapMs >= span, numbers);
}

/** What is missing of a run of messages to everybody, and what was counted meanwhile. */
async function run(clients, count, meanwhile = async () => {}) {
  const event = fresh("run");
  const stats = async () => Object.fromEntries(await Promise.all(ours.map(async (at) => [at, (await cmd(clients[`${at}1`], { op: "stats" })).stats])));
  const before = await stats();
  const { refused } = await cmd(clients.a1, { op: "emitAny", event, count }, 20_000);
  await meanwhile();
  // Pub/sub brings all that was sent, taken or not; a fence behind it is not lost.
  const brought = async () => (await cmd(clients.b1, { op: "stats" })).stats.brought - before.b.brought;
  if (process.env.ADAPTER !== "streams") await until(20_000, "all has come", async () => (await brought()) >= count - refused);
  const fence = fresh("fence");
  await cmd(clients.a1, { op: "broadcast", event: fence, args: [] });
  await clients.b1.heard.next(fence, 20_000);
  const after = await stats();
  const numbers = clients.b1.heard.of(event).map(([n]) => n);
  assert.deepEqual(numbers, [...new Set(numbers)].sort((x, y) => x - y), "in order, nothing twice");
  return { refused, missing: count - numbers.length, a: since(before.a, after.a), b: since(before.b, after.b) };
}

test("Redis is killed and started again", async () => {
  await through(async ({ atHome }) => {
    await cluster.redis.stop("SIGKILL");
    await atHome();
    await sleep(400);
    cluster.redis = await startRedis(cluster.redis.port);
    return Date.now();
  });
});

test("Redis stands still for 5 s", async () => {
  await through(async ({ atHome }) => {
    await cluster.redis.stand();
    try {
      await atHome();
      await sleep(5000);
    } finally {
      cluster.redis.signal("SIGCONT");
    }
    return Date.now();
  });
});

test("Redis cuts all subscribers", async () => {
  const redis = await createClient({ url: cluster.redis.url }).connect();
  await through(async () => {
    await redis.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
    return Date.now();
  });
  await redis.close();
});

test("the way of one node to Redis is held up, and cut", async () => {
  await through(async ({ atHome }) => {
    way.hold();
    await atHome();
    await sleep(1500);
    way.cut();
    return Date.now();
  });
});

better("more is sent than may wait: what is dropped is counted, and nothing else is missing", "it keeps all there is memory for", async () => {
  const clients = await cluster.clients("/", 1);
  await cluster.redis.stand();
  const { refused, missing, a, b } = await run(clients, 5000, async () => cluster.redis.signal("SIGCONT"));
  assert.ok(refused >= 1500, `${refused} of 5000 refused`);
  assert.deepEqual([a.dropped, a.failed, a.unknown, b.gapCount], [refused, 0, 0, 0]);
  assert.equal(missing, refused + b.lost);
});

better("more comes than can be taken: what is dropped is counted, and nothing else is missing", "it keeps all there is memory for", async () => {
  const clients = await cluster.clients("/", 1);
  let sum = 0;
  for (let round = 0; round < 10 && sum === 0; round++) {
    const { missing, a, b } = await run(clients, 10_000);
    assert.deepEqual([a.failed, a.unknown, b.gapCount], [0, 0, 0]);
    assert.equal(missing, a.dropped + b.lost);
    sum += b.lost;
  }
  // A stream is read as it can be taken.
  assert.equal(sum > 0, process.env.ADAPTER !== "streams", `${sum} lost`);
});

better("a node is killed while others ask: they are answered by who is there, soon", "it waits to its deadline for the dead", async () => {
  const clients = await cluster.clients("/", 1);
  clients.a1.on("question", (answer) => answer("a1"));
  clients.n1.on("question", (answer) => answer("n1"));
  clients.b1.on("question", () => {}); // It is to be asked, and never to answer.
  const fetched = () => new Promise((resolve) => clients.a1.emit("cmd", { op: "fetchSockets" }, resolve));
  await until(5000, "clients of the tests before are gone", async () => (await fetched()).sockets?.length === 3);
  // Stopped first, so that it is counted when the questions are asked and cannot answer them.
  await cluster.nodes.b.stand();
  const began = Date.now();
  const asked = Promise.all([
    fetched(),
    new Promise((resolve) => clients.a1.emit("cmd", { op: "serverSideEmitAck", event: "sse-ack", args: [] }, resolve)),
    new Promise((resolve) => clients.a1.emit("cmd", { op: "broadcastAck", timeout: 4000, event: "question", args: [] }, resolve)),
  ]);
  await sleep(300);
  await cluster.nodes.b.stop("SIGKILL");
  const [found, answers, acks] = await within(3000, "all three answers", asked);
  assert.ok(Date.now() - began < 3000);
  assert.deepEqual(answers.responses.map(({ node }) => node), ["n"]);
  if (process.env.ADAPTER === "classic") {
    // A server of Node.js does not say there that an answer is its own: it might be the one that is gone.
    for (const { error } of [found, answers]) assert.match(error, /responses received out of/);
  } else {
    assert.deepEqual([found.sockets.length, answers.error], [2, null]);
  }
  assert.deepEqual(acks.responses.sort(), ["a1", "n1"]);
  await cluster.start("b");
  await cluster.complete();
});
