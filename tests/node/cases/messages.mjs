// What every client can say and hear on every transport: texts, binary, nesting, acknowledgements, order, sizes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../lib/client.mjs";

const bytes = (n) => Buffer.from(Array.from({ length: n }, (_, i) => i % 256));

/** Argument lists that must come back as they went. */
const ARGUMENTS = {
  "no argument": [],
  texts: ["", "hello", "é", "ключ", "日本語", "🚀 and 👩‍👩‍👧"],
  "characters that framing uses": ["\u001e", "a\u001eb", "\u0000", '"', "\\", "\n\r\t", "\u2028\u2029", "b64", "4", "51-"],
  numbers: [0, -1, 1.5, -0.25, 1e-7, 2 ** 53 - 1, -(2 ** 53 - 1)],
  "the other values": [true, false, null],
  lists: [[], [[]], [1, [2, [3, ["deep"]]]], ["a", null, true]],
  objects: [{}, { a: { b: { c: [1, { d: null }] } } }, { "": 1, "ключ 🚀": "v", "with space": [] }],
  "what looks like a placeholder": [{ _placeholder: true, num: 0 }],
  "one binary": [bytes(5)],
  "empty binary": [bytes(0), "next"],
  "binary beside text": ["a", bytes(3), { b: 1 }, bytes(300)],
  "binary inside": [{ file: bytes(4), list: [bytes(1), "x", { deep: [bytes(2)] }] }, [bytes(6)]],
  "ten binaries": Array.from({ length: 10 }, (_, i) => bytes(i)),
};

/** Registers the cases; `open(nsp?)` gives a connected client, whose parser may have no numbers beyond 64 bits. */
export function messageCases(open, { largeNumbers = true } = {}) {
  if (largeNumbers) {
    test("numbers beyond 64 bits", async () => {
      assert.deepEqual(await ask(await open(), "message-with-ack", 1e21, -1e300, 2 ** 64), [1e21, -1e300, 2 ** 64]);
    });
  }
  for (const [name, args] of Object.entries(ARGUMENTS)) {
    test(`${name}: back as an event, as an acknowledgement, and answered by the client`, async () => {
      const socket = await open();
      socket.emit("message", ...args);
      assert.deepEqual(await socket.heard.next("message-back"), args);
      assert.deepEqual(await ask(socket, "message-with-ack", ...args), args);
      socket.once("emit-with-ack", (...given) => given.pop()(...given));
      socket.emit("emit-with-ack", ...args);
      assert.deepEqual(await socket.heard.next("emit-with-ack"), args, "the server's question");
      assert.deepEqual(await socket.heard.next("emit-with-ack"), args, "the client's answer, sent back");
    });
  }

  test("the server sees the types that the client sent", async () => {
    const socket = await open();
    const values = [null, [1], bytes(1), { a: 1 }, "s", 1.5, true, undefined];
    const types = ["null", "array", "binary", "object", "string", "number", "boolean", "null"];
    assert.deepEqual(await ask(socket, "types", ...values), [types]);
  });

  test("binary at any depth reaches the handler as bytes", async () => {
    const socket = await open();
    const answer = await ask(socket, "describe", { a: bytes(2), b: [{ c: bytes(0) }] }, "x", new Uint8Array([255, 16]));
    assert.deepEqual(answer, [{ a: { $bin: "0001" }, b: [{ c: { $bin: "" } }] }, "x", { $bin: "ff10" }]);
  });

  test("binary from the server, plain and nested", async () => {
    const socket = await open();
    for (const n of [0, 1, 255, 256, 1000]) {
      socket.emit("give-binary", n);
      assert.deepEqual(await socket.heard.next("binary"), [bytes(n)]);
    }
    socket.emit("give-nested");
    const nested = { a: bytes(3), list: [bytes(1), "text", { deep: bytes(5) }], n: null };
    assert.deepEqual(await socket.heard.next("nested"), [nested, bytes(0), "end"]);
  });

  test("events and acknowledgements without arguments", async () => {
    const socket = await open();
    socket.emit("no-args");
    assert.deepEqual(await socket.heard.next("no-args"), []);
    assert.deepEqual(await ask(socket, "ack-nothing"), []);
  });

  test("an acknowledgement leaves once", async () => {
    const socket = await open();
    const answers = [];
    socket.emit("ack-twice", (value) => answers.push(value));
    await ask(socket, "message-with-ack");
    await ask(socket, "message-with-ack");
    assert.deepEqual(answers, [1]);
  });

  test("60 acknowledgements under way at once find their questions", async () => {
    const socket = await open();
    const questions = Array.from({ length: 60 }, (_, i) => (i % 3 ? ask(socket, "message-with-ack", i) : ask(socket, "ack-late", 50)));
    const answers = await Promise.all(questions);
    assert.deepEqual(answers, answers.map((_, i) => (i % 3 ? [i] : ["late"])));
  });

  test("a question of the server, answered with several values and with binary", async () => {
    const socket = await open();
    socket.on("question", (value, answer) => answer(value, "and", bytes(3)));
    assert.deepEqual(await ask(socket, "ask", { x: 1 }), [{ x: 1 }, "and", bytes(3)]);
    assert.deepEqual(await ask(socket, "ask", bytes(2)), [bytes(2), "and", bytes(3)]);
  });

  test("a question with a time limit, answered and not", async () => {
    const socket = await open();
    assert.deepEqual(await ask(socket, "ask-timeout", 100), ["timeout", null]);
    socket.on("question-timeout", (answer) => answer("here", "more"));
    assert.deepEqual(await ask(socket, "ask-timeout", 2000), ["answer", "here"]);
  });

  test("300 events in order, both ways", async () => {
    const socket = await open();
    socket.emit("burst", 300);
    const numbers = Array.from({ length: 300 }, (_, i) => [i]);
    assert.deepEqual(await socket.heard.take("burst", 300), numbers);
    for (const [i] of numbers) socket.emit("message", i);
    assert.deepEqual(await socket.heard.take("message-back", 300), numbers);
  });

  test("text and binary mixed, in order", async () => {
    const socket = await open();
    socket.emit("burst-mixed", 60);
    const expected = Array.from({ length: 60 }, (_, i) => [i, i % 2 ? bytes(i) : null]);
    assert.deepEqual(await socket.heard.take("burst-mixed", 60), expected);
    for (const args of expected) socket.emit("message", ...args);
    assert.deepEqual(await socket.heard.take("message-back", 60), expected);
  });

  test("200 KB of text and 300 KB of binary, both ways", async () => {
    const socket = await open();
    socket.emit("give-text", 100_000);
    assert.deepEqual(await socket.heard.next("text"), ["é".repeat(100_000)]);
    socket.emit("give-binary", 300_000);
    assert.deepEqual(await socket.heard.next("binary"), [bytes(300_000)]);
    assert.deepEqual(await ask(socket, "message-with-ack", "é".repeat(100_000), bytes(300_000)), ["é".repeat(100_000), bytes(300_000)]);
  });

  test("an event may be called anything", async () => {
    const socket = await open();
    for (const name of ["🚀", " ", "", "a,b", 'q"uo\\te', "\u2028"]) {
      socket.emit("in-room", socket.id, name, 1);
      assert.deepEqual(await socket.heard.next(name), [1], JSON.stringify(name));
    }
  });

  test("the event that a per-packet middleware refuses has no handler run", async () => {
    const socket = await open();
    socket.emit("forbidden");
    assert.deepEqual(await socket.heard.next("packet-error"), ["event not allowed"]);
    assert.deepEqual(await ask(socket, "message-with-ack", 1), [1]);
    assert.deepEqual(socket.heard.of("forbidden-ran"), []);
  });

  test("what nobody listens to is not answered and does no harm", async () => {
    const socket = await open();
    let answered = false;
    socket.emit("no-ack", () => (answered = true));
    socket.emit("nobody-knows-this", 1, bytes(2), () => (answered = true));
    assert.deepEqual(await ask(socket, "message-with-ack", "still here"), ["still here"]);
    assert.equal(answered, false);
  });
}
