// Redis dies, comes back, or stands still, while two servers under test and one Node.js server use it.
//
//     SERVER_CMD="node servers/cluster-node.mjs" node --test outage.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { better } from "./lib/better.mjs";
import { ask } from "./lib/client.mjs";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { startRedis } from "./lib/process.mjs";
import { sleep, until, within } from "./lib/waiting.mjs";

const cluster = clusterUnderTest();

async function kill() {
  await cluster.redis.stop("SIGKILL");
}

async function restart() {
  cluster.redis = await startRedis(cluster.redis.port);
  return Date.now();
}

/** Broadcasts from each node until every client has heard one that was sent after now, from each of the nodes. */
async function crossing(clients, ms) {
  const event = fresh("probe");
  const missing = () => Object.values(clients).some((socket) => new Set(socket.heard.of(event).map(([from]) => from)).size < 3);
  await until(ms, "broadcasts cross in all directions", async () => {
    for (const [name, socket] of Object.entries(clients)) socket.emit("cmd", { op: "broadcast", event, args: [name] }, () => {});
    await sleep(30);
    return !missing();
  });
}

/** What `socket` heard of the stream `event` from `sender`, as numbers. */
const streamOf = (socket, event, sender) => socket.heard.of(event).filter(([from]) => from === sender).map(([, n]) => n);

for (const down of [100, 1500]) {
  test(`Redis is killed and away for ${down} ms while all broadcast: local delivery goes on, the cluster is back within 3 s`, async () => {
    const clients = await cluster.clients("/", 1);
    const event = fresh("stream");
    const sent = { a1: 0, b1: 0, n1: 0 };
    const feed = setInterval(() => {
      for (const [name, socket] of Object.entries(clients)) {
        socket.emit("cmd", { op: "broadcast", event, args: [name, sent[name]++] }, () => {});
      }
    }, 5);
    try {
      await sleep(100);
      await kill();
      await sleep(down / 2);
      for (const [name, socket] of Object.entries(clients)) {
        const before = sent[name];
        await until(500, `${name} hears its own node while Redis is away`, () => streamOf(socket, event, name).at(-1) >= before);
        assert.deepEqual(await ask(socket, "echo", name), [name]);
      }
      await sleep(down / 2);
      const back = await restart();
      await crossing(clients, 3000);
      assert.ok(Date.now() - back < 3000, `back after ${Date.now() - back} ms`);
    } finally {
      clearInterval(feed);
    }
    for (const [name, socket] of Object.entries(clients)) {
      await until(5000, `${name} has the last of its own node`, () => streamOf(socket, event, name).at(-1) === sent[name] - 1);
      const own = streamOf(socket, event, name);
      assert.deepEqual(own, Array.from({ length: sent[name] }, (_, i) => i), `${name} heard all of its own node`);
      for (const sender of Object.keys(clients)) {
        const heard = streamOf(socket, event, sender);
        assert.deepEqual(heard, [...new Set(heard)].sort((x, y) => x - y), `${name} heard ${sender} in order, nothing twice`);
      }
    }
  });
}

test("after an outage requests and server-side events work again, in both namespaces", async () => {
  await kill();
  await sleep(200);
  const back = await restart();
  for (const nsp of ["/", "/chat"]) {
    const clients = await cluster.clients(nsp, 1);
    for (const [name, socket] of Object.entries(clients)) {
      await until(back + 3000 - Date.now(), `${name} reaches all of ${nsp}`, async () => {
        return (await cmd(socket, { op: "fetchSockets" })).sockets.length === 3;
      });
      const { error, responses } = await cmd(socket, { op: "serverSideEmitAck", event: "sse-ack", args: [] });
      assert.deepEqual([error, responses.length], [null, 2]);
      socket.on("question", (answer) => answer(name));
    }
    for (const [name, socket] of Object.entries(clients)) {
      const answer = await cmd(socket, { op: "broadcastAck", timeout: 2000, event: "question", args: [] });
      answer.responses.sort();
      assert.deepEqual({ name, ...answer }, { name, ok: true, error: null, responses: ["a1", "b1", "n1"] });
    }
    for (const socket of Object.values(clients)) socket.disconnect();
    await until(3000, "they are gone", async () => {
      const socket = await cluster.client("n", nsp);
      const { sockets } = await cmd(socket, { op: "fetchSockets" });
      socket.disconnect();
      return sockets.length === 1;
    });
  }
});

test("Redis stands still for a second: nobody waits for it, then what was sent crosses", async () => {
  const clients = await cluster.clients("/", 1);
  const event = fresh("still");
  await cluster.redis.stand();
  try {
    for (const [name, socket] of Object.entries(clients)) {
      socket.emit("cmd", { op: "broadcast", event, args: [name] }, () => {});
      assert.deepEqual(await socket.heard.next(event, 500), [name], "local delivery");
      assert.deepEqual(await within(500, "an answer", ask(socket, "echo", name)), [name]);
    }
    await sleep(1000);
  } finally {
    cluster.redis.signal("SIGCONT");
  }
  for (const [name, socket] of Object.entries(clients)) {
    await until(3000, `${name} has heard all three`, () => socket.heard.of(event).length === 3);
  }
});

better("without Redis, a node's own sockets still join, leave and go", "its requests are applied when they come back from Redis", async () => {
  await kill();
  try {
    for (const name of ["a", "b"]) {
      const [first, second] = [await cluster.client(name), await cluster.client(name)];
      const room = fresh("room");
      first.emit("cmd", { op: "socketsJoin", rooms: [room] }, () => {});
      await until(1000, "joined", async () => (await cmd(second, { op: "rooms" })).rooms.includes(room));
      first.emit("cmd", { op: "socketsLeave", rooms: [room] }, () => {});
      await until(1000, "left", async () => !(await cmd(second, { op: "rooms" })).rooms.includes(room));
      first.emit("cmd", { op: "disconnectSockets", to: [second.id] }, () => {});
      await until(1000, "gone", () => !second.connected);
    }
  } finally {
    await restart();
  }
  await crossing(await cluster.clients("/", 1), 3000);
});

better("without Redis, a request ends within its time with an error, and not with a part as the whole", "it waits for Redis without a limit", async () => {
  await kill();
  try {
    for (const name of ["a", "b"]) {
      const socket = await cluster.client(name);
      const began = Date.now();
      const answer = await within(9000, "an answer of fetchSockets", new Promise((resolve) => {
        socket.emit("cmd", { op: "fetchSockets" }, resolve);
      }));
      assert.equal(answer.ok, false, JSON.stringify(answer));
      assert.ok(answer.error.length > 10, answer.error);
      assert.ok(Date.now() - began < 5500, `after ${Date.now() - began} ms`);
    }
  } finally {
    await restart();
  }
  await crossing(await cluster.clients("/", 1), 3000);
});

test("a node that was killed is not waited for once Redis knows", async () => {
  const clients = await cluster.clients("/", 1);
  await cluster.nodes.b.stop("SIGKILL");
  const { b, ...rest } = cluster.nodes;
  cluster.nodes = rest;
  for (const name of ["a1", "n1"]) {
    await until(2000, `${name} counts two servers`, async () => (await cmd(clients[name], { op: "serverCount" })).count === 2);
    assert.equal((await cmd(clients[name], { op: "fetchSockets" })).sockets.length, 2);
  }
});
