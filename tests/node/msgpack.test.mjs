// Clients with the msgpack parser, on the server that speaks it.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test msgpack.test.mjs

import { describe } from "node:test";
import { createRequire } from "node:module";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { namespaceCases } from "./cases/namespaces.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { client, connected, upgraded, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";

const parser = createRequire(import.meta.url)("socket.io-msgpack-parser");
const server = serverUnderTest({ MODE: "clients" });

for (const [way, transports] of Object.entries(ways)) {
  const start = (nsp = "/", options = {}) => client(server.url + nsp, { path: "/msgpack/", parser, ...transports, ...options });
  const open = async (nsp, options) => {
    const socket = await connected(start(nsp, options));
    if (way === "upgrade") await upgraded(socket);
    return socket;
  };
  describe(way, () => {
    messageCases(open, { largeNumbers: false });
    roomCases(open);
    namespaceCases(start);
    endingCases(open);
  });
}
