// The stock client of today, socket.io-client 4.8.4, on each transport.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test conformance.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { namespaceCases } from "./cases/namespaces.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { ask, client, connected, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event, sleep } from "./lib/waiting.mjs";

const server = serverUnderTest({ MODE: "clients" });

for (const [way, transports] of Object.entries(ways)) {
  const open = (nsp = "/", options = {}) => connected(client(server.url + nsp, { ...transports, ...options }));
  describe(way, () => {
    messageCases(open);
    roomCases(open);
    namespaceCases((nsp, options) => client(server.url + nsp, { ...transports, ...options }));
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
  test("nothing is lost, repeated or out of order in either direction", async () => {
    for (let round = 0; round < 10; round++) {
      const socket = client(`${server.url}/`, ways.upgrade);
      await event(socket, "connect");
      const upgraded = event(socket.io.engine, "upgrade");
      const sent = [];
      const feed = setInterval(() => {
        socket.emit("message", sent.length, Buffer.from([sent.length % 256]));
        sent.push([sent.length, Buffer.from([sent.length % 256])]);
      }, 1);
      socket.emit("burst", 100);
      await upgraded;
      await sleep(20);
      clearInterval(feed);
      assert.deepEqual(await socket.heard.take("burst", 100), Array.from({ length: 100 }, (_, i) => [i]));
      assert.deepEqual(await socket.heard.take("message-back", sent.length), sent);
      assert.equal((await ask(socket, "whoami"))[0].transport, "websocket");
      socket.disconnect();
    }
  });

  test("an acknowledgement asked for before the upgrade comes after it", async () => {
    const socket = client(`${server.url}/`, ways.upgrade);
    await event(socket, "connect");
    const answer = ask(socket, "ack-late", 300);
    await event(socket.io.engine, "upgrade");
    assert.deepEqual(await answer, ["late"]);
  });

  test("a client that cannot upgrade stays on polling", async () => {
    const socket = client(`${server.url}/`, { path: "/polling-only/" });
    await event(socket, "connect");
    await sleep(200);
    assert.equal((await ask(socket, "whoami"))[0].transport, "polling");
  });

  test("a client that starts with websocket and is refused falls back to polling", async () => {
    const options = { path: "/polling-only/", transports: ["websocket", "polling"], tryAllTransports: true };
    const socket = client(`${server.url}/`, options);
    await event(socket, "connect");
    assert.equal((await ask(socket, "whoami"))[0].transport, "polling");
  });
});
