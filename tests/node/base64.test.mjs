// Clients that take text only: binary as base64 with each generation, and JSONP, which version 2 falls back to in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browserUnderTest, CLIENT_2 } from "./lib/browser.mjs";
import { ask, client, connected, upgraded, ways } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";

const server = serverUnderTest({ MODE: "clients" });
const browser = browserUnderTest();

const SENT = ["é🚀\u2028\\n", { file: Buffer.from([0, 1, 254, 255]), n: 1.5 }, Buffer.alloc(300, 7)];

for (const version of [2, 3, 4]) {
  for (const way of ["polling only", "upgrade"]) {
    test(`version ${version}, ${way}: text and binary with forceBase64`, async () => {
      const socket = await connected(client(server.url, { ...ways[way], forceBase64: true }, version));
      if (way === "upgrade") await upgraded(socket);
      for (let round = 0; round < 3; round++) {
        assert.deepEqual(await ask(socket, "message-with-ack", ...SENT), SENT);
      }
      socket.emit("message", ...SENT);
      assert.deepEqual(await socket.heard.next("message-back"), SENT);
    });
  }
}

test("version 2 in a browser, with forceJSONP: text and binary both ways, as events and acknowledgements", async () => {
  const page = await browser.client(server.url, { transports: ["polling"], forceJSONP: true }, CLIENT_2);
  const said = await page.evaluate(async () => {
    const socket = await connect();
    const bytes = new Uint8Array([0, 1, 254, 255]).buffer;
    // Over JSONP the client leaves what is binary as it came.
    const read = (binary) => (binary.base64 ? Uint8Array.from(atob(binary.data), (char) => char.charCodeAt()) : new Uint8Array(binary));
    const answers = [];
    for (let round = 0; round < 3; round++) {
      const [text, binary] = await ask(socket, "message-with-ack", "é🚀\u2028\\n", bytes);
      answers.push([text, [...read(binary)]]);
    }
    socket.emit("message", "again", { bytes });
    const [again, inside] = await next(socket, "message-back");
    const scripts = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("&j="));
    return { answers, again, inside: [...read(inside.bytes)], jsonp: scripts.length > 2 };
  });
  const bytes = [0, 1, 254, 255];
  assert.deepEqual(said.answers, Array(3).fill(["é🚀\u2028\\n", bytes]));
  assert.deepEqual([said.again, said.inside, said.jsonp], ["again", bytes, true]);
  assert.deepEqual(page.errors, []);
});
