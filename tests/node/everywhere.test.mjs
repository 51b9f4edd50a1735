// What our servers ask each other beyond the formats of Node.js, with a Node.js server in the cluster that knows nothing
// of it: counts, rooms and their sizes, single fields, changes of data, and whose an acknowledgement is.
//
//     ADAPTER=classic|sharded SERVER_CMD='["target/debug/cluster-node"]' node --test everywhere.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { cmd, clusterUnderTest, fresh } from "./lib/cluster.mjs";
import { until } from "./lib/waiting.mjs";

const cluster = clusterUnderTest();

/** One client of each node, in one room, and a second one of node b outside of it. */
async function scene() {
  const clients = { ...(await cluster.clients("/", 1)), b2: await cluster.client("b") };
  const room = fresh("room");
  for (const name of ["a1", "b1", "n1"]) await cmd(clients[name], { op: "join", rooms: [room] });
  return { clients, room };
}

/** What `work` answers, which is to be quick: nobody is waited for. */
async function quickly(work) {
  const began = Date.now();
  const answer = await work;
  assert.ok(Date.now() - began < 1500, `after ${Date.now() - began} ms`);
  return answer;
}

test("how many sockets there are is one number for each server", async () => {
  const { clients, room } = await scene();
  const all = await quickly(cmd(clients.a1, { op: "count", to: [room] }));
  assert.deepEqual(all, { ok: true, total: 3, missing: 0, counts: [1, 1, 1] });
  const both = [room, clients.b2.id];
  assert.deepEqual((await cmd(clients.a1, { op: "count", to: both })).total, 4);
  assert.deepEqual((await cmd(clients.a1, { op: "count", to: both, except: [clients.n1.id] })).total, 3);
  assert.deepEqual(await cmd(clients.b1, { op: "count", to: both, local: true }), { ok: true, total: 2, missing: 0, counts: [2] });
});

test("rooms and their sizes", async () => {
  const { clients, room } = await scene();
  const other = fresh("other");
  for (const name of ["b1", "n1"]) await cmd(clients[name], { op: "join", rooms: [other] });
  const { sizes } = await quickly(cmd(clients.a1, { op: "roomSizes", to: [room] }));
  assert.deepEqual(sizes, { [room]: 3, [other]: 2 });
  const { rooms } = await quickly(cmd(clients.a1, { op: "allRooms" }));
  for (const name of [room, other, ...Object.values(clients).map((socket) => socket.id)]) {
    assert.ok(rooms.includes(name), `${name} is a room`);
  }
});

test("sockets with some of their fields", async () => {
  const { clients, room } = await scene();
  for (const [name, socket] of Object.entries(clients)) await cmd(socket, { op: "setData", data: { name } });
  const fetched = async (...fields) => {
    const { sockets } = await quickly(cmd(clients.a1, { op: "fetchFields", to: [room], rooms: fields }));
    return Object.fromEntries(["a1", "b1", "n1"].map((name) => [name, sockets.find(({ id }) => id === clients[name].id)]));
  };
  for (const name of ["a1", "b1"]) {
    const { id } = clients[name];
    assert.deepEqual((await fetched())[name], { id, rooms: [], data: null, hasHeaders: false });
    assert.deepEqual((await fetched("data"))[name], { id, rooms: [], data: { name }, hasHeaders: false });
    assert.deepEqual((await fetched("rooms", "handshake"))[name], { id, rooms: [id, room], data: null, hasHeaders: true });
  }
  assert.deepEqual((await fetched()).n1.data, { name: "n1" }, "a Node.js server sends everything");
});

test("what is kept with sockets is changed on all of our servers", async () => {
  const { clients, room } = await scene();
  const old = { score: 1, team: { name: "red", size: 2 } };
  for (const socket of Object.values(clients)) await cmd(socket, { op: "setData", data: old });
  await cmd(clients.a1, { op: "patchData", to: [room], except: [clients.a1.id], data: { score: null, team: { size: 3 }, photo: Buffer.from([1, 2]) } });
  await until(2000, "b1 is changed", async () => (await cmd(clients.b1, { op: "data" })).data.team.size === 3);
  const { data } = await cmd(clients.b1, { op: "data" });
  assert.deepEqual({ ...data, photo: [...data.photo] }, { team: { name: "red", size: 3 }, photo: [1, 2] });
  assert.deepEqual((await cmd(clients.a1, { op: "data" })).data, old, "it was left out");
  assert.deepEqual((await cmd(clients.b2, { op: "data" })).data, old, "it is not in the room");
  const { sockets } = await cmd(clients.a1, { op: "fetchSockets", to: [clients.n1.id] });
  assert.deepEqual(sockets[0].data, old, "a Node.js server does not know of it, and lives on");
  await cmd(clients.a1, { op: "patchData", data: { score: 5 } });
  for (const name of ["a1", "b1", "b2"]) {
    await until(2000, `${name} is changed`, async () => (await cmd(clients[name], { op: "data" })).data.score === 5);
  }
});

test("acknowledgements: whose they are, all arguments, and in the end who is missing", async () => {
  const { clients, room } = await scene();
  await cmd(clients.b2, { op: "join", rooms: [room] });
  const [a2, b3] = [await cluster.client("a"), await cluster.client("b")];
  const { id: gone } = b3;
  for (const socket of [a2, b3]) await cmd(socket, { op: "join", rooms: [room] });
  for (const name of ["a1", "b1", "n1"]) clients[name].on("ask", (answer) => answer(name, Buffer.from([7])));
  b3.on("ask", () => b3.disconnect()); // b2 and a2 are silent.
  const began = Date.now();
  const { stream } = await cmd(clients.a1, { op: "ackStream", to: [room], event: "ask", args: [], timeout: 700 });
  assert.ok(Date.now() - began >= 690);
  const sorted = (list) => [...list].map((one) => JSON.stringify(one)).sort();
  const answered = stream.slice(0, 4).map(({ id, value, error }) => [id, value?.[0] ?? error, value?.length]);
  assert.deepEqual(sorted(answered), sorted([
    [clients.a1.id, "a1", 2],
    [clients.b1.id, "b1", 2],
    [null, "n1", 1],
    [gone, "the socket was disconnected before it answered", undefined],
  ]));
  assert.deepEqual(sorted(stream.slice(4).map(({ id, error }) => [id, error])), sorted([clients.b2, a2].map(({ id }) => [id, "operation has timed out"])));
});

test("acknowledgements end at once when the last one that is waited for has left", async () => {
  const { clients, room } = await scene();
  clients.a1.on("ask", (answer) => answer(1));
  clients.n1.on("ask", (answer) => answer(2));
  const { id } = clients.b1;
  clients.b1.on("ask", () => clients.b1.disconnect());
  const { stream } = await quickly(cmd(clients.a1, { op: "ackStream", to: [room], event: "ask", args: [], timeout: 8000 }));
  assert.equal(stream.length, 3);
  assert.equal(stream.find((one) => one.id === id).error, "the socket was disconnected before it answered");
});
