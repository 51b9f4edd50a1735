// Clients of Socket.IO 2 (socket.io-client 2.5.0, Engine.IO 3) where the server allows them, and their wire format.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test legacy.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { endingCases } from "./cases/endings.mjs";
import { messageCases } from "./cases/messages.mjs";
import { roomCases } from "./cases/rooms.mjs";
import { better } from "./lib/better.mjs";
import { ask, client, connected, sibling, upgraded, ways } from "./lib/client.mjs";
import { Polling, request } from "./lib/http.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event, sleep } from "./lib/waiting.mjs";
import { Frames, rawWebSocket } from "./lib/websocket.mjs";

const server = serverUnderTest({ MODE: "clients" });

for (const [way, transports] of Object.entries(ways)) {
  const start = (nsp = "/", options = {}) => client(server.url + nsp, { ...transports, ...options }, 2);
  const open = async (nsp, options) => {
    const socket = await connected(start(nsp, options));
    if (way === "upgrade") await upgraded(socket);
    return socket;
  };

  describe(way, () => {
    messageCases(open);
    roomCases(open);
    endingCases(open);

    test("`/` is connected without being asked, other namespaces beside it", async () => {
      const main = await open("/");
      const custom = await connected(sibling(main, "/custom"));
      const [[inMain], [inCustom]] = await Promise.all([ask(main, "whoami"), ask(custom, "whoami")]);
      assert.equal(inMain.eio, 3);
      assert.equal(inMain.id, custom.io.engine.id);
      assert.equal(inCustom.id, `/custom#${custom.io.engine.id}`);
      assert.equal(custom.id, inCustom.id);
    });

    test("the query of a namespace is its auth", async () => {
      await open("/auth?token=secret");
      const [refusal] = await event(start("/auth?token=wrong"), "error");
      assert.deepEqual(refusal, { code: 401 });
    });

    test("refusals are ERROR packets: data if there is any, else the message", async () => {
      assert.deepEqual((await event(start("/refuse"), "error"))[0], "refused");
      const [unknown] = await event(start("/nowhere"), "error");
      assert.equal(unknown.message ?? unknown, "Invalid namespace");
    });

    better("an event that a per-packet middleware refuses is an `error` to the client", "only version 2 did", async () => {
      const socket = await open();
      socket.emit("forbidden");
      assert.deepEqual((await event(socket, "error"))[0], "event not allowed");
    });

    test("middleware may take its time, and a pattern makes namespaces", async () => {
      await open("/slow");
      const socket = await open("/dyn-5");
      assert.deepEqual(await socket.heard.next("dyn"), ["/dyn-5"]);
    });

    test("an idle client stays, over several pings", async () => {
      const socket = await open();
      await sleep(3600);
      assert.deepEqual(await ask(socket, "message-with-ack", 1), [1]);
    });
  });
}

describe("clients of both generations", () => {
  test("hear each other, with binary", async () => {
    const old = await connected(client(`${server.url}/`, ways["polling only"], 2));
    const today = await connected(client(`${server.url}/`, ways["websocket only"], 4));
    const args = ["é🚀", Buffer.from([1, 2, 3]), { list: [Buffer.from([4])] }];
    old.emit("broadcast", "from-old", ...args);
    today.emit("broadcast", "from-today", ...args);
    assert.deepEqual(await today.heard.next("from-old"), args);
    assert.deepEqual(await old.heard.next("from-today"), args);
  });
});

describe("polling payloads", () => {
  const open = (query = "", path) => Polling.open(server.url, { eio: 3, query, path });
  /** The packets of a text payload, `<length in UTF-16 code units>:<packet>` each. */
  const packets = (body) => {
    const list = [];
    while (body.length) {
      const colon = body.indexOf(":");
      const length = Number(body.slice(0, colon));
      list.push(body.slice(colon + 1, colon + 1 + length));
      body = body.slice(colon + 1 + length);
    }
    return list;
  };

  test("lengths count UTF-16 code units", async () => {
    const session = await open();
    const post = await session.post("6:4hello2:4€3:4🚀1:4");
    assert.deepEqual([post.status, post.body], [200, "ok"]);
    assert.equal((await session.poll()).body, "6:4hello2:4€3:4🚀1:4");
  });

  test("binary in text, where the client asks for it", async () => {
    const session = await open("&b64=1");
    await session.post("10:b4AQIDBA==2:4x");
    assert.equal((await session.poll()).body, "10:b4AQIDBA==2:4x");
  });

  test("binary payloads, both ways", async () => {
    const session = await open();
    const payload = Buffer.from([0, 3, 255, 0x34, 0xc3, 0xa9, 1, 5, 255, 4, 1, 2, 3, 4]);
    const post = await session.post(payload, { "content-type": "application/octet-stream" });
    assert.deepEqual([post.status, post.body], [200, "ok"]);
    const answer = await session.poll();
    assert.equal(answer.headers["content-type"], "application/octet-stream");
    assert.deepEqual(answer.bytes, payload);
  });

  test("the client pings, the server answers", async () => {
    const session = await open();
    await session.post("1:2");
    assert.equal((await session.poll()).body, "1:3");
  });

  test("the handshake has no maxPayload that an old client would mind, and `/` follows", async () => {
    const session = await open("", "/socket.io/");
    assert.deepEqual(packets((await session.poll()).body)[0], "40");
  });

  for (const body of ["abc", "5:4a", "x:4a", "-1:4a", "99999999999:4a", ":", "0:"]) {
    test(`a broken payload ends the session: ${body}`, async () => {
      const session = await open();
      await session.post(body).catch(() => {});
      await session.poll().catch(() => {});
      assert.equal(await session.gone(), true);
    });
  }

  test("JSONP", async () => {
    const answer = await request(`${server.url}/engine.io/?EIO=3&transport=polling&j=4&b64=1`);
    const payload = JSON.parse(/^(?:\/\*\*\/|;)?___eio\[4\]\((.*)\);?$/.exec(answer.body)[1]);
    const sid = /"sid":"([^"]+)"/.exec(payload)[1];
    const url = `${server.url}/engine.io/?EIO=3&transport=polling&j=4&b64=1&sid=${sid}`;
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    await request(url, { method: "POST", headers, body: new URLSearchParams({ d: "4:4a\\nb8:b4AQIDBA==".replace("8:", "10:") }).toString() });
    const { body } = await request(url);
    assert.equal(JSON.parse(/\((.*)\);?$/s.exec(body)[1]), "4:4a\nb10:b4AQIDBA==");
  });
});

describe("WebSocket frames", () => {
  const open = (query) => Frames.session(server.url, { eio: 3, query });

  better("the open packet does not come in one read with the 101", "old clients miss it there", async () => {
    let together = 0;
    for (let i = 0; i < 20; i++) {
      const raw = await rawWebSocket(server.url, "/engine.io/?EIO=3&transport=websocket");
      if (raw.received().length > 0) together += 1;
    }
    assert.ok(together <= 5, `${together} of 20`);
  });

  test("binary starts with the packet's type", async () => {
    const frames = await open();
    frames.send(Buffer.from([4, 1, 2, 3]), "4text");
    assert.deepEqual(await frames.next(), Buffer.from([4, 1, 2, 3]));
    assert.equal(await frames.next(), "4text");
  });

  test("binary in text, where the client asks for it", async () => {
    const frames = await open("&b64=1");
    frames.send("b4AQID");
    assert.equal(await frames.next(), "b4AQID");
  });

  test("the client pings; silence ends the session after interval and timeout", async () => {
    const frames = await open();
    frames.send("2");
    assert.match(await frames.next(), /^3/);
    const began = Date.now();
    await frames.close(5000);
    const waited = Date.now() - began;
    assert.ok(waited >= 2900 && waited < 3800, `closed after ${waited} ms`);
  });
});
