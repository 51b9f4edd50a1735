// permessage-deflate (RFC 7692): what is agreed on, what is compressed in either direction, and what ends the connection.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test deflate.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { better } from "./lib/better.mjs";
import { ask, client, connected, upgraded, ways } from "./lib/client.mjs";
import { Polling } from "./lib/http.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { until } from "./lib/waiting.mjs";
import { frame, Frames, framesIn, framesWithBits, rawWebSocket } from "./lib/websocket.mjs";

const server = serverUnderTest({ MODE: "clients", DEFLATE: "1", PING_INTERVAL: "25000" });
const [CONTINUATION, TEXT, BINARY, CLOSE, PING] = [0, 1, 2, 8, 9];
const [FIN, COMPRESSED] = [0x80, 0x40];
const target = "/engine.io/?EIO=4&transport=websocket";
const text = "Größe, 大きさ, 😀 ".repeat(400);
const binary = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i % 251));

const offering = (offer) => ({ "Sec-WebSocket-Extensions": offer });
const answered = (head) => /^sec-websocket-extensions: (.*)$/im.exec(head)?.[1].trim();

/** The compressed form of a message, without its tail. */
const deflated = (message) => zlib.deflateRawSync(message, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);
const inflated = (payload) => zlib.inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 255, 255])]), { finishFlush: zlib.constants.Z_SYNC_FLUSH });

/** An open session that has agreed on compression; `answer` waits for the frames that came after the open packet. */
async function session(offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover") {
  const raw = await rawWebSocket(server.url, target, offering(offer));
  await until(2000, "the open packet", () => raw.received().length > 50);
  const start = raw.received().length;
  const answers = () => framesWithBits(raw.received().subarray(start));
  return {
    ...raw,
    answer: (count = 1) => until(5000, `${count} frames`, () => answers().length >= count && answers()),
    closeCode: async () => {
      await raw.ended();
      return framesIn(raw.received().subarray(start)).find(([opcode]) => opcode === CLOSE)?.[1].readUInt16BE(0);
    },
  };
}

describe("what is agreed on", () => {
  const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  for (const [offer, answer] of [
    ["permessage-deflate", both],
    ["permessage-deflate; client_max_window_bits", both], // Chromium, Firefox, `ws`
    ["x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=12", both],
    ["permessage-deflate; server_max_window_bits=10", `${both}; server_max_window_bits=10`],
    ["permessage-deflate; server_max_window_bits=15", `${both}; server_max_window_bits=15`],
    ["permessage-deflate; unknown, permessage-deflate", both],
    ["permessage-deflate; unknown", undefined],
    ["permessage-deflate; server_max_window_bits=7", undefined],
    ["permessage-deflate; client_no_context_takeover; client_no_context_takeover", undefined],
    ["permessage-deflate;", undefined],
    ["permessage-deflate, ;", undefined],
    ["x-webkit-deflate-frame", undefined],
  ]) {
    better(`${offer} -> ${answer}`, "keeps a context, and refuses the request where we go on without", async () => {
      assert.equal(answered((await rawWebSocket(server.url, target, offering(offer))).head), answer);
      const { sid } = await Polling.open(server.url);
      assert.equal(answered((await rawWebSocket(server.url, `${target}&sid=${sid}`, offering(offer))).head), answer);
    });
  }

  test("nobody is sent what they did not offer to read", async () => {
    const frames = await Frames.session(server.url, { perMessageDeflate: false });
    assert.equal(frames.ws.extensions, "");
    frames.send(`4${text}`, binary);
    assert.deepEqual([await frames.next(), await frames.next()], [`4${text}`, binary]);
  });
});

describe("stock clients", () => {
  /** A connected client, and what its WebSocket receives from now on: the first byte of each frame. */
  async function open(version, way, options = {}) {
    const socket = await connected(client(server.url, { ...ways[way], ...options }, version));
    if (way === "upgrade") await upgraded(socket);
    await ask(socket, "message-with-ack", "settled");
    const { ws } = socket.io.engine.transport;
    const received = [];
    ws._socket.on("data", (bytes) => received.push(bytes));
    const sent = [];
    const { write } = ws._socket;
    ws._socket.write = (bytes, ...rest) => (sent.push(Buffer.from(bytes)), write.call(ws._socket, bytes, ...rest));
    const first = (list) => framesWithBits(Buffer.concat(list)).map(([byte]) => byte).filter((byte) => byte !== (FIN | CONTINUATION));
    return { socket, received: () => first(received), sent: () => first(sent) };
  }

  for (const version of [4, 3, 2]) {
    for (const way of ["websocket only", "upgrade"]) {
      test(`version ${version}, ${way}: long messages are compressed in both directions, short ones are not`, async () => {
        const { socket, received, sent } = await open(version, way);
        socket.emit("message", "short");
        assert.deepEqual(await socket.heard.next("message-back"), ["short"]);
        socket.emit("message", text);
        assert.deepEqual(await socket.heard.next("message-back"), [text]);
        socket.emit("message", text, binary, Buffer.from("few"));
        const [first, second, third] = await socket.heard.next("message-back");
        assert.equal(first, text);
        assert.deepEqual([Buffer.from(second), Buffer.from(third)], [binary, Buffer.from("few")]);
        const expected = [TEXT, TEXT | COMPRESSED, TEXT | COMPRESSED, BINARY | COMPRESSED, BINARY].map((bits) => bits | FIN);
        // With a context kept, `ws` compresses short messages, too.
        if (better.asserted) assert.deepEqual([received(), sent()], [expected, expected]);
        else assert.deepEqual(received().slice(1, 4), expected.slice(1, 4));
      });
    }
  }

  better("compress(false) is kept: to one socket, and to a room of clients of all kinds", "its transport does not pass the flag on", async () => {
    const kinds = await Promise.all([open(4, "websocket only"), open(4, "upgrade"), open(2, "websocket only")]);
    for (const { socket } of kinds) await ask(socket, "join", "mixed");
    const [{ socket }] = kinds;
    socket.emit("message-uncompressed", text, binary);
    socket.emit("in-room-uncompressed", "mixed", "plain", text, binary);
    socket.emit("in-room", "mixed", "either", text, binary);
    for (const { socket } of kinds) {
      for (const event of ["plain", "either"]) {
        const [first, second] = await socket.heard.next(event);
        assert.deepEqual([first, Buffer.from(second)], [text, binary]);
      }
    }
    const [plain, either] = [[TEXT, BINARY], [TEXT | COMPRESSED, BINARY | COMPRESSED]].map((pair) => pair.map((bits) => bits | FIN));
    assert.deepEqual(kinds[0].received().slice(-6), [...plain, ...plain, ...either]);
    for (const { received } of kinds.slice(1)) assert.deepEqual(received().slice(-4), [...plain, ...either]);
  });

  test("a room of clients that read it and clients that do not hears the same", async () => {
    const sockets = await Promise.all([
      client(server.url, ways["websocket only"]),
      client(server.url, { ...ways["websocket only"], perMessageDeflate: false }),
      client(server.url, ways["polling only"]),
      client(server.url, ways["websocket only"], 3),
      client(server.url, ways["websocket only"], 2),
      client(server.url, ways["polling only"], 2),
    ].map(connected));
    for (const socket of sockets) await ask(socket, "join", "both");
    for (let i = 0; i < 20; i++) sockets[0].emit("in-room", "both", "heard", i, text, binary);
    for (const socket of sockets) {
      for (let i = 0; i < 20; i++) {
        const [n, heard, bytes] = await socket.heard.next("heard");
        assert.deepEqual([n, heard, Buffer.from(bytes)], [i, text, binary]);
      }
    }
  });

  test("a client with a small window is sent what it has room for", async () => {
    const frames = await Frames.session(server.url, { perMessageDeflate: { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 9 } });
    assert.equal(frames.ws._extensions["permessage-deflate"].params.server_max_window_bits, 10);
    for (const message of [text, binary, "short"]) {
      frames.send(typeof message === "string" ? `4${message}` : message);
      const answer = await frames.nextMessage();
      assert.deepEqual(answer, typeof message === "string" ? `4${message}` : message);
    }
  });
});

describe("what a client sends", () => {
  test("each message may be compressed or not, in any number of frames, with pings between them", async () => {
    const raw = await session();
    const message = deflated(`4${text}`);
    raw.write(frame(TEXT, message, { rsv: 4 }), frame(TEXT, "4plain"), frame(BINARY, deflated(binary), { rsv: 4 }));
    raw.write(frame(TEXT, "", { rsv: 4, fin: false }), frame(PING), ...[...message].map((_, i) => frame(CONTINUATION, message.subarray(i, i + 1), { fin: false })));
    raw.write(frame(CONTINUATION));
    const frames = await raw.answer(5);
    assert.deepEqual(frames.map(([first]) => first & 0x0f), [TEXT, TEXT, BINARY, 10, TEXT]);
    const payloads = frames.map(([first, payload]) => (first & COMPRESSED ? inflated(payload) : payload));
    assert.deepEqual(payloads.map(String), [`4${text}`, "4plain", binary.toString(), "", `4${text}`]);
  });

  for (const [what, code, ...frames] of [
    ["data that is not deflate", 1007, frame(TEXT, "4hello", { rsv: 4 })],
    ["text that is not UTF-8 once it is inflated", 1007, frame(TEXT, deflated(Buffer.from([0x34, 0xff, 0xfe])), { rsv: 4 })],
    ["a compressed ping", 1002, frame(PING, deflated("x"), { rsv: 4 })],
    ["a continuation that says it is compressed", 1002, frame(TEXT, "4x", { fin: false }), frame(CONTINUATION, "y", { rsv: 4 })],
    ["another reserved bit", 1002, frame(TEXT, deflated("4x"), { rsv: 6 })],
  ]) {
    test(`${what} ends the connection with ${code}`, async () => {
      const raw = await session();
      raw.write(...frames);
      assert.equal(await raw.closeCode(), code);
    });
  }

  test("a message that refers to the one before it is refused, as it was agreed", { skip: !better.asserted && "the reference keeps a context" }, async () => {
    const deflate = zlib.createDeflateRaw();
    const parts = [];
    deflate.on("data", (part) => parts.push(part));
    const next = (message) => new Promise((resolve) => {
      deflate.write(message);
      deflate.flush(zlib.constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(parts.splice(0)).subarray(0, -4)));
    });
    const raw = await session();
    raw.write(frame(TEXT, await next(`4${text}`), { rsv: 4 }), frame(TEXT, await next(`4${text}`), { rsv: 4 }));
    assert.equal(await raw.closeCode(), 1007);
  });

  test("a message that becomes a gigabyte is refused at a megabyte", async () => {
    const piece = zlib.deflateRawSync(Buffer.alloc(17 << 20), { level: 9, finishFlush: zlib.constants.Z_FULL_FLUSH });
    const bomb = Buffer.concat([...Array.from({ length: 55 }, () => piece), Buffer.from([0])]);
    assert.ok(bomb.length < 1e6 && 55 * (17 << 20) > 9e8);
    const before = server.program.memory();
    for (let i = 0; i < 6; i++) {
      const raw = await session();
      if (i % 2) raw.write(frame(BINARY, bomb, { rsv: 4 }));
      else raw.write(frame(TEXT, bomb.subarray(0, 5000), { rsv: 4, fin: false }), frame(CONTINUATION, bomb.subarray(5000)));
      assert.equal(await raw.closeCode(), 1009);
    }
    const grown = server.program.memory() - before;
    if (better.asserted) assert.ok(grown < 20e6, `memory has grown by ${grown}`);
  });
});
