// How a socket ends, from either side, what each side calls it, and that it can come back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, connected, reasonOf, sibling } from "../lib/client.mjs";
import { event, sleep, until } from "../lib/waiting.mjs";

/** Registers the cases; `open(nsp?, options?)` gives a connected client. */
export function endingCases(open) {
  /** How the server tells the end of the socket `id`. */
  async function toldByServer(id) {
    const witness = await open();
    return until(5000, `the server knows why ${id} ended`, async () => (await ask(witness, "reason-of", id))[0]);
  }

  test("a socket that has not ended has no reason: the answer is null", async () => {
    const socket = await open();
    assert.deepEqual(await ask(socket, "reason-of", socket.id), [null]);
  });

  test("a client that disconnects", async () => {
    const socket = await open("/custom");
    const { id } = socket;
    await ask(socket, "join", "a-room");
    socket.disconnect();
    assert.deepEqual(await toldByServer(id), {
      reason: "client namespace disconnect", rooms: [id, "a-room"].sort(), after: [], nsp: "/custom",
    });
  });

  for (const close of [false, true]) {
    test(`a server that disconnects a socket${close ? " and its connection" : ""}`, async () => {
      const socket = await open();
      const { id } = socket;
      const engine = socket.io.engine;
      const [reason] = await Promise.all([reasonOf(socket), socket.emit("disconnect-me", close)]);
      assert.equal(reason, "io server disconnect");
      assert.equal((await toldByServer(id)).reason, "server namespace disconnect");
      if (close) await until(3000, "the connection is closed", () => engine.readyState === "closed");
    });
  }

  test("the last words of a server arrive before the disconnect", async () => {
    const socket = await open();
    const gone = reasonOf(socket);
    socket.emit("emit-and-disconnect");
    assert.equal(await gone, "io server disconnect");
    assert.deepEqual(socket.heard.of("last-words"), [["bye"]]);
  });

  test("a server that closes the transport", async () => {
    const socket = await open();
    const { id } = socket;
    const gone = reasonOf(socket);
    socket.emit("close-transport");
    assert.equal(await gone, "transport close");
    assert.equal((await toldByServer(id)).reason, "forced close");
  });

  test("a client whose transport closes", async () => {
    const socket = await open();
    const { id } = socket;
    socket.io.engine.close();
    assert.equal((await toldByServer(id)).reason, "transport close");
  });

  test("a message over the limit ends the connection that sent it", async () => {
    const socket = await open();
    const { id } = socket;
    const gone = reasonOf(socket);
    socket.emit("message", "x".repeat(1_000_001));
    assert.match(await gone, /^transport (error|close)$/);
    // A polling client that got 413 goes away by itself; over WebSocket the server is the one that ends it.
    assert.match((await toldByServer(id)).reason, /^transport (error|close)$/);
  });

  test("a client comes back after its transport was closed, with a new id", async () => {
    const socket = await open("/", { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 });
    const { id } = socket;
    const back = event(socket, "connect").then(() => socket.id);
    socket.emit("close-transport");
    assert.notEqual(await back, id);
    assert.deepEqual(await ask(socket, "message-with-ack", "again"), ["again"]);
    assert.deepEqual((await ask(socket, "whoami"))[0].rooms, [socket.id]);
  });

  test("a client that was disconnected by the server can connect again", async () => {
    const socket = await open();
    const gone = reasonOf(socket);
    socket.emit("disconnect-me", false);
    await gone;
    // A client closes a connection that has no socket left, and version 3 cannot open another before that is done.
    await until(3000, "its connection is closed", () => socket.io._readyState !== "open");
    await sleep(50);
    socket.connect();
    await connected(socket);
    assert.deepEqual(await ask(socket, "message-with-ack", "again"), ["again"]);
  });

  test("one namespace of a connection ends, the other goes on", async () => {
    const main = await open("/");
    const custom = await connected(sibling(main, "/custom"));
    const { id } = custom;
    custom.disconnect();
    assert.equal((await toldByServer(id)).reason, "client namespace disconnect");
    assert.deepEqual(await ask(main, "message-with-ack", 1), [1]);

    custom.connect();
    await connected(custom);
    const gone = reasonOf(custom);
    custom.emit("disconnect-me", false);
    assert.equal(await gone, "io server disconnect");
    assert.deepEqual(await ask(main, "message-with-ack", 2), [2]);
  });

  test("the end of a connection is the end of all its namespaces", async () => {
    const main = await open("/");
    const custom = await connected(sibling(main, "/custom"));
    const ids = [main.id, custom.id];
    main.io.engine.close();
    for (const id of ids) assert.equal((await toldByServer(id)).reason, "transport close");
  });
}
