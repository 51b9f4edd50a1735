// The two protocols on bare HTTP and WebSocket: what each request and packet is answered with, and when.
//
// Engine.IO protocol v4 and Socket.IO protocol v5, on a server with short heartbeats (300 ms, 200 ms).

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { better } from "./lib/better.mjs";
import { Polling, request } from "./lib/http.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { sleep, until } from "./lib/waiting.mjs";
import { Frames, refusedUpgrade } from "./lib/websocket.mjs";

const server = serverUnderTest({ MODE: "protocol" });
const engine = (query) => `${server.url}/engine.io/?${query}`;

describe("handshake", () => {
  test("over polling: exactly the open packet, with its five members in order", async () => {
    const answer = await request(engine("EIO=4&transport=polling"));
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
    assert.equal(answer.headers["content-length"], String(answer.bytes.length));
    assert.match(
      answer.body,
      /^0\{"sid":"[\w-]{16,}","upgrades":\["websocket"\],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000\}$/,
    );
  });

  test("over WebSocket: the same without upgrades", async () => {
    const session = await Frames.open(engine("EIO=4&transport=websocket"));
    assert.match(
      await session.next(),
      /^0\{"sid":"[\w-]{16,}","upgrades":\[\],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000\}$/,
    );
  });

  test("50 session ids are all different", async () => {
    const sids = await Promise.all(Array.from({ length: 50 }, async () => (await Polling.open(server.url)).sid));
    assert.equal(new Set(sids).size, 50);
  });

  const refused = [
    ["no EIO", "transport=polling", 5, "Unsupported protocol version"],
    ["an unknown EIO", "EIO=abc&transport=polling", 5, "Unsupported protocol version"],
    ["EIO=3 where it is not allowed", "EIO=3&transport=polling", 5, "Unsupported protocol version"],
    ["no transport", "EIO=4", 0, "Transport unknown"],
    ["an unknown transport", "EIO=4&transport=abc", 0, "Transport unknown"],
    ["a transport named like a JavaScript property", "EIO=4&transport=constructor", 0, "Transport unknown"],
    ["an unknown session", "EIO=4&transport=polling&sid=abc", 1, "Session ID unknown"],
    ["a session named like a JavaScript property", "EIO=4&transport=polling&sid=__proto__", 1, "Session ID unknown"],
    ["WebSocket without an upgrade", "EIO=4&transport=websocket", 3, "Bad request"],
  ];
  for (const [name, query, code, message] of refused) {
    test(`refused: ${name}`, async () => {
      const answer = await request(engine(query));
      assert.equal(answer.status, 400);
      assert.match(answer.headers["content-type"], /^application\/json/);
      const error = JSON.parse(answer.body);
      assert.deepEqual({ code: Number(error.code), message: error.message }, { code, message });
    });
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    test(`refused: ${method}`, async () => {
      const answer = await request(engine("EIO=4&transport=polling"), { method });
      assert.equal(answer.status, 400);
      assert.equal(JSON.parse(answer.body).message, "Bad handshake method");
    });
  }
  test("over WebSocket, every fault is a refused upgrade or a connection that ends", async () => {
    for (const query of ["transport=websocket", "EIO=abc&transport=websocket", "EIO=3&transport=websocket"]) {
      await refusedUpgrade(engine(query));
    }
    for (const query of ["EIO=4", "EIO=4&transport=abc", "EIO=4&transport=websocket&sid=abc"]) {
      assert.equal(await refusedUpgrade(engine(query)), 400, query);
    }
  });
  better("an unsupported version is refused before the upgrade", "it accepts the upgrade and writes HTTP into it", async () => {
    assert.equal(await refusedUpgrade(engine("EIO=abc&transport=websocket")), 400);
  });

  test("unknown paths are 404, for requests and for upgrades", async () => {
    for (const path of ["/", "/engine.iox/", "/socket.io", "/nothing/?EIO=4&transport=polling"]) {
      assert.equal((await request(server.url + path)).status, 404, path);
    }
    assert.equal(await refusedUpgrade(`${server.url}/nothing/?EIO=4&transport=websocket`), 404);
  });
});

describe("messages", () => {
  test("over polling: one payload, several packets, text and binary, back as they went", async () => {
    const session = await Polling.open(server.url);
    const packets = ["4hello", "4", "4€ 🚀", "bAQIDBA==", "b", "4b64"];
    await session.send(...packets);
    assert.deepEqual(await session.messages(packets.length), packets);
  });

  test("over polling: the answer to a POST is `ok`, a poll waits until there is something", async () => {
    const session = await Polling.open(server.url);
    const poll = session.messages(1);
    await sleep(50);
    const answer = await session.post("4late");
    assert.deepEqual([answer.status, answer.body], [200, "ok"]);
    assert.deepEqual(await poll, ["4late"]);
  });

  test("over WebSocket: text and binary back as they went", async () => {
    const session = await Frames.session(server.url);
    const messages = ["4hello", "4", "4€ 🚀", Buffer.from([1, 2, 3, 4]), Buffer.alloc(0), Buffer.alloc(70_000, 7)];
    for (const message of messages) {
      session.send(message);
      assert.deepEqual(await session.nextMessage(), message);
    }
  });

  test("a POST in chunks, with a character cut in two", async () => {
    const session = await Polling.open(server.url);
    const bytes = Buffer.from("4é€🚀");
    for (let cut = 1; cut < bytes.length; cut++) {
      const chunks = [bytes.subarray(0, cut), bytes.subarray(cut)];
      const answer = await request(session.url, { method: "POST", chunks });
      assert.deepEqual([answer.status, answer.body], [200, "ok"]);
      assert.deepEqual(await session.messages(1), ["4é€🚀"]);
    }
  });
});

describe("heartbeat", () => {
  test("the first ping comes one interval after the open packet, not before", async () => {
    const began = Date.now();
    const session = await Frames.session(server.url);
    assert.equal(await session.next(), "2");
    const waited = Date.now() - began;
    assert.ok(waited >= 290 && waited < 500, `first ping after ${waited} ms`);
  });

  test("pings go on as long as they are answered", async () => {
    for (const open of [() => Frames.session(server.url), () => Polling.open(server.url)]) {
      const session = await open();
      for (let i = 0; i < 3; i++) {
        if (session instanceof Polling) {
          assert.deepEqual(await session.packets(), ["2"]);
          await session.send("3");
        } else {
          assert.equal(await session.next(), "2");
          session.send("3");
        }
      }
    }
  });

  test("a WebSocket that leaves a ping unanswered is closed", async () => {
    const began = Date.now();
    const session = await Frames.session(server.url);
    await session.close();
    const waited = Date.now() - began;
    assert.ok(waited >= 490 && waited < 800, `closed after ${waited} ms`);
  });

  test("a polling session that leaves a ping unanswered is gone at the end of the time", async () => {
    const session = await Polling.open(server.url);
    assert.deepEqual(await session.packets(), ["2"]);
    await sleep(200);
    await until(1000, "the session is gone", () => session.gone());
  });

  test("a session that never polls is gone 500 ms after its handshake", async () => {
    const session = await Polling.open(server.url);
    await sleep(500); // Asking earlier would be a poll.
    await until(1000, "the session is gone", () => session.gone());
  });
});

describe("faults and endings of a session", () => {
  test("a second poll while one waits: the first is told to close, the second fails, the session is gone", async () => {
    const session = await Polling.open(server.url);
    const first = session.poll();
    await sleep(50);
    const second = await session.poll();
    assert.ok([400, 500].includes(second.status), `status ${second.status}`);
    assert.equal((await first).body, "1");
    assert.equal(await session.gone(), true);
  });

  test("packet 1 over polling: the waiting poll is released, then the session is gone", async () => {
    const session = await Polling.open(server.url);
    const poll = session.poll();
    await sleep(50);
    await session.send("1");
    assert.equal((await poll).body, "6");
    assert.equal(await session.gone(), true);
  });

  test("a client that closes its WebSocket is gone", async () => {
    const session = await Frames.session(server.url);
    session.ws.close();
    await session.close();
    assert.equal(await refusedUpgrade(engine(`EIO=4&transport=websocket&sid=${session.handshake.sid}`)), 400);
  });

  for (const body of ["abc", "", "4ok\u001exyz", "9", "4a\u001e\u001e4b"]) {
    test(`a broken payload ends a polling session: ${JSON.stringify(body)}`, async () => {
      const session = await Polling.open(server.url);
      const answer = await session.post(body).catch(() => ({ status: "broken connection" }));
      assert.ok([200, 400, "broken connection"].includes(answer.status), `status ${answer.status}`);
      await until(1000, "the session is gone", () => session.gone());
    });
  }
  for (const packet of ["abc", "", "9", "x", "\u00e9"]) {
    test(`a broken packet closes a WebSocket: ${JSON.stringify(packet)}`, async () => {
      const session = await Frames.session(server.url);
      session.send(packet);
      const began = Date.now();
      await session.close();
      assert.ok(Date.now() - began < 200, "at once, not by a missing pong");
    });
  }
  test("a ping from the client is the wrong direction and ends the session", async () => {
    const session = await Frames.session(server.url);
    session.send("2");
    const began = Date.now();
    await session.close();
    assert.ok(Date.now() - began < 200, "at once, not by a missing pong");
  });
  test("an octet-stream is no payload of protocol 4", async () => {
    const session = await Polling.open(server.url);
    const answer = await session.post(Buffer.from([0, 1, 255, 52]), { "content-type": "application/octet-stream" });
    assert.equal(answer.status, 400);
    assert.equal(await session.gone(), true);
  });
});

describe("upgrade", () => {
  const start = async () => {
    const polling = await Polling.open(server.url);
    return { polling, frames: await Frames.open(polling.upgradeUrl) };
  };

  test("probe, pong, upgrade; the waiting poll is released, then messages go over WebSocket", async () => {
    const { polling, frames } = await start();
    const poll = polling.poll();
    frames.send("2probe");
    assert.equal(await frames.next(), "3probe");
    assert.equal((await poll).body, "6");
    frames.send("5");
    frames.send("4hello", Buffer.from([1]));
    assert.equal(await frames.nextMessage(), "4hello");
    assert.deepEqual(await frames.nextMessage(), Buffer.from([1]));
  });

  test("every poll made while probing is released", async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    assert.equal(await frames.next(), "3probe");
    for (let i = 0; i < 3; i++) {
      const began = Date.now();
      assert.match((await polling.packets()).join(), /^(6|2|2,6|6,2)$/);
      assert.ok(Date.now() - began < 200, "released within two rounds of the check");
    }
  });

  test("in the first 100 ms after the probe nothing comes but its answer", async () => {
    const { polling, frames } = await start();
    let released = false;
    const poll = polling.poll().then(({ body }) => (released = body));
    await sleep(20);
    frames.send("2probe");
    assert.equal(await frames.next(), "3probe");
    const answered = Date.now();
    await poll;
    assert.ok(Date.now() - answered >= 80, `released after ${Date.now() - answered} ms`);
    assert.equal(released, "6");
  });

  const left = "it drops the probe, for which a stock client has stopped to poll: it waits for its own ping timeout";
  better("a client that fails in the middle of its upgrade is told on the WebSocket", left, async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    assert.equal(await frames.next(), "3probe");
    await polling.post("no packet");
    await sleep(50);
    assert.equal(frames.ws.readyState, frames.ws.OPEN, "the client may be about to change to it");
    frames.send("5");
    const began = Date.now();
    await frames.close();
    assert.ok(Date.now() - began < 200, "at once, not by a missing pong");
  });
  better("a client that fails in the middle of its upgrade is told in its next poll", left, async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    assert.equal(await frames.next(), "3probe");
    await polling.post("no packet");
    assert.deepEqual(await polling.packets(), ["1"]);
    await frames.close();
    assert.equal(await polling.gone(), true);
  });

  test("what was queued for polling leaves over the WebSocket", async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    await frames.next();
    await polling.send("4first", "4second");
    frames.send("5");
    assert.equal(await frames.nextMessage(), "4first");
    assert.equal(await frames.nextMessage(), "4second");
  });

  test("after the upgrade polls get 400, and the session lives on", async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    await frames.next();
    frames.send("5", "4done");
    assert.equal(await frames.nextMessage(), "4done");
    assert.equal((await polling.poll()).status, 400);
    frames.send("4still here");
    assert.equal(await frames.nextMessage(), "4still here");
  });

  test("a second WebSocket of an upgraded session is closed, the first lives on", async () => {
    const { polling, frames } = await start();
    frames.send("2probe");
    await frames.next();
    frames.send("5", "4done");
    assert.equal(await frames.nextMessage(), "4done");
    const second = new Frames(polling.upgradeUrl);
    await second.close();
    frames.send("4still here");
    assert.equal(await frames.nextMessage(), "4still here");
  });

  test("a probe that fails leaves polling as it was, and another may follow", async () => {
    for (const wrong of ["4not a probe", "abc", "2"]) {
      const { polling, frames } = await start();
      frames.send(wrong);
      await frames.close();
      await polling.send("4still polling");
      assert.deepEqual((await polling.messages(1)).filter((packet) => packet !== "6"), ["4still polling"]);
      const again = await Frames.open(polling.upgradeUrl);
      again.send("2probe");
      assert.equal(await again.next(), "3probe");
    }
  });

  test("the heartbeat goes on after the upgrade", async () => {
    const { frames } = await start();
    frames.send("2probe");
    await frames.next();
    frames.send("5");
    for (let i = 0; i < 3; i++) {
      assert.equal(await frames.next(), "2");
      frames.send("3");
    }
    const silent = Date.now();
    assert.equal(await frames.next(), "2");
    await frames.close();
    assert.ok(Date.now() - silent < 900, "a silent client is closed after the upgrade too");
  });
});

describe("Socket.IO", () => {
  const session = (options) => Frames.session(server.url, { path: "/socket.io/", ...options });

  for (const [nsp, prefix] of [["/", ""], ["/custom", "/custom,"]]) {
    test(`CONNECT to ${nsp} is answered by a sid, then by the greeting`, async () => {
      for (const [payload, auth] of [["", "{}"], ['{"token":"123"}', '{"token":"123"}']]) {
        const frames = await session();
        frames.send(`40${prefix}${payload}`);
        const answer = await frames.next();
        assert.ok(answer.startsWith(`40${prefix}{`), answer);
        const { sid, ...rest } = JSON.parse(answer.slice(2 + prefix.length));
        assert.match(sid, /^[\w-]{16,}$/);
        assert.deepEqual(rest, {});
        assert.equal(await frames.next(), `42${prefix}["auth",${auth}]`);
      }
    });

    test(`events and acknowledgements of ${nsp}, byte by byte`, async () => {
      const frames = await session();
      frames.send(`40${prefix}`);
      await frames.nextMessage();
      await frames.nextMessage();
      frames.send(`42${prefix}["message",1,"2",{"3":[true]}]`);
      assert.equal(await frames.nextMessage(), `42${prefix}["message-back",1,"2",{"3":[true]}]`);
      frames.send(`42${prefix}456["message-with-ack",1,"2",{"3":[false]}]`);
      assert.equal(await frames.nextMessage(), `43${prefix}456[1,"2",{"3":[false]}]`);
      frames.send(`42${prefix}["emit-with-ack",1]`);
      const question = await frames.nextMessage();
      const id = /^42(?:\/custom,)?(\d+)\["emit-with-ack",1\]$/.exec(question)?.[1];
      assert.ok(id, question);
      frames.send(`43${prefix}${id}["x",2]`);
      assert.equal(await frames.nextMessage(), `42${prefix}["emit-with-ack","x",2]`);
    });

    test(`binary events and acknowledgements of ${nsp}, byte by byte`, async () => {
      const frames = await session();
      frames.send(`40${prefix}`);
      await frames.nextMessage();
      await frames.nextMessage();
      const [one, two] = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];
      const placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
      frames.send(`452-${prefix}["message",${placeholders}]`, one, two);
      assert.equal(await frames.nextMessage(), `452-${prefix}["message-back",${placeholders}]`);
      assert.deepEqual([await frames.nextMessage(), await frames.nextMessage()], [one, two]);
      frames.send(`452-${prefix}789["message-with-ack",${placeholders}]`, one, two);
      assert.equal(await frames.nextMessage(), `462-${prefix}789[${placeholders}]`);
      assert.deepEqual([await frames.nextMessage(), await frames.nextMessage()], [one, two]);
    });
  }

  test("an unknown namespace is refused, and the connection lives on", async () => {
    const frames = await session();
    frames.send("40/random,");
    assert.equal(await frames.nextMessage(), '44/random,{"message":"Invalid namespace"}');
    frames.send("40");
    assert.match(await frames.nextMessage(), /^40\{"sid":/);
  });

  test("two namespaces share a connection; leaving one leaves the other", async () => {
    const frames = await session();
    frames.send("40", "40/custom,");
    for (let i = 0; i < 4; i++) await frames.nextMessage();
    frames.send("41/custom,", '42["message","here"]');
    assert.equal(await frames.nextMessage(), '42["message-back","here"]');
  });

  test("over polling: CONNECT, events, binary", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40");
    const [connect, auth] = await polling.messages(2);
    assert.match(connect, /^40\{"sid":"[\w-]+"\}$/);
    assert.equal(auth, '42["auth",{}]');
    await polling.send('451-["message",{"_placeholder":true,"num":0}]', "bAQID");
    assert.deepEqual(await polling.messages(2), ['451-["message-back",{"_placeholder":true,"num":0}]', "bAQID"]);
  });

  test("a connection that joins nothing is closed after a second", async () => {
    const frames = await session();
    const began = Date.now();
    const pongs = setInterval(() => frames.send("3"), 100);
    await frames.close().finally(() => clearInterval(pongs));
    const waited = Date.now() - began;
    assert.ok(waited >= 900 && waited < 1400, `closed after ${waited} ms`);
  });

  for (const packet of ["4abc", "42{}", "42abc[\"message\"]", "4", "47", "42[]", "42[{}]", "42[\"message\"", "40[]", "43{}",
    "451-[\"message\",{\"_placeholder\":true,\"num\":9}]", "451[\"message\"]", "4511-[\"message\"]", "42[\"disconnect\"]"]) {
    test(`a broken packet ends the connection: ${packet}`, async () => {
      const frames = await session();
      frames.send("40");
      await frames.nextMessage();
      await frames.nextMessage();
      frames.send(packet);
      if (packet.includes('"num":9')) frames.send(Buffer.from([1]));
      const began = Date.now();
      await frames.close();
      assert.ok(Date.now() - began < 200, "at once, not by a missing pong");
    });
  }
  test("binary that nothing announced ends the connection", async () => {
    const frames = await Frames.joined(server.url);
    frames.send(Buffer.from([1, 2, 3]));
    const began = Date.now();
    await frames.close();
    assert.ok(Date.now() - began < 200, "at once, not by a missing pong");
  });
});
