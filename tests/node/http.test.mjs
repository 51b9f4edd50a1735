// HTTP as browsers, proxies and old clients use it: CORS, cookies, refusals, limits, JSONP, compression, keep-alive; and
// the Engine.IO echo with the reasons why sessions end.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test http.test.mjs

import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import Negotiator from "negotiator"; // What the reference server asks, too.
import { better } from "./lib/better.mjs";
import { ask, client, connected } from "./lib/client.mjs";
import { Polling, request } from "./lib/http.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { sleep, until } from "./lib/waiting.mjs";
import { Frames, frame, rawWebSocket, refusedUpgrade } from "./lib/websocket.mjs";

const server = serverUnderTest({ MODE: "clients" });
const handshake = (path = "/socket.io/", more = "") => `${server.url}${path}?EIO=4&transport=polling${more}`;

describe("CORS", () => {
  const origin = "http://allowed.test";

  test("the allowed origin, with credentials, on every answer", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    const answers = [
      await request(handshake(), { headers: { origin } }),
      await request(polling.url, { method: "POST", body: "40", headers: { origin } }),
      await request(polling.url, { headers: { origin } }),
      await request(handshake("/socket.io/", "&sid=unknown"), { headers: { origin } }),
    ];
    assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 400]);
    for (const { headers } of answers) {
      assert.equal(headers["access-control-allow-origin"], origin);
      assert.equal(headers["access-control-allow-credentials"], "true");
      assert.match(headers.vary ?? "", /origin/i);
    }
  });

  better("another origin is refused, over each transport and for a session that is open", "it lets everyone in", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    const headers = { origin: "http://evil.test" };
    for (const answer of [
      await request(handshake(), { headers }),
      await request(polling.url, { method: "POST", body: "40", headers }),
    ]) {
      assert.deepEqual([answer.status, answer.body], [403, '{"code":4,"message":"Forbidden"}']);
    }
    assert.equal(await refusedUpgrade(`${server.url}/socket.io/?EIO=4&transport=websocket`, { headers }), 403);
    assert.equal(await refusedUpgrade(polling.upgradeUrl.replace("ws", "http"), { headers }), 403);
    await polling.send("40");
  });

  test("another origin is not granted", async () => {
    for (const other of ["http://evil.test", "http://allowed.test.evil", "https://allowed.test", "null"]) {
      const { headers } = await request(handshake(), { headers: { origin: other } });
      assert.ok([undefined, origin].includes(headers["access-control-allow-origin"]), headers["access-control-allow-origin"]);
    }
  });

  test("a preflight is answered", async () => {
    const headers = { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type, x-custom" };
    const answer = await request(handshake(), { method: "OPTIONS", headers });
    assert.ok([200, 204].includes(answer.status), `status ${answer.status}`);
    assert.equal(answer.body, "");
    assert.equal(answer.headers["access-control-allow-origin"], origin);
    assert.equal(answer.headers["access-control-allow-credentials"], "true");
    assert.match(answer.headers["access-control-allow-methods"], /POST/);
    assert.match(answer.headers["access-control-allow-headers"], /content-type, ?x-custom/);
  });
});

describe("cookie and refusal", () => {
  test("the cookie comes with the handshake and never again", async () => {
    const first = await request(handshake());
    const { sid } = JSON.parse(first.body.slice(1));
    assert.deepEqual(first.headers["set-cookie"], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
    const post = await request(handshake("/socket.io/", `&sid=${sid}`), { method: "POST", body: "40" });
    const poll = await request(handshake("/socket.io/", `&sid=${sid}`));
    assert.deepEqual([post.headers["set-cookie"], poll.headers["set-cookie"]], [undefined, undefined]);
  });

  test("other servers on the port set none", async () => {
    assert.equal((await request(handshake("/msgpack/"))).headers["set-cookie"], undefined);
  });

  better("the cookie comes with a WebSocket handshake too", "only polling sets it", async () => {
    const frames = new Frames(`${server.url}/socket.io/?EIO=4&transport=websocket`.replace("http", "ws"));
    const headers = await new Promise((resolve) => frames.ws.once("upgrade", (answer) => resolve(answer.headers)));
    assert.match(headers["set-cookie"]?.[0] ?? "", /^io=[\w-]+; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  test("a handshake can be refused by the application, with its own message", async () => {
    const answer = await request(handshake(), { headers: { "x-deny": "1" } });
    assert.equal(answer.status, 403);
    const { code, message } = JSON.parse(answer.body);
    assert.deepEqual([Number(code), message], [4, "denied by allowRequest"]);
    const upgrade = `${server.url}/socket.io/?EIO=4&transport=websocket`;
    assert.ok([400, 403].includes(await refusedUpgrade(upgrade, { headers: { "x-deny": "1" } })));
  });

  test("only handshakes are asked about: a session goes on", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    const answer = await request(polling.url, { method: "POST", body: "40", headers: { "x-deny": "1" } });
    assert.deepEqual([answer.status, answer.body], [200, "ok"]);
  });
});

describe("requests that are refused", () => {
  test("are told to the application with code, message and context", async () => {
    const asker = await Frames.session(server.url);
    const refusals = async () => {
      asker.send("4refusals");
      return JSON.parse((await asker.nextMessage()).slice(1));
    };
    await refusals();
    const { sid } = await Polling.open(server.url);
    const url = `${server.url}/engine.io/`;
    for (const [method, query, code, context] of [
      ["GET", "EIO=4&transport=tftp", 0, { transport: "tftp" }],
      ["GET", "EIO=4", 0, {}],
      ["GET", "EIO=4&transport=polling&sid=nobody", 1, { sid: "nobody" }],
      ["PUT", "EIO=4&transport=polling", 2, { method: "PUT" }],
      ["OPTIONS", "EIO=4&transport=polling", 2, { method: "OPTIONS" }],
      ["GET", "EIO=4&transport=websocket", 3, { name: "TRANSPORT_HANDSHAKE_ERROR" }],
      [
        "GET", `EIO=4&transport=websocket&sid=${sid}`, 3,
        { name: "TRANSPORT_MISMATCH", transport: "websocket", previousTransport: "polling" },
      ],
      [
        "GET", `EIO=3&transport=polling&sid=${sid}`, 3,
        { name: "PROTOCOL_MISMATCH", protocol: 3, previousProtocol: 4 },
      ],
    ]) {
      const answer = await request(`${url}?${query}`, { method });
      const message = ["Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request"][code];
      assert.deepEqual([answer.status, JSON.parse(answer.body)], [400, { code, message }], `${method} ${query}`);
      assert.deepEqual(await refusals(), [{ code, message, context }], `${method} ${query}`);
    }
  });
});

describe("limits", () => {
  test("a body of exactly maxPayload bytes is taken, one byte more is not and ends the session", async () => {
    const exact = await Polling.open(server.url);
    const message = `4${"x".repeat(999_999)}`;
    await exact.send(message);
    assert.deepEqual(await exact.messages(1), [message]);

    const over = await Polling.open(server.url);
    const answer = await over.post(`${message}x`).catch(() => ({ status: "broken connection" }));
    assert.ok([413, "broken connection"].includes(answer.status), `status ${answer.status}`);
    if (better.asserted) assert.equal(await over.gone(), true);
  });

  test("a body whose length is not announced is measured as it comes", async () => {
    const polling = await Polling.open(server.url);
    const chunks = Array.from({ length: 20 }, () => "x".repeat(60_000));
    const answer = await request(polling.url, { method: "POST", chunks: ["4", ...chunks] }).catch(() => ({ status: "broken connection" }));
    assert.ok([413, "broken connection"].includes(answer.status), `status ${answer.status}`);
  });

  test("limits count bytes, not characters", async () => {
    const polling = await Polling.open(server.url);
    const answer = await polling.post(`4${"é".repeat(500_000)}`).catch(() => ({ status: "broken connection" }));
    assert.ok([413, "broken connection"].includes(answer.status), `status ${answer.status}`);
  });

  test("other methods on a session are refused and do it no harm", async () => {
    const polling = await Polling.open(server.url);
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      const { status } = await request(polling.url, { method });
      assert.ok([400, 405, 500].includes(status), `${method}: ${status}`);
    }
    await polling.send("4here");
    assert.deepEqual(await polling.messages(1), ["4here"]);
  });
});

describe("JSONP", () => {
  const unwrap = (body, digits) => {
    const match = /^(?:\/\*\*\/|;)?___eio\[(\d+)\]\((.*)\);?$/s.exec(body);
    assert.ok(match, body);
    assert.equal(match[1], digits);
    return JSON.parse(match[2]);
  };

  test("answers are calls with the payload as a string", async () => {
    const answer = await request(handshake("/engine.io/", "&j=7"));
    assert.match(answer.headers["content-type"], /javascript|text\/plain/);
    assert.match(unwrap(answer.body, "7"), /^0\{"sid":/);
  });

  test("the index is taken as digits only", async () => {
    assert.match(unwrap((await request(handshake("/engine.io/", "&j=1x2-alert(3)"))).body, "123"), /^0\{/);
  });

  test("messages both ways, with newlines, backslashes and line separators", async () => {
    const { sid } = JSON.parse(unwrap((await request(handshake("/engine.io/", "&j=0"))).body, "0").slice(1));
    const url = handshake("/engine.io/", `&j=0&sid=${sid}`);
    for (const [sent, text] of [
      ["plain é 🚀", "plain é 🚀"],
      ["two\\nlines", "two\nlines"],
      ["a backslash n: \\\\n", "a backslash n: \\n"],
      ["\u2028\u2029\"'<script>", "\u2028\u2029\"'<script>"],
    ]) {
      const body = new URLSearchParams({ d: `4${sent}` }).toString();
      const post = await request(url, { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body });
      assert.equal(post.status, 200);
      let payload;
      do {
        const { body: answer } = await request(url);
        assert.doesNotMatch(answer, /[\u2028\u2029]/, "they would end a line of a script");
        payload = unwrap(answer, "0");
      } while (payload === "2");
      assert.equal(payload.split("\u001e").at(-1), `4${text}`);
    }
  });
});

describe("compression and connections", () => {
  test("a large answer is compressed if and only if the client asks", async () => {
    const text = `4${"compress me ".repeat(1000)}`;
    for (const [asked, unpack] of [["gzip", zlib.gunzipSync], ["deflate", zlib.inflateSync], [undefined, (bytes) => bytes]]) {
      const polling = await Polling.open(server.url);
      await polling.send(text);
      const answer = await request(polling.url, { headers: asked ? { "accept-encoding": asked } : {} });
      const { "content-encoding": encoding } = answer.headers;
      if (!asked) assert.equal(encoding, undefined);
      if (encoding === undefined) assert.equal(answer.body, text);
      else assert.deepEqual([encoding, unpack(answer.bytes).toString()], [asked, text]);
    }
  });

  test("the client chooses by weight, then by its own order", async () => {
    const offered = (accept, forms) => new Negotiator({ headers: { "accept-encoding": accept } }).encodings(forms)[0];
    const polling = await Polling.open(server.url);
    const text = `4${"compress me ".repeat(1000)}`;
    for (const accept of [
      "gzip, deflate", "deflate, gzip", "gzip;q=0.2, deflate", "deflate;q=0.2, gzip;q=0.3", "*", "*;q=0.5, deflate;q=0.5",
      "gzip;q=0, *;q=0.1", "identity, *;q=0.5", "GZIP", "gzip;q=0, deflate;q=0", "zstd", "",
    ]) {
      await polling.send(text);
      const headers = { "accept-encoding": accept };
      const { headers: answer } = await request(polling.url, { headers });
      assert.equal(answer["content-encoding"], offered(accept, ["gzip", "deflate"]), `a poll with ${accept}`);
      const file = await request(`${server.url}/socket.io/socket.io.js`, { headers });
      assert.equal(file.headers["content-encoding"], offered(accept, ["br", "gzip", "deflate"]), `a file with ${accept}`);
    }
  });

  test("the client's files are the same in each form", async () => {
    const url = `${server.url}/socket.io/socket.io.msgpack.min.js`;
    const { bytes: plain, headers } = await request(url);
    assert.equal(headers.etag, '"4.8.4"');
    for (const [accept, unpack] of [["gzip", zlib.gunzipSync], ["deflate", zlib.inflateSync], ["br", zlib.brotliDecompressSync]]) {
      const { bytes, headers } = await request(url, { headers: { "accept-encoding": accept } });
      assert.equal(headers["content-encoding"], accept);
      assert.ok(unpack(bytes).equals(plain), accept);
    }
    const { status, bytes } = await request(url, { headers: { "if-none-match": 'W/"4.8.4"' } });
    assert.deepEqual([status, bytes.length], [304, 0]);
  });

  better("polls are compressed as br, too", "its polls know gzip and deflate alone", async () => {
    const polling = await Polling.open(server.url);
    const text = `4${"compress me ".repeat(1000)}`;
    await polling.send(text);
    const { bytes, headers } = await request(polling.url, { headers: { "accept-encoding": "br, gzip" } });
    assert.deepEqual([headers["content-encoding"], zlib.brotliDecompressSync(bytes).toString()], ["br", text]);
  });

  test("a small answer is not compressed", async () => {
    const answer = await request(handshake(), { headers: { "accept-encoding": "gzip" } });
    assert.equal(answer.headers["content-encoding"], undefined);
  });

  test("many requests go over one connection", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set();
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve, reject) => {
        const outgoing = http.get(handshake(), { agent }, (incoming) => incoming.resume().on("end", resolve));
        outgoing.on("socket", (socket) => {
          if (socket.localPort) ports.add(socket.localPort);
          else socket.once("connect", () => ports.add(socket.localPort));
        });
        outgoing.on("error", reject);
      });
    }
    agent.destroy();
    assert.equal(ports.size, 1);
  });

  test("answers of the engine are never cached", async () => {
    assert.match((await request(handshake())).headers["cache-control"], /no-store/);
  });
});

describe("the engine's echo", () => {
  const reason = async (sid) => {
    const asker = await Frames.session(server.url);
    return until(5000, `the server knows why ${sid} ended`, async () => {
      asker.send(`4reason-of ${sid}`);
      const answer = await asker.nextMessage();
      return answer !== "4reason none" && answer.slice("4reason ".length);
    });
  };

  test("tells its session, transport and protocol", async () => {
    const frames = await Frames.session(server.url);
    frames.send("4who");
    const expected = { id: frames.handshake.sid, transport: "websocket", eio: 4 };
    assert.deepEqual(JSON.parse((await frames.nextMessage()).slice(1)), expected);
    const polling = await Polling.open(server.url);
    await polling.send("4who");
    const [answer] = await polling.messages(1);
    assert.deepEqual(JSON.parse(answer.slice(1)), { id: polling.sid, transport: "polling", eio: 4 });
  });

  test("a server that closes: 1 over polling, the end of the WebSocket", async () => {
    const polling = await Polling.open(server.url);
    const poll = polling.poll();
    await sleep(50);
    await polling.send("4close-me");
    assert.equal((await poll).body, "1");
    assert.equal(await polling.gone(), true);
    assert.equal(await reason(polling.sid), "forced close");
    const frames = await Frames.session(server.url);
    frames.send("4close-me");
    await frames.close();
    assert.equal(await reason(frames.handshake.sid), "forced close");
  });

  const ends = {
    "packet 1 over polling": ["transport close", async () => {
      const polling = await Polling.open(server.url);
      await polling.send("1");
      return polling.sid;
    }],
    "a closed WebSocket": ["transport close", async () => {
      const frames = await Frames.session(server.url);
      frames.ws.close();
      return frames.handshake.sid;
    }],
    "a broken TCP connection": ["transport close", async () => {
      const frames = await Frames.session(server.url);
      frames.ws.terminate();
      return frames.handshake.sid;
    }],
    "an unknown packet over WebSocket": ["parse error", async () => {
      const frames = await Frames.session(server.url);
      frames.send("abc");
      return frames.handshake.sid;
    }],
    "an unknown packet over polling": ["parse error", async () => {
      const polling = await Polling.open(server.url);
      await polling.post("abc");
      return polling.sid;
    }],
    "a message over the limit": ["transport error", async () => {
      const frames = await Frames.session(server.url);
      frames.send(`4${"x".repeat(1_000_000)}`);
      return frames.handshake.sid;
    }],
    "two polls at once": ["transport error", async () => {
      const polling = await Polling.open(server.url);
      await Promise.all([polling.poll(), polling.poll()]);
      return polling.sid;
    }],
    "no pong": ["ping timeout", async () => (await Frames.session(server.url)).handshake.sid],
    "no poll": ["ping timeout", async () => (await Polling.open(server.url)).sid],
  };
  for (const [name, [expected, end]] of Object.entries(ends)) {
    test(`${name}: ${expected}`, async () => assert.equal(await reason(await end()), expected));
  }

  test("packet 1 over WebSocket: the session ends", async () => {
    const frames = await Frames.session(server.url);
    frames.send("1");
    assert.match(await reason(frames.handshake.sid), /^(transport close|ping timeout)$/);
  });
});

describe("reasons of sockets for what only a bare client can do", () => {
  const reason = async (id) => {
    const witness = await connected(client(`${server.url}/`, { transports: ["websocket"] }));
    return until(5000, `the server knows why ${id} ended`, async () => (await ask(witness, "reason-of", id))[0]?.reason);
  };
  const join = () => Frames.joined(server.url, { auth: {} });

  test("no pong: ping timeout", async () => assert.equal(await reason((await join()).id), "ping timeout"));

  test("an undecodable Socket.IO packet: forced close", async () => {
    const frames = await join();
    frames.send("4abc");
    assert.equal(await reason(frames.id), "forced close");
  });

  test("an undecodable Engine.IO packet: parse error", async () => {
    const frames = await join();
    frames.send("abc");
    assert.equal(await reason(frames.id), "parse error");
  });

  test("a broken TCP connection in the middle of a frame: transport close or error", async () => {
    const raw = await rawWebSocket(server.url, "/socket.io/?EIO=4&transport=websocket");
    raw.write(frame(1, "40"));
    const id = await until(2000, "CONNECT is acknowledged", () => /40\{"sid":"([^"]+)"/.exec(raw.received().toString("latin1"))?.[1]);
    raw.write(frame(1, `42["message","${"x".repeat(200)}"]`).subarray(0, 100));
    await sleep(50);
    raw.socket.destroy();
    assert.match(await reason(id), /^transport (close|error)$/);
  });
});

describe("volatile", () => {
  const joined = async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40");
    await polling.messages(2);
    return polling;
  };

  test("a volatile packet is dropped when no poll waits, what follows is not", async () => {
    const polling = await joined();
    await polling.send('42["volatile-then","perhaps","surely"]');
    assert.deepEqual(await polling.messages(1), ['42["surely"]']);
  });

  test("a volatile packet reaches a waiting poll", async () => {
    const polling = await joined();
    let answered = false;
    const poll = polling.messages(1).finally(() => (answered = true));
    // One that comes before the poll does is dropped.
    while (!answered) {
      await polling.send('42["volatile","perhaps",1]');
      await sleep(20);
    }
    assert.deepEqual(await poll, ['42["perhaps",1]']);
  });
});
