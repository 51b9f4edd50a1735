// A server that goes, and another that comes on its port: what a stock client that reconnects has of it.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test restart.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, client, connected, ways } from "./lib/client.mjs";
import { commandFrom, startServer } from "./lib/process.mjs";
import { event, freePort } from "./lib/waiting.mjs";

for (const [way, transports] of Object.entries(ways)) {
  test(`${way}: a client finds its server again after a restart, and is heard`, async () => {
    const port = await freePort();
    const start = () => startServer(commandFrom("SERVER_CMD"), { MODE: "clients" }, { port });
    const first = await start();
    const reconnecting = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 };
    const socket = await connected(client(`${first.url}/`, { ...transports, ...reconnecting }));
    const { id } = socket;
    const gone = event(socket, "disconnect");
    await first.stop();
    await gone;
    socket.emit("message", "while away");
    const back = event(socket, "connect", 10000);
    const second = await start();
    await back;
    assert.notEqual(socket.id, id);
    assert.deepEqual(await socket.heard.next("message-back"), ["while away"], "the client kept it");
    assert.deepEqual(await ask(socket, "message-with-ack", 1), [1]);
    socket.disconnect();
    await second.stop();
  });
}
