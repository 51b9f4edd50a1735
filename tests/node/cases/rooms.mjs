// Who hears a packet: rooms, exceptions, broadcasts, and the operations on all sockets of a room.
//
// "Nobody else heard it" is shown without waiting: a fence sent later to everybody arrives later at each of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, reasonOf } from "../lib/client.mjs";
import { until } from "../lib/waiting.mjs";

let unique = 0;

/** Registers the cases; `open(nsp?)` gives a connected client. */
export function roomCases(open) {
  /** Three clients: ana in red, ben in red and blue, cem in blue; room names are this test's own. */
  async function three(nsp) {
    const [red, blue] = [`red-${++unique}`, `blue-${unique}`];
    const [ana, ben, cem] = await Promise.all([open(nsp), open(nsp), open(nsp)]);
    await ask(ana, "join", red);
    await ask(ben, "join", red);
    await ask(ben, "join", blue);
    await ask(cem, "join", blue);
    return { red, blue, ana, ben, cem };
  }

  /** Whom of the three the event reached, each entry once for each arrival. */
  async function heardBy({ ana, ben, cem }, event, args, sender = ana) {
    const fence = `fence-${++unique}`;
    sender.emit("to-all", fence);
    const names = [];
    for (const [name, socket] of Object.entries({ ana, ben, cem })) {
      await socket.heard.next(fence);
      for (const given of socket.heard.of(event)) {
        assert.deepEqual(given, args);
        names.push(name);
      }
    }
    return names.join(" ");
  }

  test("a socket is in the room of its id, joins once, and leaves", async () => {
    const socket = await open();
    assert.deepEqual((await ask(socket, "whoami"))[0].rooms, [socket.id]);
    const both = [socket.id, "lobby"].sort();
    assert.deepEqual(await ask(socket, "join", "lobby"), [both]);
    assert.deepEqual(await ask(socket, "join", "lobby"), [both]);
    assert.deepEqual(await ask(socket, "leave", "lobby"), [[socket.id]]);
    assert.deepEqual(await ask(socket, "leave", "never-joined"), [[socket.id]]);
  });

  const audiences = [
    ["socket.to(room)", "to-room", (s) => [s.red], "ben"],
    ["io.in(room)", "in-room", (s) => [s.red], "ana ben"],
    ["io.to both rooms, once for each", "to-rooms", (s) => [[s.red, s.blue]], "ana ben cem"],
    ["io.to(room).except(other)", "room-except", (s) => [s.red, s.blue], "ana"],
    ["except a single socket", "room-except", (s) => [s.red, s.ana.id], "ben"],
    ["socket.broadcast", "broadcast", () => [], "ben cem"],
    ["io.emit", "to-all", () => [], "ana ben cem"],
    ["a single socket by its id", "to-room", (s) => [s.cem.id], "cem"],
    ["socket.to of the sender's own id", "to-room", (s) => [s.ana.id], ""],
    ["a room that nobody is in", "in-room", () => ["nobody-here"], ""],
  ];
  for (const nsp of ["/", "/custom"]) {
    for (const [name, op, target, expected] of audiences) {
      test(`${name} in ${nsp}`, async () => {
        const scene = await three(nsp);
        const args = ["text", { n: 1 }, Buffer.from([1, 2, 3])];
        scene.ana.emit(op, ...target(scene), "told", ...args);
        assert.equal(await heardBy(scene, "told", args), expected);
      });
    }
  }

  test("a broadcast stays in its namespace unless it is sent to another", async () => {
    const scene = await three("/custom");
    const outside = await open("/");
    scene.ana.emit("to-all", "inside", 1);
    scene.ana.emit("to-namespace", "/", "outside", 2);
    assert.deepEqual(await outside.heard.next("outside"), [2]);
    assert.deepEqual(outside.heard.of("inside"), []);
    assert.equal(await heardBy(scene, "inside", [1]), "ana ben cem");
    assert.equal(await heardBy(scene, "outside", []), "");
  });

  test("a volatile packet to a client that listens arrives", async () => {
    const socket = await open();
    await until(3000, "a volatile packet found the transport writable", async () => {
      socket.emit("volatile", "perhaps", 1);
      await ask(socket, "message-with-ack");
      return socket.heard.of("perhaps").length > 0;
    });
    assert.deepEqual(socket.heard.of("perhaps")[0], [1]);
  });

  test("after leaving, a socket hears nothing of the room", async () => {
    const scene = await three();
    await ask(scene.ben, "leave", scene.red);
    scene.ana.emit("in-room", scene.red, "told", 1);
    assert.equal(await heardBy(scene, "told", [1]), "ana");
  });

  test("after disconnecting, a socket is in no room", async () => {
    const scene = await three();
    const { id } = scene.ben;
    scene.ben.disconnect();
    await until(3000, "ben is gone", async () => (await ask(scene.ana, "reason-of", id))[0]);
    assert.deepEqual(await ask(scene.ana, "sockets-in", scene.red), [[scene.ana.id]]);
    assert.deepEqual(await ask(scene.ana, "sockets-in", id), [[]]);
  });

  test("fetchSockets lists ids and carries data", async () => {
    const { ana, ben, cem, red } = await three();
    assert.deepEqual(await ask(ana, "sockets-in", red), [[ana.id, ben.id].sort()]);
    assert.deepEqual(await ask(ana, "sockets-in", "nobody-here"), [[]]);
    const data = { name: "cem", tags: ["a", 1, null] };
    assert.deepEqual(await ask(cem, "set-data", data), ["ok"]);
    assert.deepEqual(await ask(ana, "data-of", cem.id), [data]);
    assert.deepEqual(await ask(ana, "data-of", "no-such-id"), [null]);
  });

  test("all sockets of a room join and leave another", async () => {
    const { ana, ben, cem, red } = await three();
    const green = `green-${++unique}`;
    assert.deepEqual(await ask(cem, "sockets-join", red, green), ["ok"]);
    assert.deepEqual(await ask(cem, "sockets-in", green), [[ana.id, ben.id].sort()]);
    assert.deepEqual(await ask(cem, "sockets-leave", green, red), ["ok"]);
    assert.deepEqual(await ask(cem, "sockets-in", red), [[]]);
    assert.deepEqual(await ask(cem, "sockets-in", green), [[ana.id, ben.id].sort()]);
  });

  for (const close of [false, true]) {
    test(`all sockets of a room are disconnected${close ? ", with their connections" : ""}`, async () => {
      const { ana, ben, cem, blue } = await three();
      const gone = Promise.all([reasonOf(ben), reasonOf(cem)]);
      ana.emit("kick-room", blue, close);
      assert.deepEqual(await gone, ["io server disconnect", "io server disconnect"]);
      assert.equal((await ask(ana, "message-with-ack", "here"))[0], "here");
    });
  }

  test("a question to a room collects every answer", async () => {
    const { ana, ben, cem, red } = await three();
    ana.on("room-question", (value, answer) => answer(`ana ${value}`));
    ben.on("room-question", (value, answer) => answer(`ben ${value}`));
    assert.deepEqual(await ask(cem, "ask-room", red, 3000, "v"), [false, ["ana v", "ben v"]]);
    assert.deepEqual(await ask(cem, "ask-room", "nobody-here", 3000, "v"), [false, []]);
  });

  test("a question to a room ends at its time limit with the answers that came", async () => {
    const { ana, cem, red } = await three();
    ana.on("room-question", (value, answer) => answer("only ana"));
    assert.deepEqual(await ask(cem, "ask-room", red, 300, "v"), [true, ["only ana"]]);
  });
}
