// What we promise about order, loss and isolation, each shown on real connections.
//
//     SERVER_CMD="node servers/conformance.mjs" NODE_CMD="node servers/cluster-node.mjs" node --test promises.test.mjs

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { better } from "./lib/better.mjs";
import { ask, client, connected } from "./lib/client.mjs";
import { cmd } from "./lib/cluster.mjs";
import { Polling } from "./lib/http.mjs";
import { commandFrom, serverUnderTest, startServer } from "./lib/process.mjs";
import { sleep, until, within } from "./lib/waiting.mjs";
import { Frames, frame, framesIn, rawWebSocket } from "./lib/websocket.mjs";

const workers = { TOKIO_WORKER_THREADS: "2" };
const server = serverUnderTest({ MODE: "clients", ...workers, PING_INTERVAL: "25000", PING_TIMEOUT: "20000" });
const websocket = { transports: ["websocket"] };

describe("order", () => {
  const count = 20_000;
  const numbers = Array.from({ length: count }, (_, i) => i);

  test("20,000 events of one socket reach their handlers in order", async () => {
    const socket = await connected(client(`${server.url}/`, websocket));
    const heard = [];
    socket.on("message-back", (i) => heard.push(i));
    for (const i of numbers) socket.emit("message", i);
    await until(30_000, "all 20,000 are answered", () => heard.length >= count);
    assert.deepEqual(inversions(heard), 0);
    assert.deepEqual(heard, numbers);
  });

  test("20,000 questions of one socket are answered in order, text and binary mixed", async () => {
    const socket = await connected(client(`${server.url}/custom`, websocket));
    const heard = [];
    for (const i of numbers) socket.emit("message-with-ack", i, i % 7 ? "text" : Buffer.from([i % 256]), (n) => heard.push(n));
    await until(30_000, "all 20,000 are answered", () => heard.length >= count);
    assert.equal(inversions(heard), 0);
    assert.deepEqual(heard, numbers);
  });

  test("20,000 events in few TCP segments reach their handlers in order", async () => {
    const raw = await joined();
    const before = framesIn(raw.received()).length;
    for (let at = 0; at < count; at += 1000) {
      raw.write(...numbers.slice(at, at + 1000).map((i) => frame(1, `42["message",${i}]`)));
    }
    const answers = () => framesIn(raw.received()).slice(before).map(([, payload]) => payload.toString());
    await until(30_000, "all 20,000 are answered", () => raw.received().length > count * 25 && answers().length >= count);
    assert.deepEqual(answers(), numbers.map((i) => `42["message-back",${i}]`));
  });

  test("20,000 events over polling reach their handlers in order", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40");
    await polling.messages(2);
    const heard = [];
    for (let at = 0; at < count; at += 5000) {
      await polling.send(...numbers.slice(at, at + 5000).map((i) => `42["message",${i}]`));
      while (heard.length < at + 5000) heard.push(...(await polling.messages(1)));
    }
    assert.deepEqual(heard, numbers.map((i) => `42["message-back",${i}]`));
  });
});

describe("the first event", () => {
  for (const [nsp, prefix] of [["/", ""], ["/custom", "/custom,"]]) {
    test(`sent the moment CONNECT to ${nsp} is acknowledged is never lost: 1,000 tries`, async () => {
      let lost = 0;
      const tries = Array.from({ length: 1000 }, (_, i) => i);
      const worker = async () => {
        for (let i; (i = tries.pop()) !== undefined; ) if (!(await answered(prefix, i))) lost += 1;
      };
      await Promise.all(Array.from({ length: 10 }, worker));
      assert.equal(lost, 0);
    });
  }

  async function answered(prefix, i) {
    const frames = new Frames(`${server.url}/socket.io/?EIO=4&transport=websocket`.replace("http", "ws"));
    frames.ws.on("message", (message) => {
      if (message.toString().startsWith(`40${prefix}{`)) frames.ws.send(`42${prefix}["message",${i}]`);
    });
    await frames.opened;
    frames.ws.send(`40${prefix}`);
    const expected = `42${prefix}["message-back",${i}]`;
    try {
      while ((await frames.next(3000)) !== expected);
      return true;
    } catch {
      return false;
    } finally {
      frames.ws.terminate();
    }
  }

  better("sent together with CONNECT waits for it", "it closes the whole connection", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40", '42["message","early"]');
    const messages = await polling.messages(3);
    assert.match(messages[0], /^40\{/);
    assert.deepEqual(messages.slice(1), ['42["auth",{}]', '42["message-back","early"]']);
  });

  better("three CONNECTs in one payload make one socket", "it makes orphans", async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40", "40", "40");
    const greeting = await polling.messages(2);
    assert.match(greeting[0], /^40\{/);
    assert.equal(greeting[1], '42["auth",{}]');
    await polling.send('42["to-all","fence"]');
    assert.deepEqual(await polling.messages(1), ['42["fence"]']);
  });
});

describe("the last event", () => {
  const lastWords = '42["to-all","bye",1]';

  async function heardBye(speak) {
    const witness = await connected(client(`${server.url}/`, websocket));
    await speak();
    assert.deepEqual(await witness.heard.next("bye", 1000), [1]);
  }

  const lost = "its handlers run one step later, when the socket is already gone";
  better("before DISCONNECT in one payload is delivered", lost, () => heardBye(async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40");
    await polling.messages(2);
    await polling.send(lastWords, "41");
  }));
  better("before a close packet in one payload is delivered", lost, () => heardBye(async () => {
    const polling = await Polling.open(server.url, { path: "/socket.io/" });
    await polling.send("40");
    await polling.messages(2);
    await polling.send(lastWords, "1");
  }));
  better("before DISCONNECT in one TCP segment is delivered", lost, () => heardBye(async () => {
    const raw = await joined();
    raw.write(frame(1, lastWords), frame(1, "41"));
  }));
  test("before the end of the WebSocket in one TCP segment is delivered", () => heardBye(async () => {
    const raw = await joined();
    raw.write(frame(1, lastWords), frame(8, Buffer.from([3, 232])));
  }));
  test("alone, then DISCONNECT on its own, is delivered", () => heardBye(async () => {
    const frames = await Frames.joined(server.url);
    frames.send(lastWords);
    await sleep(50);
    frames.send("41");
  }));
});

describe("a malformed packet ends at most its own connection", () => {
  const packets = [
    "4", "4x", "42", "42{", '42["message"', "42[1e999]", "42[{}]", "42[null]", '42["connect"]', "4299999999999999999999[]",
    '451-["message",{"_placeholder":true,"num":"x"}]', '451-["message",{"_placeholder":true,"num":1e99}]', '4599999999-["message"]',
    "45-[", "46", "47", "40/\u0000,", "40[]", "44", "0", "1", "5", "6", "2", "3", "7", "", "\ufeff", "b!!!", "x".repeat(100_000),
    `42${"[".repeat(100_000)}`,
  ];
  const deep = [
    `42["message",${"[".repeat(50_000)}${"]".repeat(50_000)}]`,
    `42["message",${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}]`,
  ];

  test("over WebSocket and polling, for every kind of fault", () => bear(packets));
  better("values nested without end", "it runs out of stack, and the process ends", () => bear(deep));

  async function bear(packets) {
    const healthy = await connected(client(`${server.url}/`, websocket));
    const patient = await connected(client(`${server.url}/`, { transports: ["polling"] }));
    for (const packet of packets) {
      const bad = await Frames.joined(server.url);
      bad.send(packet);
      if (packet.startsWith("451")) bad.send(Buffer.from([1]));
      const polling = await Polling.open(server.url, { path: "/socket.io/" });
      await polling.send("40");
      await polling.post(packet).catch(() => {});
      const answers = Promise.all([healthy, patient].map((socket) => ask(socket, "message-with-ack", 1)));
      assert.deepEqual(await within(1000, `answers after ${packet.slice(0, 40)}`, answers), [[1], [1]]);
      bad.ws.terminate();
    }
    assert.equal(healthy.connected && patient.connected, true);
  }

  test("bytes that are no WebSocket frames, and no HTTP", async () => {
    const healthy = await connected(client(`${server.url}/`, websocket));
    const junk = [
      frame(1, "42", { masked: false }), frame(1, "x", { rsv: 4 }), frame(3, "x"), frame(9, "x".repeat(126)), frame(1, Buffer.from([0xff, 0xfe])),
      frame(8, Buffer.from([1])), frame(0, "no start"), Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    ];
    for (const bytes of junk) {
      const raw = await joined();
      raw.write(bytes);
      await raw.ended();
      assert.deepEqual(await within(1000, "an answer", ask(healthy, "message-with-ack", 1)), [1]);
    }
    assert.equal(healthy.connected, true);
  });
});

describe("one client harms no other", () => {
  const node = {};
  before(async () => (node.program = await startServer(commandFrom("NODE_CMD"), { ADAPTER: "memory", NODE_NAME: "a", ...workers })));
  after(() => node.program?.stop());
  const count = 20_000;
  const size = 4096;

  /** Sends 80 MB to the socket `id` and returns how long the healthy ones waited for an answer at most meanwhile. */
  async function flood(id) {
    const [sender, healthy] = await Promise.all([0, 1].map(() => connected(client(`${node.program.url}/`, websocket))));
    let longest = 0;
    let done = false;
    const sent = cmd(sender, { op: "flood", to: [id], event: "flood", count, size }, 60_000).finally(() => (done = true));
    while (!done) {
      const began = Date.now();
      await ask(healthy, "echo", 1);
      longest = Math.max(longest, Date.now() - began);
      await sleep(5);
    }
    await sent;
    assert.deepEqual(await ask(sender, "echo", 2), [2]);
    return longest;
  }

  test("one that stops reading its WebSocket", async () => {
    const stalled = await joined(node.program.url);
    const id = JSON.parse(framesIn(stalled.received()).at(1)[1].toString().slice(2)).sid;
    stalled.socket.pause();
    const memory = node.program.memory();
    const longest = await flood(id);
    assert.ok(longest < 1000, `a healthy client waited ${longest} ms`);
    if (!better.asserted) return;
    const grown = (node.program.memory() - memory) / 1e6;
    assert.ok(grown < 40, `the server holds ${grown.toFixed(0)} MB for a client that does not read`);
    stalled.socket.resume();
    await stalled.ended(5000);
    const witness = await connected(client(`${node.program.url}/`, websocket));
    const { sockets } = await cmd(witness, { op: "fetchSockets" });
    assert.ok(!sockets.some((socket) => socket.id === id), "it is not in the namespace any more");
  });

  test("one that stops polling", async () => {
    const stalled = await Polling.open(node.program.url, { path: "/socket.io/" });
    await stalled.send("40");
    const [connect] = await stalled.messages(1);
    const memory = node.program.memory();
    const longest = await flood(JSON.parse(connect.slice(2)).sid);
    assert.ok(longest < 1000, `a healthy client waited ${longest} ms`);
    if (!better.asserted) return;
    const grown = (node.program.memory() - memory) / 1e6;
    assert.ok(grown < 40, `the server holds ${grown.toFixed(0)} MB for a client that does not poll`);
    assert.equal(await stalled.gone(), true);
  });

  better("one whose handler panics", "an exception in a handler ends the process", async () => {
    const healthy = await connected(client(`${node.program.url}/`, websocket));
    for (let i = 0; i < 5; i++) {
      const unlucky = await connected(client(`${node.program.url}/`, websocket));
      unlucky.emit("cmd", { op: "panic" }, () => {});
      await sleep(50);
      assert.deepEqual(await within(1000, "an answer", ask(healthy, "echo", 1)), [1]);
      const fresh = await connected(client(`${node.program.url}/`, websocket));
      assert.deepEqual(await within(1000, "an answer", ask(fresh, "echo", 2)), [2]);
    }
    assert.equal(healthy.connected, true);
    assert.equal(node.program.end, undefined);
  });
});

/** A raw WebSocket that has joined `/`. */
async function joined(url = server.url) {
  const raw = await rawWebSocket(url, "/socket.io/?EIO=4&transport=websocket");
  raw.write(frame(1, "40"));
  await until(2000, "CONNECT is acknowledged", () => framesIn(raw.received()).some(([, payload]) => payload.toString().startsWith("40{")));
  await sleep(20);
  return raw;
}

/** How many of `numbers` are smaller than one before them. */
function inversions(numbers) {
  let highest = -1;
  let count = 0;
  for (const n of numbers) {
    if (n < highest) count += 1;
    highest = Math.max(highest, n);
  }
  return count;
}
