// The client's side of tests/tests/tls.rs: https, wss and HTTP/2 on a server in the test's own process (URL), whose
// certificate is signed by CA (a PEM file).

import assert from "node:assert/strict";
import fs from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import tls from "node:tls";
import { afterEach, test } from "node:test";
import { client, connected, ways } from "./lib/client.mjs";
import { event, sleep, until, within } from "./lib/waiting.mjs";

const url = process.env.URL;
const ca = fs.readFileSync(process.env.CA);
const { hostname, port } = new URL(url);

const open = new Set();
afterEach(() => {
  for (const session of open) session.destroy();
  open.clear();
});

for (const [way, options] of Object.entries(ways)) {
  for (const version of [2, 3, 4]) {
    test(`socket.io-client ${version}, ${way}: text and binary over TLS, and the server knows`, async () => {
      const socket = client(url, { ca, ...options }, version);
      const who = event(socket, "who");
      await connected(socket);
      assert.deepEqual(await who, [["127.0.0.1", true]]);
      if (way === "upgrade") {
        const { engine } = socket.io;
        if (engine.transport.name !== "websocket") await event(engine, "upgrade");
      }
      const sent = ["text", Buffer.alloc(100_000, 7), { deep: Buffer.from([1, 2, 3]) }];
      const echo = event(socket, "echo");
      socket.emit("echo", sent);
      const [heard] = await echo;
      assert.equal(heard[0], "text");
      assert.deepEqual(Buffer.from(heard[1]), sent[1]);
      assert.deepEqual(Buffer.from(heard[2].deep), sent[2].deep);
      assert.equal(socket.io.engine.transport.name, way === "polling only" ? "polling" : "websocket");
    });
  }
}

test("a client that does not know the certificate is not connected", async () => {
  await assert.rejects(connected(client(url, { transports: ["websocket"] })));
});

test("the cookie is for TLS alone", async () => {
  const [answer] = await within(5000, "an answer", new Promise((resolve, reject) => {
    https.get(`${url}/socket.io/?EIO=4&transport=polling`, { ca }, (...args) => resolve(args)).on("error", reject);
  }));
  answer.resume();
  assert.match(answer.headers["set-cookie"][0], /^io=.+; Secure/);
});

test("HTTP/1.1 without ALPN, HTTP/2 with it, and nothing else", async () => {
  const agreed = (ALPNProtocols) =>
    new Promise((resolve, reject) => {
      const socket = tls.connect({ host: hostname, port, ca, ALPNProtocols }, () => {
        resolve(socket.alpnProtocol);
        socket.destroy();
      });
      socket.on("error", reject);
    });
  assert.equal(await agreed(undefined), false);
  assert.equal(await agreed(["http/1.1"]), "http/1.1");
  assert.equal(await agreed(["http/1.1", "h2"]), "h2");
  await assert.rejects(agreed(["spdy/3"]));
});

/** One connection with HTTP/2; its settings have come. */
async function connection(at = url) {
  const session = http2.connect(at, { ca });
  open.add(session);
  session.on("error", () => {});
  await event(session, "remoteSettings");
  return session;
}

/** One request; `{status, headers, body}`. */
function request(session, path, { method = "GET", body, headers = {} } = {}) {
  const answered = new Promise((resolve, reject) => {
    const stream = session.request({ ":method": method, ":path": path, ...headers });
    let head;
    let text = "";
    stream.setEncoding("utf8");
    stream.on("response", (headers) => (head = headers));
    stream.on("data", (part) => (text += part));
    stream.on("error", reject);
    stream.on("end", () => resolve({ status: head[":status"], headers: head, body: text }));
    stream.end(body);
  });
  return within(10_000, `an answer to ${method} ${path}`, answered);
}

async function polls(session, who) {
  const path = "/socket.io/?EIO=4&transport=polling";
  const handshake = await request(session, path);
  assert.equal(handshake.status, 200);
  const { sid } = JSON.parse(handshake.body.slice(1));
  const mine = `${path}&sid=${sid}`;
  assert.equal((await request(session, mine, { method: "POST", body: "40" })).body, "ok");
  assert.match((await request(session, mine)).body, new RegExp(`42\\["who",\\["127.0.0.1",${who}\\]\\]`));
  // A poll that waits, and beside it on the same connection what ends its wait.
  const poll = request(session, mine);
  await request(session, mine, { method: "POST", body: `42["echo","${"x".repeat(50_000)}"]` });
  assert.match((await poll).body, /^42\["echo","x{50000}"\]$/);
  assert.equal((await request(session, `${path}&sid=unknown`)).status, 400);
  assert.equal((await request(session, "/elsewhere")).status, 404);
}

test("a session polls over HTTP/2", async () => {
  await polls(await connection(), true);
});

test("many sessions poll over one connection", async () => {
  const session = await connection();
  await Promise.all(Array.from({ length: 20 }, () => polls(session, true)));
});

test("HTTP/2 without TLS by prior knowledge, where it is allowed, beside HTTP/1.1", async () => {
  await polls(await connection(process.env.PLAIN_URL), false);
  await connected(client(process.env.PLAIN_URL));
});

/** One masked frame of text, at most 125 bytes. */
function frame(text) {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** A WebSocket on a stream of HTTP/2 (RFC 8441). */
class StreamSocket {
  #heard = Buffer.alloc(0);

  constructor(session, { protocol = "websocket", version = "13", query = "" } = {}) {
    this.stream = session.request(
      {
        ":method": "CONNECT",
        ":protocol": protocol,
        ":scheme": "https",
        ":authority": `${hostname}:${port}`,
        ":path": `/socket.io/?EIO=4&transport=websocket${query}`,
        "sec-websocket-version": version,
      },
      { endStream: false },
    );
    this.stream.on("error", () => {});
    this.stream.on("data", (part) => (this.#heard = Buffer.concat([this.#heard, part])));
    this.response = event(this.stream, "response");
    this.ended = new Promise((resolve) => this.stream.once("end", resolve));
  }

  send(text) {
    this.stream.write(frame(text));
  }

  /** Waits until `text` has come, and forgets it with all before it. */
  async hears(text) {
    await until(5000, text, () => this.#heard.includes(text));
    this.#heard = this.#heard.subarray(this.#heard.indexOf(text) + text.length);
  }
}

test("a WebSocket over HTTP/2, beside another and a poll, outlives the time of an idle connection", async () => {
  const session = await connection();
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const [one, other] = [new StreamSocket(session), new StreamSocket(session)];
  for (const socket of [one, other]) {
    const [headers] = await socket.response;
    assert.equal(headers[":status"], 200);
    assert.equal(headers["sec-websocket-accept"], undefined);
    await socket.hears('0{"sid"');
    socket.send("40");
    await socket.hears('42["who",["127.0.0.1",true]]');
    socket.send('42["echo","over HTTP/2"]');
    await socket.hears('42["echo","over HTTP/2"]');
  }
  await polls(session, true);
  await sleep(Number(process.env.IDLE_MS) * 2);
  for (const socket of [one, other]) {
    socket.send('42["echo","later"]');
    await socket.hears('42["echo","later"]');
  }
  one.stream.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0])); // Close: this stream ends, the other does not.
  await within(5000, "the end of the stream", one.ended);
  other.send('42["echo","last"]');
  await other.hears('42["echo","last"]');
});

test("what is no WebSocket over HTTP/2 is refused", async () => {
  const session = await connection();
  for (const [options, status] of [
    [{ protocol: "other" }, 400],
    [{ version: "8" }, 400],
    [{ query: "&sid=unknown" }, 400],
  ]) {
    const [headers] = await new StreamSocket(session, options).response;
    assert.equal(headers[":status"], status, JSON.stringify(options));
  }
  await polls(session, true);
});

test("an HTTP/2 connection on which nothing happens is ended", async () => {
  const session = await connection();
  await polls(session, true);
  await event(session, "close", Number(process.env.IDLE_MS) + 5000);
});

test("a header list that is too long is refused", async () => {
  const session = await connection();
  const headers = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`x-${n}`, "y".repeat(1000)]));
  const outcome = await request(session, "/socket.io/?EIO=4&transport=polling", { headers }).then(
    (answer) => answer.status,
    () => "reset",
  );
  assert.ok([431, "reset"].includes(outcome), `${outcome}`);
});
