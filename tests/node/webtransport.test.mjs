// WebTransport with a real browser: Chromium and the stock client, socket.io-client 4.8.4.
//
// What no browser does is tested in socketio-server/tests/webtransport.rs. The reference server needs a native module
// for WebTransport, so that this suite runs on ours alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browserUnderTest } from "./lib/browser.mjs";
import { ask, client, connected } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { until } from "./lib/waiting.mjs";

const server = serverUnderTest({ MODE: "webtransport" });
const browser = browserUnderTest();
const only = { transports: ["webtransport"] };

/** A client that tells what the server knows. */
const witness = async () => connected(client(server.url, { transports: ["websocket"] }));

/** A page whose clients accept the server's certificate. */
async function open(options) {
  const [hash] = await ask(await witness(), "certificate");
  return browser.client(server.url, { certificate: [...hash], ...options });
}

/** How the server tells the end of the socket `id`. */
async function toldByServer(id) {
  const socket = await witness();
  return until(5000, `the server knows why ${id} ended`, async () => (await ask(socket, "reason-of", id))[0]?.reason);
}

test("a session over WebTransport from the start", async () => {
  const page = await open(only);
  const [who] = await page.evaluate(async () => {
    const socket = await connect({ auth: { token: "a" } });
    return ask(socket, "whoami");
  });
  assert.equal(who.transport, "webtransport");
  assert.deepEqual([who.secure, who.url, who.auth], [true, "/socket.io/", { token: "a" }]);
  assert.deepEqual(page.errors, []);
});

for (const transports of [["polling", "webtransport"], ["polling", "websocket", "webtransport"]]) {
  test(`${transports.join(", ")}: the client changes to WebTransport, and loses nothing`, async () => {
    // The stock client opens a WebSocket 200 ms after it has tried WebTransport, and takes what is there first.
    let said = await change(transports);
    for (let tries = 1; said.transport === "websocket" && tries < 5; tries++) said = await change(transports);
    assert.deepEqual([said.first, said.transport, said.id], ["polling", "webtransport", true]);
    assert.ok(said.sent > 0);
    assert.deepEqual(said.heard, Array.from({ length: said.sent }, (_, n) => n));
  });
}

/** What was said and heard while a client changed from polling to another of the transports. */
async function change(transports) {
  const page = await open({ transports });
  return page.evaluate(async () => {
    const heard = [];
    let sent = 0;
    let timer;
    // Begun before it is connected: the change may be over when that is known.
    const socket = await connect({}, (socket) => {
      socket.on("message-back", (n) => heard.push(n));
      timer = setInterval(() => socket.emit("message", sent++), 2);
    });
    const first = socket.firstTransport;
    await upgraded(socket, "webtransport", "websocket");
    clearInterval(timer);
    const [who] = await ask(socket, "whoami");
    return { first, transport: who.transport, id: who.id === socket.id, heard, sent };
  });
}

test("text, and binary inside and beside it, both ways, as events and acknowledgements", async () => {
  const page = await open(only);
  const told = await page.evaluate(async () => {
    const socket = await connect();
    const args = ["é🚀", { file: new Uint8Array([0, 255, 7]), n: 1.5 }, new Uint8Array(300).fill(3).buffer, [null, true]];
    const same = (given) => JSON.stringify(plain(given)) === JSON.stringify(plain(args));
    const plain = (value) => {
      if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { bytes: [...new Uint8Array(value.buffer ?? value)] };
      if (Array.isArray(value)) return value.map(plain);
      return value && typeof value === "object"
        ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]))
        : value;
    };
    const back = next(socket, "message-back");
    socket.emit("message", ...args);
    const answer = await ask(socket, "message-with-ack", ...args);
    const question = new Promise((resolve) => socket.once("emit-with-ack", (...given) => {
      const reply = given.pop();
      reply(...given);
      resolve(given);
    }));
    socket.emit("emit-with-ack", ...args);
    const asked = await question;
    const answered = await next(socket, "emit-with-ack");
    const [described] = await ask(socket, "describe", new Uint8Array(0));
    return { event: same(await back), ack: same(answer), asked: same(asked), answered: same(answered), described };
  });
  assert.deepEqual(told, { event: true, ack: true, asked: true, answered: true, described: { $bin: "" } });
});

test("large messages, one after the other, stay whole and in order", async () => {
  const page = await open(only);
  const sizes = [125, 126, 65_535, 65_536, 400_000, 900_000];
  const got = await page.evaluate(async (sizes) => {
    const socket = await connect();
    const texts = sizes.map((size) => "é".repeat(size / 2));
    const answers = await Promise.all(texts.map((text) => ask(socket, "message-with-ack", text)));
    const binaries = await Promise.all(
      sizes.map((size) => ask(socket, "message-with-ack", new Uint8Array(size).fill(size % 251))),
    );
    return sizes.map((size, i) => {
      const bytes = new Uint8Array(binaries[i][0]);
      return answers[i][0] === texts[i] && bytes.length === size && bytes.every((byte) => byte === size % 251);
    });
  }, sizes);
  assert.deepEqual(got, sizes.map(() => true));
});

test("a message over the limit ends the session", async () => {
  const page = await open(only);
  const [id, reason] = await page.evaluate(async () => {
    const socket = await connect();
    const { id } = socket;
    const gone = next(socket, "disconnect");
    socket.emit("message", "x".repeat(1_000_001));
    return [id, (await gone)[0]];
  });
  assert.match(reason, /^transport (close|error)$/);
  assert.equal(await toldByServer(id), "parse error");
});

test("many small packets in a row", async () => {
  const page = await open(only);
  const heard = await page.evaluate(async () => {
    const socket = await connect();
    const heard = [];
    socket.on("burst", (n) => heard.push(n));
    socket.emit("burst", 2000);
    await soon("all of the burst", (resolve) => socket.on("burst", (n) => n === 1999 && resolve()));
    return heard;
  });
  assert.deepEqual(heard, Array.from({ length: 2000 }, (_, n) => n));
});

test("a session lives through heartbeats", async () => {
  const page = await open(only);
  const pings = await page.evaluate(async () => {
    const socket = await connect();
    let pings = 0;
    socket.io.on("ping", () => pings++);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return socket.connected ? pings : -1;
  });
  assert.ok(pings >= 2, `${pings} pings`);
});

test("the server disconnects a socket, after its last words", async () => {
  const page = await open(only);
  const told = await page.evaluate(async () => {
    const socket = await connect();
    const words = next(socket, "last-words");
    const gone = next(socket, "disconnect");
    socket.emit("emit-and-disconnect");
    return [socket.id, await words, (await gone)[0]];
  });
  assert.deepEqual(told.slice(1), [["bye"], "io server disconnect"]);
  assert.equal(await toldByServer(told[0]), "server namespace disconnect");
});

for (const [event, told] of [["disconnect-me", "server namespace disconnect"], ["close-transport", "forced close"]]) {
  test(`the server ends the session (${event})`, async () => {
    const page = await open(only);
    const [id, took] = await page.evaluate(async (event) => {
      const socket = await connect();
      const { id } = socket;
      const { engine } = socket.io;
      const start = performance.now();
      const closed = soon("the engine closes", (resolve) => engine.once("close", resolve));
      socket.emit(event, true);
      await closed;
      return [id, performance.now() - start];
    }, event);
    assert.ok(took < 1500, `the client knows at once, not after ${took} ms`);
    assert.equal(await toldByServer(id), told);
  });
}

test("the server knows when a client, or its page, goes", async () => {
  const page = await open(only);
  const [left, stays] = await page.evaluate(async () => {
    const [left, stays] = await Promise.all([connect(), connect()]);
    const { id } = left;
    left.io.engine.close();
    return [id, stays.id];
  });
  assert.equal(await toldByServer(left), "transport close");
  await page.close();
  assert.equal(await toldByServer(stays), "transport close");
});

test("who asks at another path, or for another's session, is refused", async () => {
  const page = await open(only);
  const refused = await page.evaluate(async () => {
    const socket = connect({ path: "/other/" }).then(() => "connected", (error) => error.message);
    const session = async (path) => {
      const session = new WebTransport(`https://${location.host}${path}`, webtransportOptions);
      session.closed.catch(() => {});
      return session.ready.then(() => "open", () => "refused");
    };
    const query = "EIO=4&transport=webtransport";
    const paths = ["/", `/other/?${query}`, `/socket.io/?${query}&sid=guessed`, "/socket.io/?EIO=3&transport=webtransport"];
    return [await socket, ...(await Promise.all(paths.map(session))), await session(`/socket.io/?${query}`)];
  });
  assert.equal(refused.shift(), "refused: websocket error".replace("websocket", "webtransport"));
  assert.deepEqual(refused, ["refused", "refused", "refused", "refused", "open"]);
});
