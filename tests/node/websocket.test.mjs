// WebSocket frames on the wire, RFC 6455: fragments, control frames, sizes, and everything a client must not send.
//
//     SERVER_CMD="node servers/conformance.mjs" node --test websocket.test.mjs

import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import { better } from "./lib/better.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { until } from "./lib/waiting.mjs";
import { frame, framesIn, header, rawWebSocket } from "./lib/websocket.mjs";

const server = serverUnderTest({ MODE: "ws" });
const target = "/engine.io/?EIO=4&transport=websocket";
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const maxPayload = 20_000_000;

/** An open session; `answer` waits for the frames that came after the open packet. */
async function session() {
  const raw = await rawWebSocket(server.url, target);
  await until(2000, "the open packet", () => raw.received().length > 50);
  const start = raw.received().length;
  const answers = () => framesIn(raw.received().subarray(start));
  return {
    ...raw,
    answers,
    answer: (count = 1) => until(5000, `${count} frames`, () => {
      const complete = answers();
      return complete.length >= count && complete.at(-1)[1].length >= 0 && complete;
    }),
  };
}

/** The close code with which the server ends the connection; undefined for an empty close frame or none. */
async function closeCode(raw) {
  await raw.ended();
  const close = raw.answers().find(([opcode]) => opcode === CLOSE);
  return close?.[1].length >= 2 ? close[1].readUInt16BE(0) : undefined;
}

describe("messages", () => {
  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000, 16 * 1024 * 1024]) {
    test(`a message of ${size} bytes comes back, as text and as binary`, async () => {
      const raw = await session();
      const [text, binary] = ["x".repeat(size), Buffer.alloc(size, 0xab)];
      raw.write(frame(TEXT, `4${text}`));
      raw.write(frame(BINARY, binary));
      const total = () => raw.answers().reduce((sum, [, payload]) => sum + payload.length, 0);
      await until(10_000, "both are back", () => raw.answers().length === 2 && total() === 2 * size + 1);
      assert.deepEqual(raw.answers()[0], [TEXT, Buffer.from(`4${text}`)]);
      assert.deepEqual(raw.answers()[1], [BINARY, binary]);
    });
  }

  test("a message in fragments, also with a character cut in two, is one message", async () => {
    const raw = await session();
    const bytes = Buffer.from("4é€🚀!");
    for (let cut = 0; cut <= bytes.length; cut++) {
      raw.write(frame(TEXT, bytes.subarray(0, cut), { fin: false }), frame(CONTINUATION, bytes.subarray(cut)));
    }
    raw.write(frame(TEXT, "4", { fin: false }), ...Array.from({ length: 20 }, () => frame(CONTINUATION, "y", { fin: false })), frame(CONTINUATION));
    const answers = await raw.answer(bytes.length + 2);
    assert.deepEqual(answers.slice(0, -1), Array.from({ length: bytes.length + 1 }, () => [TEXT, bytes]));
    assert.deepEqual(answers.at(-1), [TEXT, Buffer.from(`4${"y".repeat(20)}`)]);
  });

  test("bytes may come one by one, and frames many at once", async () => {
    const raw = await session();
    const bytes = Buffer.concat([frame(TEXT, "4one"), frame(BINARY, "two"), frame(TEXT, "4three")]);
    for (const byte of bytes) {
      raw.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    raw.write(...Array.from({ length: 500 }, (_, i) => frame(TEXT, `4${i}`)));
    const answers = await raw.answer(503);
    assert.deepEqual(answers.slice(0, 3).map(([, payload]) => payload.toString()), ["4one", "two", "4three"]);
    assert.deepEqual(answers.slice(3).map(([, payload]) => payload.toString()), Array.from({ length: 500 }, (_, i) => `4${i}`));
  });
});

describe("control frames", () => {
  test("a ping is answered by a pong with its data, also between fragments", async () => {
    const raw = await session();
    raw.write(frame(PING, "are you there"), frame(PING));
    raw.write(frame(TEXT, "4a", { fin: false }), frame(PING, "x".repeat(125)), frame(CONTINUATION, "b"));
    assert.deepEqual(await raw.answer(4), [
      [PONG, Buffer.from("are you there")], [PONG, Buffer.alloc(0)], [PONG, Buffer.from("x".repeat(125))], [TEXT, Buffer.from("4ab")],
    ]);
  });

  test("pongs nobody asked for are ignored", async () => {
    const raw = await session();
    raw.write(frame(PONG), frame(PONG, "unasked"), frame(TEXT, "4here"));
    assert.deepEqual(await raw.answer(), [[TEXT, Buffer.from("4here")]]);
  });

  test("a close frame is answered by one, and the connection ends", async () => {
    for (const payload of [Buffer.alloc(0), Buffer.from([3, 232]), Buffer.concat([Buffer.from([15, 160]), Buffer.from("own code")])]) {
      const raw = await session();
      raw.write(frame(CLOSE, payload));
      await raw.ended();
      assert.equal(raw.answers().at(-1)?.[0], CLOSE);
    }
  });
});

describe("what ends the connection", () => {
  const code = (n, reason = "") => Buffer.concat([Buffer.from([n >> 8, n & 255]), Buffer.from(reason)]);
  const faults = {
    1002: {
      "an unmasked frame": frame(TEXT, "4x", { masked: false }),
      "the first reserved bit": frame(TEXT, "4x", { rsv: 4 }),
      "the second reserved bit": frame(TEXT, "4x", { rsv: 2 }),
      "the third reserved bit": frame(BINARY, "4x", { rsv: 1 }),
      "a reserved data opcode": frame(3, "x"),
      "a reserved control opcode": frame(11, "x"),
      "a ping of 126 bytes": frame(PING, "x".repeat(126)),
      "a ping in fragments": frame(PING, "x", { fin: false }),
      "a close frame in fragments": frame(CLOSE, code(1000), { fin: false }),
      "a continuation of nothing": frame(CONTINUATION, "x"),
      "a new message inside another": Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(TEXT, "4b")]),
      "a close frame of one byte": frame(CLOSE, "x"),
      "the close code 1005": frame(CLOSE, code(1005)),
      "the close code 999": frame(CLOSE, code(999)),
      "the close code 2000": frame(CLOSE, code(2000)),
    },
    1007: {
      "text that is not UTF-8": frame(TEXT, Buffer.from([0x34, 0xff])),
      "text with a surrogate": frame(TEXT, Buffer.from([0x34, 0xed, 0xa0, 0x80])),
      "text with an overlong form": frame(TEXT, Buffer.from([0x34, 0xc0, 0xaf])),
      "text that ends inside a character": frame(TEXT, Buffer.from([0x34, 0xe2, 0x82])),
      "a fault in the second fragment": Buffer.concat([frame(TEXT, "4a", { fin: false }), frame(CONTINUATION, Buffer.from([0xff]))]),
      "a close reason that is not UTF-8": frame(CLOSE, Buffer.concat([code(1000), Buffer.from([0xff])])),
    },
    1009: {
      "a message one byte over the limit": frame(TEXT, "4".padEnd(maxPayload + 1, "x")),
      "the header alone of a message over the limit": header(0x82, maxPayload + 1),
      "the header alone of a terabyte": header(0x82, 2 ** 40),
      "fragments that are too large together": Buffer.concat([
        frame(BINARY, Buffer.alloc(maxPayload - 10), { fin: false }), frame(CONTINUATION, Buffer.alloc(11)),
      ]),
    },
  };
  for (const [expected, cases] of Object.entries(faults)) {
    for (const [name, bytes] of Object.entries(cases)) {
      test(`${name}: ${expected}`, async () => {
        const raw = await session();
        raw.write(bytes);
        const close = await closeCode(raw);
        // Which code is told is a courtesy, and the library tells none where Engine.IO closes first.
        if (close !== undefined || better.asserted) assert.equal(close, Number(expected));
      });
    }
  }

  test("a length with its top bit set: 1002, or 1009 for its size", async () => {
    const raw = await session();
    raw.write(Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert.ok([1002, 1009].includes(await closeCode(raw)));
  });

  better("a length that is not in its shortest form: 1002", "it takes them", async () => {
    for (const width of [2, 8]) {
      const raw = await session();
      raw.write(header(0x80 | TEXT, 2, true, width), Buffer.from([0, 0, 0, 0, 0x34, 0x78]));
      assert.equal(await closeCode(raw), 1002);
    }
  });

  better("text that can never become UTF-8 is refused before the rest of its frame comes: 1007", "it waits for all of it", async () => {
    const raw = await session();
    raw.write(frame(TEXT, Buffer.concat([Buffer.from([0x34, 0xff]), Buffer.alloc(1000, 0x78)])).subarray(0, 200));
    assert.equal(await closeCode(raw), 1007);
  });

  test("200,000 empty fragments do not keep the server busy", async () => {
    const raw = await session();
    const empty = frame(CONTINUATION, "", { fin: false });
    raw.write(frame(TEXT, "4", { fin: false }), Buffer.concat(Array.from({ length: 200_000 }, () => empty)));
    const other = await session();
    other.write(frame(TEXT, "4here"));
    assert.deepEqual(await other.answer(), [[TEXT, Buffer.from("4here")]]);
    if (better.asserted) await raw.ended();
  });
});

describe("the handshake", () => {
  const valid = {
    connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  /** The answer to an upgrade request with these headers: status and headers. */
  const upgrade = (changed) => new Promise((resolve, reject) => {
    const headers = Object.fromEntries(Object.entries({ ...valid, ...changed }).filter(([, value]) => value !== undefined));
    const outgoing = http.get(server.url + target, { headers, agent: false });
    const answered = (answer) => (resolve({ status: answer.statusCode, headers: answer.headers }), outgoing.destroy());
    outgoing.on("response", answered);
    outgoing.on("upgrade", answered);
    outgoing.on("error", reject);
  });

  test("the key of the RFC gives the answer of the RFC", async () => {
    const { status, headers } = await upgrade({});
    assert.equal(status, 101);
    assert.equal(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert.equal(headers["sec-websocket-extensions"], undefined);
  });

  test("upper and lower case, lists and spaces in the headers do not matter", async () => {
    assert.equal((await upgrade({ connection: "keep-alive, upgrade", upgrade: "WebSocket" })).status, 101);
  });

  test("extensions that are offered need not be taken", async () => {
    const { status, headers } = await upgrade({ "sec-websocket-extensions": "permessage-deflate; client_max_window_bits, x-unknown" });
    assert.equal(status, 101);
    assert.equal(headers["sec-websocket-extensions"], undefined);
  });

  for (const [name, changed] of Object.entries({
    "no key": { "sec-websocket-key": undefined },
    "a key that is none": { "sec-websocket-key": "abc" },
    "an old version": { "sec-websocket-version": "7" },
    "no version": { "sec-websocket-version": undefined },
    "another protocol to upgrade to": { upgrade: "h2c" },
  })) {
    test(`refused: ${name}`, async () => {
      const { status } = await upgrade(changed);
      assert.ok(status >= 400 && status < 500, `status ${status}`);
    });
  }
});
