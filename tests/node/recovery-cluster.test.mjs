// Connection state recovery over Redis streams: who comes back on another node has the same id, rooms and data, and what
// was missed, in order and once; also when its node, or Redis, has died meanwhile. Two nodes under test and one of Node.js.
//
//     ADAPTER=streams SERVER_CMD='["target/debug/cluster-node"]' node --test recovery-cluster.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, afterEach, test } from "node:test";
import { better } from "./lib/better.mjs";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { startRedis } from "./lib/process.mjs";
import { event, sleep, until } from "./lib/waiting.mjs";
import { Frames } from "./lib/websocket.mjs";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "socketio-recovery-"));
after(() => fs.rmSync(folder, { recursive: true }));
const persistence = ["--appendonly", "yes", "--appendfsync", "everysec", "--dir", folder];
const cluster = clusterUnderTest(undefined, { env: { RECOVERY: "1" }, redis: persistence });

/** A client of node `name` in `room`, that has heard something. */
async function roaming(name, room) {
  const socket = await cluster.client(name);
  await cmd(socket, { op: "join", rooms: [room] });
  await cmd(socket, { op: "setData", data: { name: "ana", list: [1, null, "é"] } });
  await cmd(socket, { op: "broadcast", to: [socket.id], event: "hello", args: [] });
  await socket.heard.next("hello");
  return socket;
}

/** Breaks the connection of `socket` without a word, runs `meanwhile`, and lets it come back to node `name`. */
async function moves(socket, name, meanwhile = () => {}) {
  const gone = event(socket, "disconnect");
  socket.io.engine.transport.ws.terminate();
  await gone;
  await meanwhile();
  await comesBack(socket, name);
}

async function comesBack(socket, name) {
  socket.io.uri = cluster.nodes[name].url;
  const back = event(socket, "connect");
  socket.connect();
  await back;
}

/** The numbers among what `socket` heard of `name` from `sender`, without offsets. */
const numbers = (socket, name, sender) => socket.heard.of(name).filter(([from]) => from === sender).map(([, n]) => n);
const upTo = (count) => Array.from({ length: count }, (_, i) => i);

for (const [from, to] of ["ab", "aa", "an", "nb", "ba"]) {
  test(`from node ${from} to node ${to}: the same id, rooms and data, and exactly what was missed`, async () => {
    const room = fresh("room");
    const socket = await roaming(from, room);
    const senders = { a: await cluster.client("a"), b: await cluster.client("b"), n: await cluster.client("n") };
    const { id } = socket;
    const said = [];
    let [at, volatile] = [0, undefined];
    const say = async (name, more) => {
      const number = at++;
      await cmd(senders[name], { op: "broadcast", event: "news", args: [number], ...more });
      return number;
    };
    await moves(socket, to, async () => {
      for (const name of ["a", "n", "b"]) {
        said.push(await say(name, { to: [room] }));
        said.push(await say(name, { to: [id, fresh("nobody")] }));
        await say(name, { to: [fresh("nobody")] });
        await say(name, { to: [room], except: [id] });
        said.push(await say(name, {}));
        await cmd(senders[name], { op: "broadcast", event: "bytes", args: [Buffer.from([1, 2])] });
        // What Redis has is in order; the nodes hand it over at their own time.
        await sleep(20);
      }
      if (better.asserted) volatile = await say("a", { volatile: true });
      // A Node.js server sends again what it reads after it has taken a client back.
      for (const sender of Object.values(senders)) {
        await until(2000, "all nodes have read all", () => sender.heard.of("bytes").length === 3 && (!volatile || sender.heard.of("news").some(([n]) => n === volatile)));
      }
    });
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    const { recovered, node } = await cmd(socket, { op: "whoami" });
    assert.deepEqual([recovered, node], [true, to]);
    assert.deepEqual((await cmd(socket, { op: "rooms" })).rooms.sort(), [id, room].sort());
    assert.deepEqual((await cmd(socket, { op: "data" })).data, { name: "ana", list: [1, null, "é"] });
    for (const name of ["a", "b", "n"]) said.push(await say(name, { to: [room] }));
    await until(2000, "all is heard", () => said.every((number) => socket.heard.of("news").some(([n]) => n === number)));
    // A Node.js server sends what was volatile again.
    const heard = socket.heard.of("news").map(([n]) => n).filter((n) => to !== "n" || n !== volatile);
    assert.deepEqual(heard.sort((x, y) => x - y), said);
    assert.deepEqual(socket.heard.of("bytes").map(([bytes]) => bytes), Array(3).fill(Buffer.from([1, 2])));
  });
}

const timers = new Set();
afterEach(() => timers.forEach(clearInterval));

/** All nodes of `names` broadcast numbers until `stop` is called, which returns how many each has sent. */
async function feed(name, names = ["a", "b", "n"]) {
  const senders = {};
  for (const node of names) senders[node] = await cluster.client(node);
  const sent = Object.fromEntries(names.map((node) => [node, 0]));
  const timer = setInterval(() => {
    for (const node of names) {
      senders[node].emit("cmd", { op: "broadcast", event: name, args: [node, sent[node]++] }, () => {});
    }
  }, 3);
  timers.add(timer);
  return { sent, stop: () => (clearInterval(timer), sent) };
}

/** Waits until `socket` has the last that each node sent, and looks whether it has all, in order, once. */
async function heardAll(socket, name, sent, ms = 5000) {
  await until(ms, "the last of all", () => Object.entries(sent).every(([node, count]) => numbers(socket, name, node).includes(count - 1)));
  for (const [node, count] of Object.entries(sent)) {
    assert.deepEqual(numbers(socket, name, node), upTo(count), `what came from node ${node}`);
  }
}

better("a client that goes from node to node while all broadcast hears all, in order, once", "its nodes hand over in orders of their own", async () => {
  const socket = await roaming("a", fresh("room"));
  const name = fresh("stream");
  const numbers = await feed(name);
  for (const node of ["b", "a", "b", "b", "a"]) {
    await sleep(60);
    await moves(socket, node, () => sleep(20));
    assert.equal(socket.recovered, true);
  }
  await heardAll(socket, name, numbers.stop());
});

better("a client whose connection is dead unnoticed comes back on another node", "the session is not there yet", async () => {
  const frames = await Frames.session(cluster.nodes.a.url, { path: "/socket.io/" });
  frames.send("40");
  const { sid, pid } = JSON.parse((await frames.nextMessage()).slice(2));
  const sender = await cluster.client("b");
  await cmd(sender, { op: "broadcast", event: "one", args: [] });
  const [, offset] = JSON.parse((await frames.nextMessage()).slice(2));
  await cmd(sender, { op: "broadcast", event: "two", args: [] });
  const heir = await cluster.client("b", "/", { auth: { pid, offset } });
  assert.equal(heir.id, sid);
  await heir.heard.next("two");
  assert.deepEqual(heir.heard.of("one"), [], "it has that");
  const { sockets } = await cmd(heir, { op: "fetchSockets", to: [sid] });
  assert.equal(sockets.length, 1, "the ghost is gone");
  await frames.close(1000);
  const again = await cluster.client("a", "/", { auth: { pid: "somebody", offset } });
  assert.notEqual(again.id, sid);
});

better("the node that has the client is killed: another one takes it back", "the session dies with it", async () => {
  const room = fresh("room");
  const socket = await roaming("a", room);
  const { id } = socket;
  const name = fresh("stream");
  const numbers = await feed(name, ["b", "n"]);
  await sleep(50);
  const gone = event(socket, "disconnect");
  await cluster.nodes.a.stop("SIGKILL");
  await gone;
  await sleep(50);
  await comesBack(socket, "b");
  assert.deepEqual([socket.recovered, socket.id], [true, id]);
  assert.deepEqual((await cmd(socket, { op: "rooms" })).rooms.sort(), [id, room].sort());
  assert.deepEqual((await cmd(socket, { op: "data" })).data, { name: "ana", list: [1, null, "é"] });
  await sleep(50);
  await heardAll(socket, name, numbers.stop());
  await cluster.start("a");
  await cluster.complete();
});

better("Redis is killed and comes back with what it had: nobody misses anything", "what was on its way is lost", async () => {
  const [there, away] = [await roaming("a", fresh("room")), await roaming("b", fresh("room"))];
  const name = fresh("stream");
  const numbers = await feed(name, ["a", "b"]);
  await sleep(50);
  const gone = event(away, "disconnect");
  away.io.engine.transport.ws.terminate();
  await gone;
  await cluster.redis.stop("SIGKILL");
  await sleep(300);
  cluster.redis = await startRedis(cluster.redis.port, persistence);
  const back = Date.now();
  const reached = numbers.sent.a;
  await until(3000, "the cluster is back", () => there.heard.of(name).some(([from, n]) => from === "b" && n >= reached));
  assert.ok(Date.now() - back < 3000);
  await comesBack(away, "a");
  assert.equal(away.recovered, true);
  numbers.stop();
  await heardAll(there, name, numbers.sent);
  await heardAll(away, name, numbers.sent);
});

better("what was sent before a disconnect arrives before it", "a disconnect does not wait", async () => {
  const [socket, sender] = [await roaming("a", fresh("room")), await cluster.client("b")];
  const gone = event(socket, "disconnect");
  sender.emit("cmd", { op: "broadcast", to: [socket.id], event: "last", args: [] });
  sender.emit("cmd", { op: "disconnectSockets", to: [socket.id] });
  assert.deepEqual((await gone)[0], "io server disconnect");
  assert.equal(socket.heard.of("last").length, 1);
});

test("a gap of which a part is gone is none to go on from", async () => {
  const socket = await roaming("a", fresh("room"));
  const { id } = socket;
  const sender = await cluster.client("a");
  await moves(socket, "b", async () => {
    await cmd(sender, { op: "broadcast", event: "lost", args: [] });
    const { createClient } = await import("redis");
    const redis = await createClient({ url: cluster.redis.url }).connect();
    await redis.xTrim("socket.io", "MAXLEN", 1);
    await redis.close();
  });
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
});
