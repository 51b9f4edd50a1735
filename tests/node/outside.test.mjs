// What our emitter does that npm's does not: it reaches sharded servers, and asks clients and servers. Two servers under
// test and one of Node.js are asked alike; they tell more than that one.
//
//     ADAPTER=classic|sharded|streams SERVER_CMD=... EMITTER_LINES=... EMITTER_CMD=... node --test outside.test.mjs (see lib/emitters.mjs)

import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { openLines, runCommand } from "./lib/emitters.mjs";
import { reasonOf } from "./lib/client.mjs";
import { until, within } from "./lib/waiting.mjs";

const adapter = process.env.ADAPTER;
const emitter = {};
const cluster = clusterUnderTest({
  start: async ({ redis }) => Object.assign(emitter, await openLines(redis.url, adapter)),
  stop: () => emitter.close?.(),
});

/** One client of each node in one room, and a second one of node b outside of it. */
async function scene(nsp = "/") {
  const clients = { ...(await cluster.clients(nsp, 1)), b2: await cluster.client("b", nsp) };
  const room = fresh("room");
  for (const name of ["a1", "b1", "n1"]) await cmd(clients[name], { op: "join", rooms: [room] });
  // With sharded channels, a room is heard of once its subscription has reached Redis.
  if (adapter === "sharded") await cmd(clients.a1, { op: "serverCount" });
  return { clients, room };
}

/** Who of `clients` has heard `told`, by the time that a later event for all has come. */
async function hearers(clients, nsp) {
  const fence = fresh("fence");
  await emitter.send({ op: "emit", event: fence, args: [], nsp });
  const names = [];
  for (const [who, socket] of Object.entries(clients)) {
    await socket.heard.next(fence);
    names.push(...socket.heard.of("told").map(() => who));
  }
  return names.join(" ");
}

/** What `work` says, which is to be quick: nobody is waited for. */
async function quickly(work) {
  const began = Date.now();
  const said = await work;
  assert.ok(Date.now() - began < 1500, `after ${Date.now() - began} ms`);
  return said;
}

/** Watches Redis from now on: `asked` resolves when it has carried the next question, in any adapter's format. */
async function nextQuestion() {
  const redis = await createClient({ url: cluster.redis.url }).connect();
  let carried;
  const question = new Promise((resolve) => (carried = resolve));
  await redis.monitor((line) => line.includes("requestId") && carried());
  return { asked: within(5000, "a question", question).finally(() => redis.destroy()) };
}

const told = (m) => emitter.send({ op: "emit", event: "told", args: ["x", 1, { deep: [null, 1.5] }], ...m });

test("reaches everybody, a namespace, a room, several rooms, a socket, and not who is excepted", async () => {
  for (const [target, names] of [
    [() => ({}), "a1 b1 n1 b2"],
    [(clients, room) => ({ to: [room] }), "a1 b1 n1"],
    [(clients, room) => ({ to: [room, clients.b2.id] }), "a1 b1 n1 b2"],
    [(clients) => ({ to: [clients.n1.id] }), "n1"],
    [(clients, room) => ({ except: [room] }), "b2"],
    [(clients, room) => ({ to: [room], except: [clients.b1.id], volatile: true, compress: false }), "a1 n1"],
  ]) {
    const { clients, room } = await scene("/chat");
    const other = await cluster.client("a");
    await told({ nsp: "/chat", ...target(clients, room) });
    assert.equal(await hearers(clients, "/chat"), names);
    assert.deepEqual(clients[names.split(" ")[0]].heard.of("told"), [["x", 1, { deep: [null, 1.5] }]]);
    assert.deepEqual(other.heard.of("told"), []);
  }
});

test("carries binary, and tells where it went", async () => {
  const { clients } = await scene();
  const args = [Buffer.from([0, 1, 255]), { file: Buffer.alloc(300, 7), list: ["x", Buffer.alloc(0)] }];
  const { receivers, entry } = await told({ args });
  if (adapter === "streams") assert.match(entry, /^\d+-\d+$/);
  else assert.equal(receivers, 3);
  assert.equal(await hearers(clients), "a1 b1 n1 b2");
  for (const socket of Object.values(clients)) assert.deepEqual(socket.heard.of("told"), [args]);
});

test("200 in a row arrive in order", async () => {
  const { clients } = await scene();
  for (let i = 0; i < 200; i++) await emitter.send({ op: "emit", event: "count", args: [i] });
  const expected = Array.from({ length: 200 }, (_, i) => [i]);
  for (const [who, socket] of Object.entries(clients)) assert.deepEqual(await socket.heard.take("count", 200), expected, who);
});

test("joins, leaves and disconnects sockets, and sends events to the servers", async () => {
  const { clients, room } = await scene("/chat");
  const other = fresh("other");
  const members = async () => {
    const names = [];
    for (const [who, socket] of Object.entries(clients)) {
      if ((await cmd(socket, { op: "rooms" })).rooms.includes(other)) names.push(who);
    }
    return names.join(" ");
  };
  await emitter.send({ op: "socketsJoin", nsp: "/chat", to: [room], rooms: [other] });
  await until(3000, "three have joined", async () => (await members()) === "a1 b1 n1");
  await emitter.send({ op: "socketsLeave", nsp: "/chat", to: [clients.a1.id, clients.n1.id], rooms: [other, room] });
  await until(3000, "two have left", async () => (await members()) === "b1");
  for (const socket of Object.values(clients)) await cmd(socket, { op: "serverSideLog" });
  await emitter.send({ op: "serverSideEmit", nsp: "/chat", event: "sse", args: ["é", 1, [null]] });
  for (const who of ["a1", "b1", "n1"]) {
    const log = await until(3000, `${who}'s server has heard it`, async () => {
      const answer = await cmd(clients[who], { op: "serverSideLog" });
      return answer.log.length && answer.log;
    });
    assert.deepEqual(log, [["é", 1, [null]]]);
  }
  const gone = Promise.all([reasonOf(clients.b1), reasonOf(clients.b2)]);
  await emitter.send({ op: "disconnectSockets", nsp: "/chat", to: [clients.b1.id, clients.b2.id], close: true });
  assert.deepEqual(await gone, Array(2).fill("io server disconnect"));
  assert.equal(clients.a1.connected && clients.n1.connected, true);
});

test("asks clients, and has the answer of each", async () => {
  const { clients, room } = await scene();
  for (const [who, socket] of Object.entries(clients)) socket.on("q", (n, ack) => ack(who, n, Buffer.from(who)));
  const said = await quickly(emitter.send({ op: "request", event: "q", args: [7], to: [room] }));
  const { answers, ...summary } = said;
  assert.deepEqual(summary, { asked: 3, missing: 0, missingIds: [], servers: 3, silentServers: 0 });
  const of = (who) => answers.find((answer) => answer.values[0] === who);
  // A client of a server under test is known, and heard in full.
  for (const who of ["a1", "b1"]) {
    assert.equal(of(who).id, clients[who].id);
    assert.deepEqual(of(who).values.slice(0, 2), [who, 7]);
  }
  assert.deepEqual(of("n1"), { id: null, values: ["n1"], error: null });
  assert.equal(answers.length, 3);
});

test("asks nobody at once, and everybody of a namespace", async () => {
  const { clients } = await scene("/chat");
  for (const [who, socket] of Object.entries(clients)) socket.on("q", (ack) => ack(who));
  const nobody = await quickly(emitter.send({ op: "request", event: "q", args: [], to: [fresh("nobody")] }));
  assert.deepEqual(nobody, { answers: [], asked: 0, missing: 0, missingIds: [], servers: 3, silentServers: 0 });
  const all = await quickly(emitter.send({ op: "request", nsp: "/chat", event: "q", args: [] }));
  assert.deepEqual(all.answers.map((answer) => answer.values[0]).sort(), ["a1", "b1", "b2", "n1"]);
});

test("does not wait for a client that leaves, and names those that are silent", async () => {
  const { clients, room } = await scene();
  clients.a1.on("q", (ack) => ack("here"));
  clients.b1.on("q", () => clients.b1.disconnect());
  const b1 = clients.b1.id;
  const left = await quickly(emitter.send({ op: "request", event: "q", args: [], to: [clients.a1.id, b1] }));
  assert.deepEqual([left.asked, left.missing, left.missingIds], [2, 1, [b1]]);
  assert.deepEqual(left.answers.find((answer) => answer.id === b1).error, "the client has left");

  const again = await emitter.send({ op: "request", event: "q", args: [], to: [room, clients.b2.id], timeout: 300 });
  assert.deepEqual([again.asked, again.missing, again.silentServers], [3, 2, 0]); // b2 and n1, who does not say who it is
  assert.deepEqual(again.missingIds, [clients.b2.id]);
  assert.deepEqual(again.answers.map((answer) => answer.error), [null, "operation has timed out"]);
});

test("finds sockets, counts them, and lists rooms", async () => {
  const { clients, room } = await scene();
  const [all, both] = [[room], [room, clients.b2.id]];
  await cmd(clients.n1, { op: "setData", data: { name: "nina" } });
  const found = await quickly(emitter.send({ op: "fetchSockets", to: both }));
  assert.deepEqual([found.asked, found.missing], [3, 0]);
  assert.deepEqual(found.received.map((socket) => socket.id).sort(), Object.values(clients).map((socket) => socket.id).sort());
  const nina = found.received.find((socket) => socket.id === clients.n1.id);
  assert.deepEqual(nina, { id: clients.n1.id, rooms: [clients.n1.id, room], data: { name: "nina" }, hasHeaders: true });

  const counts = await quickly(emitter.send({ op: "count", to: all, except: [clients.a1.id] }));
  assert.deepEqual([counts.received.sort(), counts.missing], [[0, 1, 1], 0]);
  assert.equal(await quickly(emitter.send({ op: "serverCount" })), 3);

  const rooms = await quickly(emitter.send({ op: "rooms" }));
  assert.deepEqual([rooms.asked, rooms.missing], [3, 0]);
  for (const name of [room, ...Object.values(clients).map((socket) => socket.id)]) assert.ok(rooms.received.includes(name), name);
  const sizes = await quickly(emitter.send({ op: "roomSizes" }));
  assert.equal(Object.fromEntries(sizes.received)[room], 3);
});

test("asks the servers, and says how many did not answer", async () => {
  const { received, asked, missing } = await quickly(emitter.send({ op: "serverSideEmitAck", event: "sse-ack", args: ["x", 1] }));
  assert.deepEqual([asked, missing], [3, 0]);
  assert.deepEqual(received.map((answer) => answer.node).sort(), ["a", "b", "n"]);
  for (const answer of received) assert.deepEqual(answer.got, ["x", 1]);
  const nobody = await emitter.send({ op: "serverSideEmitAck", event: "nobody listens", args: [] });
  assert.deepEqual(nobody, { received: [], asked: 3, missing: 3 });
});

/** Runs our command line; its lines of JSON, and what it says besides. */
async function line(...words) {
  const { code, stdout, stderr } = await runCommand(cluster.redis.url, ["--adapter", adapter, ...words]);
  return { code, out: stdout.split("\n").filter(Boolean), err: stderr.trimEnd() };
}

test("the command line emits, with what its other commands do", async () => {
  const { clients, room } = await scene("/chat");
  const whom = ["-n", "/chat", "--to", room];
  const emitted = await line("emit", "told", "x", "1", ...whom);
  // Of the sharded servers those have heard it that have somebody in the room.
  assert.deepEqual(emitted, { code: 0, out: [`emitted "told" to /chat (room ${room}) → 3 servers`], err: "" });
  for (const who of ["a1", "b1", "n1"]) assert.deepEqual(await clients[who].heard.next("told"), ["x", 1]);
  const { out } = await line("emit", "told", ...whom, "--json", "--require-receivers=3");
  const { receivers, id, ...about } = JSON.parse(out[0]);
  assert.deepEqual([receivers, about.event, /^\d+-\d+$/.test(id ?? "")], [3, "told", adapter === "streams"]);
  const bulk = await line("emit", "told", "--count", "3", ...whom);
  assert.deepEqual(bulk, { code: 0, out: ['emitted "told" 3 times → 3 servers'], err: "" });
  const verb = { classic: "PUBLISH", sharded: "SPUBLISH", streams: "XADD" }[adapter];
  assert.match((await line("-N", "emit", "told", ...whom)).out[0], new RegExp(`^would ${verb} socket\\.io`));
});

test("the command line asks clients", async () => {
  const { clients, room } = await scene();
  for (const [who, socket] of Object.entries(clients)) socket.on("q", (n, ack) => ack(who, n));
  const { code, out, err } = await line("request", "q", "7", "--to", room);
  assert.equal(err, `3 of 3 clients answered "q" to / (room ${room}) (3 servers)`);
  assert.equal(code, 0);
  const told = out.map(JSON.parse).sort((one, other) => (one.args[0] < other.args[0] ? -1 : 1));
  assert.deepEqual(told, [
    { id: clients.a1.id, args: ["a1", 7] },
    { id: clients.b1.id, args: ["b1", 7] },
    { id: null, args: ["n1"] },
  ]);

  clients.b2.off("q");
  const short = await line("request", "q", "7", "--to", clients.a1.id, "--to", clients.b2.id, "--timeout", "500ms", "--json");
  assert.equal(short.code, 5);
  assert.deepEqual(short.out.map(JSON.parse), [
    { id: clients.a1.id, args: ["a1", 7] },
    { id: clients.b2.id, error: "operation has timed out" },
    { event: "q", asked: 2, answered: 1, missing: 1, missing_ids: [clients.b2.id], servers: 3, silent_servers: 0 },
  ]);
  const few = await line("request", "q", "7", "--to", clients.a1.id, "--require-answers=2", "-q");
  assert.deepEqual([few.code, few.err], [4, "error: 1 client answered, 2 required"]);
});

test("the command line lists sockets, rooms and servers, and asks servers", async () => {
  const { clients, room } = await scene();
  const lines = Object.values(clients).filter((socket) => socket !== clients.b2).map((socket) => `${socket.id}  127.0.0.1  ${room}`);
  const sockets = await line("sockets", "--to", room);
  assert.deepEqual(sockets, { code: 0, out: lines.sort(), err: "3 clients on / (3 servers)" });
  assert.deepEqual((await line("sockets", "--count", "--to", room, "--except", clients.n1.id)).out, ["2"]);
  const [nina] = (await line("sockets", "--to", clients.n1.id, "--json")).out.map(JSON.parse);
  assert.deepEqual([nina.id, nina.rooms, typeof nina.handshake.headers], [clients.n1.id, [clients.n1.id, room], "object"]);

  const rooms = await line("rooms", "--json");
  assert.deepEqual(rooms.out.map(JSON.parse).find((one) => one.room === room), { room, sockets: 3 });
  assert.match((await line("rooms")).out.find((one) => one.startsWith(room)), /  3$/);

  const servers = await line("servers", "--require-servers=3");
  const name = { classic: "pubsub" }[adapter] ?? adapter;
  assert.deepEqual(servers, { code: 0, out: [`3 servers on / (key "socket.io", adapter ${name}): 4 clients (2 + 1 + 1)`], err: "" });
  assert.equal((await line("servers", "--require-servers=4")).code, 4);
  assert.deepEqual(JSON.parse((await line("servers", "--json")).out[0]), { servers: 3, answered: 3, sockets: 4, each: [2, 1, 1] });

  const answers = await line("server-emit", "--ack", "sse-ack", "x", "1");
  assert.deepEqual([answers.code, answers.err], [0, '3 of 3 servers answered "sse-ack" on /']);
  const told = answers.out.map(JSON.parse).sort((one, other) => (one.node < other.node ? -1 : 1));
  assert.deepEqual(told, ["a", "b", "n"].map((node) => ({ node, got: ["x", 1] })));
  const nobody = await line("server-emit", "--ack", "nobody listens", "--timeout", "300ms", "-q");
  assert.deepEqual([nobody.code, nobody.err.split("\n")[0]], [5, "error: 3 of 3 servers did not answer within 300 ms"]);
});

test("the command line says where nobody is", async () => {
  const { code, out, err } = await line("servers", "-n", "/nowhere");
  const channel = adapter === "classic" ? "socket.io-request#/nowhere#" : "socket.io#/nowhere#";
  const name = { classic: "pubsub" }[adapter] ?? adapter;
  assert.deepEqual([code, out], [0, [`0 servers on /nowhere (key "socket.io", adapter ${name}): 0 clients`]]);
  assert.ok(err.startsWith(`warning: no Socket.IO server is listening on ${channel} (key "socket.io", adapter ${name})\ntip:   `), err);
  const asked = await line("request", "q", "-n", "/nowhere", "--require-answers", "-q");
  assert.deepEqual(asked, { code: 4, out: [], err: "error: 0 clients answered, 1 required" });
  const dry = await line("-N", "rooms");
  assert.deepEqual([dry.code, dry.err.split("\n")[0]], [2, "error: --dry-run is for what changes something"]);
});

test("is not held up by a server that is frozen, and does not wait for one that is gone", async () => {
  const { clients } = await scene();
  for (const socket of Object.values(clients)) socket.on("q", (ack) => ack("here"));
  await cluster.nodes.b.stand();
  try {
    const found = await emitter.send({ op: "fetchSockets", timeout: 400 });
    assert.deepEqual([found.asked, found.missing], [3, 1]);
    assert.deepEqual(found.received.map((socket) => socket.id).sort(), [clients.a1.id, clients.n1.id].sort());
    const { answers, asked, silentServers } = await emitter.send({ op: "request", event: "q", args: [], timeout: 400 });
    assert.deepEqual([answers.length, asked, silentServers], [2, 2, 1]);

    // It is killed when it has been asked: before that, nobody would count on it.
    const { asked: carried } = await nextQuestion();
    const waiting = emitter.send({ op: "fetchSockets", timeout: 8000 });
    await carried;
    cluster.nodes.b.signal("SIGKILL");
    const { received, missing } = await quickly(waiting);
    // A server of Node.js does not say in the classic format that an answer is its own: it might be the one that is gone.
    assert.deepEqual([received.length, missing], [2, adapter === "classic" ? 1 : 0]);
  } finally {
    cluster.nodes.b.signal("SIGCONT");
  }
  // It has ended as it was meant to.
  await cluster.nodes.b.ended;
  delete cluster.nodes.b;
});
