// The stock client of version 3, socket.io-client 3.1.3: protocol 5 over Engine.IO 4, as today, in its own dress.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test client3.test.mjs

import { describe } from "node:test";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { namespaceCases } from "./cases/namespaces.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { client, connected, upgraded, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";

const server = serverUnderTest({ MODE: "clients" });

for (const [way, transports] of Object.entries(ways)) {
  const start = (nsp = "/", options = {}) => client(server.url + nsp, { ...transports, ...options }, 3);
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
  });
}
