// The client's side of tests/tests/api.rs: what applications write, on a server in the test's own process (URL).

import assert from "node:assert/strict";
import { test } from "node:test";
import { client, connected, sibling } from "./lib/client.mjs";
import { event as next } from "./lib/waiting.mjs";

const url = process.env.URL;
const open = async (options) => connected(client(url, options));

test("on_connection: what a new socket is sent follows its connection at once", async () => {
  const socket = client(url);
  const news = next(socket, "news");
  await connected(socket);
  assert.deepEqual(await news, [{ hello: "world" }]);
});

test("socket.on: a typed event with binary data inside, both ways", async () => {
  const socket = await open();
  const answer = next(socket, "my event");
  socket.emit("my event", { name: "ana", photo: Buffer.from([1, 2, 3]) });
  const [event] = await answer;
  assert.equal(event.name, "ANA");
  assert.deepEqual([...new Uint8Array(event.photo)], [2, 3]);
});

test("once: the second time nothing happens", async () => {
  const socket = await open();
  let times = 0;
  socket.on("once", () => times++);
  socket.emit("once");
  socket.emit("once");
  await socket.emitWithAck("sum", 1, 1);
  assert.equal(times, 1);
});

test("several arguments, optional and unknown ones", async () => {
  const socket = await open();
  const answer = next(socket, "private message");
  socket.emit("private message", "ana", "hi");
  assert.deepEqual(await answer, ["ana: hi"]);
  assert.deepEqual(await socket.emitWithAck("optional", 1), [1, true]);
  assert.deepEqual(await socket.emitWithAck("optional", 1, 2, 3), [1, false]);
  const any = await new Promise((resolve) => socket.emit("any", 1, { a: [Buffer.from([9])] }, null, (...all) => resolve(all)));
  assert.deepEqual(any.map((one) => typeof one), ["object"]);
});

test("acknowledgements: by the returned value, by Ack, later, and only once", async () => {
  const socket = await open();
  assert.equal(await socket.emitWithAck("ferret", "tobi", "woot"), "tobi says woot");
  const byHand = await new Promise((resolve) => socket.emit("ferret by hand", "tobi", "woot", (...all) => resolve(all)));
  assert.deepEqual(byHand, ["tobi", "woot"]);
  assert.equal(await socket.emitWithAck("sum", 40, 2), 42);
  assert.deepEqual(await Promise.all([60, 20, 1].map((ms) => socket.emitWithAck("later", ms))), [60, 20, 1]);
});

test("emit: several arguments of several types, and bytes at any depth", async () => {
  const socket = await open();
  const hello = next(socket, "hello");
  socket.emit("hello");
  assert.deepEqual(await hello, ["can you hear me?", 1, 2, "abc"]);
  const nested = next(socket, "nested");
  socket.emit("nested");
  const [object, list, last] = await nested;
  assert.deepEqual(object, { a: 1 });
  assert.deepEqual(list.map((one) => [...new Uint8Array(one)]), [[1], [2, 2]]);
  assert.equal(last.byteLength ?? last.length, 0);
});

test("emit_with_ack: the client's answer as the type that is asked for, and a time limit", async () => {
  const socket = await open();
  socket.on("question", (text, answer) => answer(`${text} yes`));
  socket.on("two answers", (answer) => answer("a", 2));
  assert.deepEqual(await socket.emitWithAck("question"), ["do you think so? yes", "a", 2]);
});

test("send and message", async () => {
  const socket = await open();
  const answer = next(socket, "message");
  socket.send("hi");
  assert.deepEqual(await answer, ["you said hi"]);
});

test("volatile, compress, binary, and reserved names", async () => {
  const socket = await open({ transports: ["websocket"] });
  const refused = next(socket, "refused");
  socket.emit("flags");
  assert.deepEqual(await refused, ["connect"]);
  // Clients of the test before may still be leaving.
  const names = socket.heard.all.map(([name]) => name).filter((name) => !["news", "user disconnected"].includes(name));
  assert.deepEqual(names, ["maybe", "uncompressed", "what", "refused"]);
});

test("state, data of a socket, and errors that reach the hook and the acknowledgement", async () => {
  const [socket, other] = [await open(), await open()];
  const before = await socket.emitWithAck("seen", "a");
  assert.equal(await other.emitWithAck("seen", "b"), before + 1);
  assert.equal(await socket.emitWithAck("data", "ana"), 3);
  assert.equal(await other.emitWithAck("data of", socket.id), "ana");
  await socket.emitWithAck("errors");
  assert.deepEqual(await socket.emitWithAck("panics"), { error: "Internal server error" });
  assert.deepEqual(await socket.emitWithAck("fails"), { error: "no luck" });
  assert.deepEqual(await socket.emitWithAck("refuses"), { error: "not today" });
  assert.match((await socket.emitWithAck("sum", "x", 1)).error, /fit/);
  const errors = await socket.emitWithAck("errors");
  assert.deepEqual(errors.map((text) => text.split(":")[0]), ["/ panics", "/ fails", "/ refuses", "/ sum"]);
  assert.match(errors[0], /on purpose/, "what it said is for the hook alone");
  assert.equal(await socket.emitWithAck("sum", 1, 1), 2, "the socket lives on");
});

test("whom each operator reaches", async () => {
  const [self, game, game1, game2, none] = await Promise.all([open(), open(), open(), open(), open()]);
  await game.emitWithAck("join", ["game"]);
  await game1.emitWithAck("join", ["game1", "game2"]);
  await game2.emitWithAck("join", ["game2"]);
  await self.emitWithAck("join", ["game", "game1"]);
  const everyone = { self, game, game1, game2, none };
  for (const [how, expected] of Object.entries({
    "socket.broadcast": ["game", "game1", "game2", "none"],
    "socket.to": ["game"],
    "socket.to.to": ["game1", "game2"],
    "socket.to self": [],
    "io.emit": Object.keys(everyone),
    "io.to": ["game", "self"],
    "io.in": ["game1", "game2"],
    "io.to id": ["self"],
    "io.to nobody": [],
    "io.local": Object.keys(everyone),
    "io.volatile": Object.keys(everyone),
    "io.compress": Object.keys(everyone),
    awaited: Object.keys(everyone),
    encoded: ["game1", "game1", "game2", "self"],
  })) {
    const heard = [];
    for (const [name, socket] of Object.entries(everyone)) {
      socket.off("heard");
      socket.on("heard", (what) => what === how && heard.push(name));
    }
    self.emit("shout", how);
    await self.emitWithAck("sum", 1, 1); // The shout has been handled: whoever hears it, hears it before the next answer.
    await Promise.all(Object.values(everyone).map((socket) => socket.emitWithAck("sum", 1, 1)));
    assert.deepEqual(heard.sort(), expected.sort(), how);
  }
  const messages = Object.values(everyone).map((socket) => next(socket, "message"));
  self.emit("shout", "io.send");
  assert.deepEqual(await Promise.all(messages), Array(5).fill(["io.send"]));
});

test("of: a namespace with or without its slash, and rooms in it", async () => {
  const socket = await open();
  const all = await connected(sibling(socket, "/myNamespace"));
  const room = await connected(client(`${url}/myNamespace`, { query: { room: "1" } }));
  const both = [next(all, "heard"), next(room, "heard")];
  socket.emit("shout", "of");
  assert.deepEqual(await Promise.all(both), [["of"], ["of"]]);
  const one = next(room, "heard");
  socket.emit("shout", "of.to");
  assert.deepEqual(await one, ["of.to"]);
  // `all` has the connection of `socket`: what was sent to it is here when an answer is.
  await socket.emitWithAck("sum", 1, 1);
  assert.equal(all.heard.all.filter(([name]) => name === "heard").length, 1);
});

test("join, leave, and the rooms of a socket", async () => {
  const socket = await open();
  assert.deepEqual(await socket.emitWithAck("join", ["b", "a"]), ["a", "b"]);
  assert.deepEqual(await socket.emitWithAck("join", ["a"]), ["a", "b"]);
  assert.deepEqual(await socket.emitWithAck("leave", "b"), ["a"]);
  assert.deepEqual(await socket.emitWithAck("leave", "b"), ["a"]);
});

test("broadcast acknowledgements: who answers, and how many do not", async () => {
  const [a, b] = [await open(), await open()];
  await a.emitWithAck("join", ["game"]);
  await b.emitWithAck("join", ["game"]);
  a.on("survey", (answer) => answer(1));
  b.on("survey", (answer) => answer(2));
  assert.deepEqual(await a.emitWithAck("survey"), [[1, 2], 0, true]);
  b.off("survey");
  assert.deepEqual(await a.emitWithAck("survey"), [[1], 1, false]);
  b.on("survey", () => b.disconnect());
  const started = Date.now();
  assert.deepEqual(await a.emitWithAck("survey"), [[1], 1, false]);
  assert.ok(Date.now() - started < 250, "a client that leaves is not waited for");
});

test("sockets_join, sockets_leave, disconnect_sockets, fetch_sockets", async () => {
  const [boss, worker] = [await open(), await open()];
  await worker.emitWithAck("join", ["game"]);
  assert.equal(await boss.emitWithAck("manage", "join"), 1);
  assert.equal(await boss.emitWithAck("manage", "leave"), 0);
  await boss.emitWithAck("manage", "join");
  const gone = next(worker, "disconnect");
  await boss.emitWithAck("manage", "disconnect");
  assert.deepEqual((await gone)[0], "io server disconnect");
});

test("middleware: a refusal with data, and rooms joined early", async () => {
  const refused = client(`${url}/admin`);
  const [error] = await next(refused, "connect_error");
  assert.equal(error.message, "not authorized");
  assert.deepEqual(error.data, { code: 401 });
  const admin = await connected(client(`${url}/admin`, { auth: { token: "secret" } }));
  assert.equal(await admin.emitWithAck("rooms"), 2);
});

/** What `watcher` hears of the end of the socket `id`. */
async function farewell(watcher, id) {
  for (;;) {
    const [who, ...how] = await watcher.heard.next("user disconnected");
    if (who === id) return how;
  }
}

test("disconnecting: from the server, from the client, and who hears of it", async () => {
  const [socket, watcher] = [await open(), await open()];
  await watcher.emitWithAck("join", ["bystanders"]);
  const [left, gone] = [next(watcher, "left"), next(socket, "disconnect")];
  socket.emit("leave me alone", false);
  const { id } = socket;
  assert.deepEqual(await left, [id]);
  assert.deepEqual((await gone)[0], "io server disconnect");
  assert.deepEqual(await farewell(watcher, id), ["server namespace disconnect", 0]);
  const other = await open();
  const { id: otherId } = other;
  other.disconnect();
  assert.deepEqual(await farewell(watcher, otherId), ["client namespace disconnect", 0]);
  const third = await open();
  const closed = next(third, "disconnect");
  third.emit("leave me alone", true);
  assert.ok(["io server disconnect", "transport close"].includes((await closed)[0]));
});
