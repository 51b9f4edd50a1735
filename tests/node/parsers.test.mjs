// Clients with parsers of their own, on servers that speak them: one writes texts with attachments, one only binary.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test parsers.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { namespaceCases } from "./cases/namespaces.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { ask, client, connected, reasonOf, upgraded, ways } from "./lib/client.mjs";
import * as parsers from "./lib/parsers.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event } from "./lib/waiting.mjs";

const server = serverUnderTest({ MODE: "clients" });

for (const [name, parser] of Object.entries(parsers)) {
  describe(name, () => {
    for (const way of name === "marked" ? ["polling only", "websocket only"] : ["upgrade"]) {
      const transports = ways[way];
      const start = (nsp = "/", options = {}) => client(server.url + nsp, { path: `/${name}/`, parser, ...transports, ...options });
      const open = async (nsp, options) => {
        const socket = await connected(start(nsp, options));
        if (way === "upgrade") await upgraded(socket);
        return socket;
      };
      describe(way, () => {
        messageCases(open, { largeNumbers: false });
        if (way === "polling only") return; // The rest does not depend on both.
        roomCases(open);
        namespaceCases(start);
        endingCases(open);
      });
    }

    test("a client with another parser is closed", async () => {
      const socket = client(`${server.url}/`, { path: `/${name}/`, transports: ["websocket"] });
      const closed = event(socket.io, "close");
      await closed;
      assert.equal(socket.connected, false);
    });

    test("what the parser does not know closes its connection and no other", async () => {
      const options = { path: `/${name}/`, parser, transports: ["websocket"] };
      const [bad, good] = [await connected(client(`${server.url}/`, options)), await connected(client(`${server.url}/`, options))];
      const gone = reasonOf(bad);
      bad.io.engine.write(name === "packed" ? Buffer.from([1, 2, 3]) : "nonsense");
      assert.match(await gone, /transport close|io server disconnect/);
      assert.ok(await ask(good, "whoami"));
    });
  });
}

test("recovery: what was missed comes behind, with its place in the history", async () => {
  const options = { path: "/marked-recovery/", parser: parsers.marked, transports: ["websocket"] };
  const [socket, sender] = [await connected(client(`${server.url}/`, options)), await connected(client(`${server.url}/`, options))];
  await ask(socket, "join", "room");
  sender.emit("in-room", "room", "news", 0);
  await socket.heard.next("news");
  const gone = event(socket, "disconnect");
  socket.io.engine.transport.ws.terminate();
  await gone;
  sender.emit("in-room", "room", "news", 1, Buffer.from([1, 2]));
  await ask(sender, "message-with-ack");
  const back = event(socket, "connect");
  socket.connect();
  await back;
  assert.equal(socket.recovered, true);
  const args = await socket.heard.next("news");
  assert.deepEqual([args[0], Buffer.from(args[1])], [1, Buffer.from([1, 2])]);
});
