// Connecting to namespaces: the greeting, middleware that refuses or delays, patterns, unknown names.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, connected, sibling } from "../lib/client.mjs";
import { event } from "../lib/waiting.mjs";

/** Registers the cases for clients of protocol 5; `start(nsp, options)` gives a client that is connecting. */
export function namespaceCases(start) {
  const refusal = async (socket) => {
    const [error] = await event(socket, "connect_error");
    return { message: error.message, data: error.data };
  };

  test("the payload of CONNECT comes back as the first event", async () => {
    for (const nsp of ["/", "/custom"]) {
      for (const auth of [undefined, { token: "123", deep: { list: [1, null] } }]) {
        const socket = await connected(start(nsp, { auth }));
        assert.deepEqual(await socket.heard.next("auth"), [auth ?? {}]);
        assert.equal(socket.heard.all[0][0], "auth");
      }
    }
  });

  test("events that a client emits before it is connected arrive in order", async () => {
    const socket = start("/custom");
    for (let i = 0; i < 5; i++) socket.emit("message", i);
    assert.deepEqual(await socket.heard.take("message-back", 5), [[0], [1], [2], [3], [4]]);
  });

  test("middleware lets in with the right token and refuses with message and data", async () => {
    const welcome = start("/auth", { auth: { token: "secret" } });
    await connected(welcome);
    assert.deepEqual(await refusal(start("/auth", { auth: { token: "wrong" } })), { message: "not authorized", data: { code: 401 } });
    assert.deepEqual(await refusal(start("/auth")), { message: "not authorized", data: { code: 401 } });
  });

  test("middleware refuses without data", async () => {
    assert.deepEqual(await refusal(start("/refuse")), { message: "refused", data: undefined });
  });

  test("middleware that takes its time delays only its own namespace", async () => {
    const slow = start("/slow");
    const began = Date.now();
    const main = sibling(slow, "/");
    await connected(main);
    assert.equal(slow.connected, false);
    await connected(slow);
    assert.ok(Date.now() - began >= 140, `let in after ${Date.now() - began} ms`);
  });

  test("a pattern makes namespaces on demand", async () => {
    const first = start("/dyn-17");
    const second = start("/dyn-18");
    assert.deepEqual(await first.heard.next("dyn"), ["/dyn-17"]);
    assert.deepEqual(await second.heard.next("dyn"), ["/dyn-18"]);
  });

  test("an unknown namespace is refused and the connection lives on", async () => {
    for (const name of ["/nowhere", "/dyn-x", "/dyn-1/2", "/custom/", "/Custom"]) {
      const lost = start(name);
      const main = sibling(lost, "/");
      assert.deepEqual(await refusal(lost), { message: "Invalid namespace", data: undefined }, name);
      await connected(main);
      assert.deepEqual(await ask(main, "message-with-ack", 1), [1]);
    }
  });

  test("namespaces of one connection have their own sockets and rooms", async () => {
    const main = start("/");
    const custom = sibling(main, "/custom");
    await Promise.all([connected(main), connected(custom)]);
    assert.notEqual(main.id, custom.id);
    await ask(main, "join", "shared-name");
    assert.deepEqual(await ask(custom, "sockets-in", "shared-name"), [[]]);
    custom.emit("to-all", "only-here", 1);
    await custom.heard.next("only-here");
    await ask(main, "message-with-ack");
    assert.deepEqual(main.heard.of("only-here"), []);
  });
}
