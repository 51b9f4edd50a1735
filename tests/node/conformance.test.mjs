// The stock client of today, socket.io-client 4.8.4, on each transport.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test conformance.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NodeWebSocket, NodeXHR } from "engine.io-client";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { namespaceCases } from "./cases/namespaces.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { ask, client, connected, upgraded, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { sleep } from "./lib/waiting.mjs";

const server = serverUnderTest({ MODE: "clients" });

for (const [way, transports] of Object.entries(ways)) {
  const start = (nsp = "/", options = {}) => client(server.url + nsp, { ...transports, ...options });
  const open = async (nsp, options) => {
    const socket = await connected(start(nsp, options));
    if (way === "upgrade") await upgraded(socket);
    return socket;
  };
  describe(way, () => {
    messageCases(open);
    roomCases(open);
    namespaceCases(start);
    endingCases(open);

    test("the transport is the one that was asked for, and the handshake is kept", async () => {
      const options = { query: { a: "1 & ü", b: "" }, auth: { token: "t" }, extraHeaders: { "x-custom": "value" } };
      const socket = await open("/custom", options);
      const [who] = await ask(socket, "whoami");
      assert.equal(who.transport, way === "polling only" ? "polling" : "websocket");
      assert.equal(who.id, socket.id);
      assert.notEqual(who.id, socket.io.engine.id, "the id of a socket is not the key of its session");
      const { query, ...rest } = who;
      assert.equal(query.a, "1 & ü");
      assert.equal(query.b, "");
      assert.equal(query.EIO, "4");
      assert.deepEqual(rest, {
        id: socket.id, nsp: "/custom", rooms: [socket.id], transport: who.transport, eio: 4, recovered: false,
        auth: { token: "t" }, header: "value", url: "/socket.io/", secure: false,
      });
    });

    test("an idle client stays, over several pings", async () => {
      const socket = await open();
      let pings = 0;
      socket.io.on("ping", () => (pings += 1));
      await sleep(3600);
      assert.equal(socket.connected, true);
      assert.ok(pings >= 2, `${pings} pings in 3.6 s`);
      assert.deepEqual(await ask(socket, "message-with-ack", 1), [1]);
    });
  });
}

describe("across the upgrade", () => {
  /** A WebSocket that takes its time, so that much happens over polling before the upgrade and during it. */
  class SlowWebSocket extends NodeWebSocket {
    doOpen() {
      setTimeout(() => super.doOpen(), 60);
    }
  }
  const slowly = { transports: [NodeXHR, SlowWebSocket] };

  test("nothing is lost, repeated or out of order in either direction", async () => {
    for (let round = 0; round < 10; round++) {
      const socket = client(`${server.url}/`, slowly);
      await connected(socket);
      assert.equal((await ask(socket, "whoami"))[0].transport, "polling");
      const sent = [];
      const feed = setInterval(() => {
        const args = [sent.length, Buffer.from([sent.length % 256])];
        socket.emit("message", ...args);
        socket.emit("burst", 3);
        sent.push(args);
      }, 1);
      await upgraded(socket).finally(() => setTimeout(() => clearInterval(feed), 20));
      await sleep(30);
      assert.deepEqual(await socket.heard.take("message-back", sent.length), sent);
      assert.deepEqual(await socket.heard.take("burst", sent.length * 3), sent.flatMap(() => [[0], [1], [2]]));
      assert.equal((await ask(socket, "whoami"))[0].transport, "websocket");
      socket.disconnect();
    }
  });

  test("an acknowledgement asked for before the upgrade comes after it", async () => {
    const socket = await connected(client(`${server.url}/`, slowly));
    const answer = ask(socket, "ack-late", 300);
    await upgraded(socket);
    assert.deepEqual(await answer, ["late"]);
  });

  test("a client that repeats what is not acknowledged has no need to", async () => {
    for (let round = 0; round < 10; round++) {
      const socket = client(`${server.url}/`, { retries: 3, ackTimeout: 2000 });
      const sent = [];
      socket.io.engine.on("packetCreate", ({ data }) => sent.push(data));
      socket.on("connect", () => socket.emit("message-with-ack", 1));
      await connected(socket);
      await upgraded(socket);
      assert.deepEqual(await ask(socket, "message-with-ack", 2), [null, 2]);
      assert.deepEqual(sent.filter((data) => data !== undefined), ["0", '20["message-with-ack",1]', '21["message-with-ack",2]']);
    }
  });

  test("a client that cannot upgrade stays on polling", async () => {
    const socket = client(`${server.url}/`, { path: "/polling-only/" });
    await connected(socket);
    await sleep(200);
    assert.equal((await ask(socket, "whoami"))[0].transport, "polling");
  });

  test("a client that starts with websocket and is refused falls back to polling", async () => {
    const options = { path: "/polling-only/", transports: ["websocket", "polling"], tryAllTransports: true };
    const socket = client(`${server.url}/`, options);
    await connected(socket);
    assert.equal((await ask(socket, "whoami"))[0].transport, "polling");
  });
});
