// Connection state recovery: who comes back in time has the same id, rooms and data, and what was missed, in order.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test recovery.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { better } from "./lib/better.mjs";
import { ask, client, connected, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event, sleep } from "./lib/waiting.mjs";
import { Frames } from "./lib/websocket.mjs";

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

/** A bare WebSocket in `/` of the server, with what CONNECT was answered; `messages()` are its events so far. */
async function bare(auth = {}) {
  const frames = await Frames.session(server.url, base);
  frames.send(`40${JSON.stringify(auth)}`);
  const events = [];
  for (;;) {
    const message = await frames.nextMessage();
    if (message.startsWith("40")) return { frames, events, ...JSON.parse(message.slice(2)) };
    events.push(JSON.parse(message.slice(2)));
  }
}

async function nextEvent({ frames }) {
  return JSON.parse((await frames.nextMessage()).slice(2));
}

better("a connection that is dead unnoticed gives way to the one that comes after it", "the session is still in use", async () => {
  const ghost = await bare();
  const [, , start] = await nextEvent(ghost);
  ghost.frames.send('42["join","haunted"]');
  const sender = await connected(client(`${server.url}/`, base));
  await ask(sender, "message-with-ack");
  sender.emit("in-room", "haunted", "news", 1);
  const [, one, offset] = await nextEvent(ghost);
  assert.equal(one, 1);
  sender.emit("in-room", "haunted", "news", 2);
  await ask(sender, "message-with-ack");

  const heir = await bare({ pid: ghost.pid, offset });
  assert.deepEqual([heir.sid, heir.pid], [ghost.sid, ghost.pid]);
  assert.deepEqual(heir.events.map(([name, n]) => [name, n]), [["news", 2]]);
  await ghost.frames.close(1000);
  const [end] = await ask(sender, "reason-of", ghost.sid);
  assert.deepEqual([end.reason, end.rooms], ["transport close", [ghost.sid, "haunted"].sort()]);
  assert.deepEqual(await ask(sender, "sockets-in", "haunted"), [[ghost.sid]]);
  assert.equal((await nextEvent(heir))[0], "auth", "its connection handlers run");
  sender.emit("in-room", "haunted", "news", 3);
  assert.deepEqual((await nextEvent(heir)).slice(0, 2), ["news", 3]);

  // The end of the ghost's connection took nothing from its heir, whose place is worth no more than the ghost's was.
  const second = await bare({ pid: ghost.pid, offset: start });
  assert.deepEqual(second.events.filter(([name]) => name === "news").map(([, n]) => n), [1, 2, 3]);
});

better("a session is resumed once, and not with the place of somebody else", "a copy of the pid does for both", async () => {
  const first = await bare();
  const [, , offset] = await nextEvent(first);
  const stranger = await bare({ pid: first.sid, offset });
  assert.notEqual(stranger.sid, first.sid, "the id that others know is not the secret");
  for (const wrong of ["", "connected", `${offset}9999`, null, 7]) {
    const session = await bare();
    const again = await bare({ pid: session.pid, offset: wrong });
    assert.equal(again.sid === session.sid, wrong === null, `offset ${wrong}`);
  }
});

better("a volatile event that ends with a text does not cost a client its place", "the text is taken for the offset", async () => {
  const socket = await roaming(ways["websocket only"]);
  const { id } = socket;
  socket.emit("volatile", "status", "connected");
  await socket.heard.next("status");
  await away(socket, () => sleep(50));
  assert.deepEqual([socket.recovered, socket.id], [true, id]);
});

better("a Socket.IO 2 client is spared the offsets", "it gets them as an argument", async () => {
  const old = client(`${server.url}/`, { ...base, ...ways["websocket only"] }, 2);
  await connected(old);
  const sender = await connected(client(`${server.url}/`, base));
  sender.emit("to-all", "news", 1);
  assert.deepEqual(await old.heard.next("news"), [1]);
  old.emit("message", 2);
  assert.deepEqual(await old.heard.next("message-back"), [2]);
});
