// Connection state recovery: who comes back in time has the same id, rooms and data, and what was missed, in order.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test recovery.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { better } from "./lib/better.mjs";
import { ask, client, connected, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event, sleep } from "./lib/waiting.mjs";

const server = serverUnderTest({ MODE: "clients" });
const base = { path: "/recovery/" };

/** A client that comes back only when `back` is called. */
async function roaming(options) {
  const socket = await connected(client(`${server.url}/`, { ...base, ...options }));
  await ask(socket, "set-data", { name: "ana" });
  await ask(socket, "join", "room");
  return socket;
}

/** Breaks the connection of `socket` without a word, runs `meanwhile`, and lets it come back. */
async function away(socket, meanwhile) {
  const gone = event(socket, "disconnect");
  if (socket.io.engine.transport.name === "websocket") socket.io.engine.transport.ws.terminate();
  else socket.io.engine.close();
  await gone;
  await meanwhile();
  const back = event(socket, "connect");
  socket.connect();
  await back;
}

for (const [way, transports] of Object.entries(ways)) {
  describe(way, () => {
    test("the same id, rooms and data, and what was missed, in order, without running middleware", async () => {
      const socket = await roaming(transports);
      const sender = await connected(client(`${server.url}/`, base));
      sender.emit("in-room", "room", "news", 0);
      assert.deepEqual((await socket.heard.next("news")).slice(0, 1), [0]);
      const { id } = socket;
      const [runs] = await ask(sender, "middleware-runs");
      await away(socket, async () => {
        sender.emit("in-room", "room", "news", 1, Buffer.from([1, 2]));
        sender.emit("in-room", id, "news", 2);
        sender.emit("to-all", "news", 3);
        sender.emit("in-room", "another room", "news", "not for us");
        sender.emit("room-except", "room", "room", "news", "excepted");
        await ask(sender, "message-with-ack");
      });
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      const missed = await socket.heard.take("news", 3);
      assert.deepEqual(missed.map((args) => args.slice(0, -1)), [[1, Buffer.from([1, 2])], [2], [3]]);
      const [who] = await ask(socket, "whoami");
      assert.deepEqual([who.recovered, who.rooms], [true, [id, "room"].sort()]);
      assert.deepEqual(await ask(sender, "data-of", id), [{ name: "ana" }]);
      assert.deepEqual(await ask(sender, "middleware-runs"), [runs]);
      sender.emit("in-room", "room", "news", 4);
      assert.equal((await socket.heard.next("news"))[0], 4);
      assert.deepEqual(socket.heard.of("news").map(([n]) => n), [0, 1, 2, 3, 4], "nothing twice");
    });
  });
}

test("a session that ended in order is not recovered", async () => {
  const socket = await roaming();
  socket.emit("no-args");
  await socket.heard.next("no-args");
  const { id } = socket;
  socket.disconnect();
  const back = event(socket, "connect");
  socket.connect();
  await back;
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  assert.deepEqual((await ask(socket, "whoami"))[0].rooms, [socket.id]);
});

test("who comes back too late starts anew", async () => {
  const socket = await roaming(ways["websocket only"]);
  socket.emit("no-args");
  await socket.heard.next("no-args");
  await away(socket, () => sleep(3500));
  assert.equal(socket.recovered, false);
});

better("a client that has heard nothing yet is recovered too", "it has no offset to go by", async () => {
  const socket = client(`${server.url}/custom`, { ...base, ...ways["websocket only"] });
  await connected(socket);
  const { id } = socket;
  socket._lastOffset = undefined;
  await away(socket, () => sleep(50));
  assert.deepEqual([socket.recovered, socket.id], [true, id]);
});
