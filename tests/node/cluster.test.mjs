// Two servers under test and one Node.js server (socket.io 4.8.4, @socket.io/redis-adapter 8.3.0) on one Redis: every
// broadcast form, every request and every answer crosses, whichever of the three asks.
//
//     SERVER_CMD="node servers/cluster-node.mjs" node --test cluster.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { reasonOf } from "./lib/client.mjs";
import { clusterUnderTest, cmd, fresh, hearers } from "./lib/cluster.mjs";
import { until } from "./lib/waiting.mjs";

const cluster = clusterUnderTest();
const bytes = (n) => Buffer.from(Array.from({ length: n }, (_, i) => i % 256));

/** Two clients of each node: the first ones are in red, the second ones in blue; a1, b2 and n2 are in few as well. */
async function scene(nsp) {
  const clients = await cluster.clients(nsp);
  const [red, blue, few] = [fresh("red"), fresh("blue"), fresh("few")];
  for (const [name, socket] of Object.entries(clients)) {
    await cmd(socket, { op: "join", rooms: [name.endsWith("1") ? red : blue] });
  }
  for (const name of ["a1", "b2", "n2"]) await cmd(clients[name], { op: "join", rooms: [few] });
  return { clients, red, blue, few };
}

const everybody = "a1 a2 b1 b2 n1 n2";
const without = (...names) => everybody.split(" ").filter((name) => !names.includes(name)).join(" ");

for (const node of ["a", "b", "n"]) {
  const me = `${node}1`;
  const mate = `${node}2`;

  describe(`broadcasts from node ${node}`, () => {
    const audiences = [
      ["to everybody", () => ({}), everybody],
      ["to a room", (s) => ({ to: [s.red] }), "a1 b1 n1"],
      ["to two rooms, once for each socket", (s) => ({ to: [s.red, s.few] }), "a1 b1 b2 n1 n2"],
      ["except a room", (s) => ({ except: [s.red] }), "a2 b2 n2"],
      ["to a room, except another", (s) => ({ to: [s.blue], except: [s.few] }), "a2"],
      ["except two rooms", (s) => ({ except: [s.blue, s.few] }), "b1 n1"],
      ["from a socket", () => ({ fromSocket: true }), without(me)],
      ["from a socket to a room", (s) => ({ fromSocket: true, to: [s.red] }), without("a2", "b2", "n2", me)],
      ["from a socket, except a room", (s) => ({ fromSocket: true, except: [s.few] }), without("a1", "b2", "n2", me)],
      ["local", () => ({ local: true }), `${me} ${mate}`],
      ["local to a room", (s) => ({ local: true, to: [s.blue] }), mate],
      ["volatile", () => ({ volatile: true }), everybody],
      ["volatile to a room", (s) => ({ volatile: true, to: [s.blue] }), "a2 b2 n2"],
      ["not to be compressed", () => ({ compress: false }), everybody],
      ["to one socket of each node by its id", (s) => ({ to: ["a2", "b1", "n2"].map((name) => s.clients[name].id) }), "a2 b1 n2"],
      ["to a room that nobody is in", () => ({ to: [fresh("nobody")] }), ""],
    ];
    for (const nsp of ["/", "/chat"]) {
      for (const [name, target, expected] of audiences) {
        test(`${name}, in ${nsp}`, async () => {
          const s = await scene(nsp);
          const args = ["text", 1, { deep: [null, true] }];
          await cmd(s.clients[me], { op: "broadcast", ...target(s), event: "told", args });
          assert.equal(await hearers(s.clients, s.clients[me], "told", args), expected);
        });
      }
    }

    const payloads = {
      "no argument": [],
      texts: ["", "é 🚀 日本語", "\u0000\u001e\u2028", "x".repeat(70_000)],
      numbers: [0, -1, 127, 128, 255, 256, 65_536, 2 ** 31, 2 ** 32, 2 ** 53 - 1, -(2 ** 53 - 1), -129, 1.5, -0.1, 1e-7],
      "other values": [null, true, false, [], {}, [[]], { "": 0 }],
      "a long list and a long object": [Array.from({ length: 70_000 }, (_, i) => i % 10), Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, i]))],
      binary: [bytes(0), bytes(1), bytes(300), bytes(70_000)],
      "binary inside": [{ file: bytes(5), list: ["x", [bytes(2)]] }, "end"],
      "what looks like a placeholder": [{ _placeholder: true, num: 0 }, "text"],
      "what looks like a placeholder, beside binary": [{ kind: "_placeholder" }, bytes(3)],
    };
    for (const [name, args] of Object.entries(payloads)) {
      test(`carry ${name}`, async () => {
        const clients = await cluster.clients("/", 1);
        await cmd(clients[me], { op: "broadcast", event: "told", args });
        assert.equal(await hearers(clients, clients[me], "told", args), "a1 b1 n1");
      });
    }

    test("1,000 in a row arrive in order", async () => {
      const clients = await cluster.clients("/", 1);
      await cmd(clients[me], { op: "emitMany", event: "count", count: 1000 });
      const expected = Array.from({ length: 1000 }, (_, i) => [i]);
      for (const [name, socket] of Object.entries(clients)) {
        assert.deepEqual(await socket.heard.take("count", 1000), expected, name);
      }
    });

    test("do not leave their namespace", async () => {
      const [main, chat] = [await cluster.clients("/", 1), await cluster.clients("/chat", 1)];
      await cmd(chat[me], { op: "broadcast", event: "told", args: [1] });
      assert.equal(await hearers(chat, chat[me], "told", [1]), "a1 b1 n1");
      assert.equal(await hearers(main, main[me], "told", [1]), "");
    });
  });

  describe(`questions to clients from node ${node}`, () => {
    test("every client of a room answers", async () => {
      const { clients, red } = await scene();
      for (const [name, socket] of Object.entries(clients)) socket.on("question", (value, answer) => answer({ name, value }));
      const answer = await cmd(clients[me], { op: "broadcastAck", to: [red], timeout: 3000, event: "question", args: [[1, "x"]] });
      assert.equal(answer.error, null);
      const sorted = answer.responses.sort((x, y) => (x.name < y.name ? -1 : 1));
      assert.deepEqual(sorted, ["a1", "b1", "n1"].map((name) => ({ name, value: [1, "x"] })));
    });

    test("binary goes and comes", async () => {
      const clients = await cluster.clients("/", 1);
      for (const socket of Object.values(clients)) socket.on("question", (value, answer) => answer({ back: value }));
      const answer = await cmd(clients[me], { op: "broadcastAck", timeout: 3000, event: "question", args: [bytes(7)] });
      assert.deepEqual(answer, { ok: true, error: null, responses: Array.from({ length: 3 }, () => ({ back: bytes(7) })) });
    });

    test("nobody there: no answers, no error", async () => {
      const socket = await cluster.client(node);
      const answer = await cmd(socket, { op: "broadcastAck", to: [fresh("nobody")], timeout: 3000, event: "question", args: [] });
      assert.deepEqual(answer, { ok: true, error: null, responses: [] });
    });

    test("some do not answer: an error, and what came", async () => {
      const clients = await cluster.clients("/", 1);
      for (const name of ["a1", "n1"]) clients[name].on("question", (answer) => answer(name));
      const answer = await cmd(clients[me], { op: "broadcastAck", timeout: 500, event: "question", args: [] });
      assert.equal(answer.error, "operation has timed out");
      assert.deepEqual(answer.responses.sort(), ["a1", "n1"]);
    });
  });

  describe(`requests from node ${node}`, () => {
    test("fetchSockets finds the sockets of all nodes, with all they carry", async () => {
      const room = fresh("room");
      const clients = {};
      for (const name of ["a", "b", "n"]) {
        clients[name] = await cluster.client(name, "/", { auth: { token: name }, query: { who: `${name} ü` } });
        await cmd(clients[name], { op: "join", rooms: [room] });
        await cmd(clients[name], { op: "setData", data: { name, list: [1, null, "é"] } });
      }
      const { sockets } = await cmd(clients[node], { op: "fetchSockets", to: [room] });
      assert.equal(sockets.length, 3);
      for (const [name, socket] of Object.entries(clients)) {
        const found = sockets.find(({ id }) => id === socket.id);
        assert.ok(found, `the socket of node ${name}`);
        assert.deepEqual(found.rooms.sort(), [room, socket.id].sort());
        assert.deepEqual(found.data, { name, list: [1, null, "é"] });
        assert.deepEqual(found.auth, { token: name });
        assert.equal(found.query.who, `${name} ü`);
        assert.match(found.address, /127\.0\.0\.1$/);
        assert.equal(found.hasHeaders, true);
      }
    });

    test("fetchSockets keeps to its target", async () => {
      const { clients, red, few } = await scene();
      const found = async (target) => {
        const { sockets } = await cmd(clients[me], { op: "fetchSockets", ...target });
        const ids = new Set(sockets.map(({ id }) => id));
        assert.equal(ids.size, sockets.length, "nobody twice");
        return Object.keys(clients).filter((name) => ids.has(clients[name].id)).join(" ");
      };
      assert.equal(await found({}), everybody);
      assert.equal(await found({ to: [red, few] }), "a1 b1 b2 n1 n2");
      assert.equal(await found({ to: [red], except: [few] }), "b1 n1");
      assert.equal(await found({ local: true }), `${me} ${mate}`);
      assert.equal(await found({ to: [fresh("nobody")] }), "");
      assert.equal(await found({ fromSocket: true, to: [red] }), without("a2", "b2", "n2", me));
    });

    test("allRooms lists the rooms of all nodes", async () => {
      const { clients, red, blue, few } = await scene();
      const { rooms, unsupported } = await cmd(clients[me], { op: "allRooms" });
      if (unsupported) return assert.notEqual(process.env.ADAPTER ?? "classic", "classic", "the classic format has it");
      for (const room of [red, blue, few, ...Object.values(clients).map(({ id }) => id)]) assert.ok(rooms.includes(room), room);
      assert.equal(new Set(rooms).size, rooms.length);
    });

    test("socketsJoin and socketsLeave reach the sockets of all nodes", async () => {
      const { clients, red, few } = await scene();
      const [x, y] = [fresh("x"), fresh("y")];
      const inRoom = async (room, expected) => {
        for (const [name, socket] of Object.entries(clients)) {
          const member = expected.split(" ").includes(name);
          await until(2000, `${name} ${member ? "is" : "is not"} in ${room}`, async () => {
            const { rooms } = await cmd(socket, { op: "rooms" });
            return rooms.includes(room) === member;
          });
        }
      };
      await cmd(clients[me], { op: "socketsJoin", to: [red], except: [few], rooms: [x, y] });
      await inRoom(x, "b1 n1");
      await inRoom(y, "b1 n1");
      await cmd(clients[me], { op: "socketsJoin", to: [clients.a2.id], rooms: [x] });
      await inRoom(x, "a2 b1 n1");
      await cmd(clients[me], { op: "socketsLeave", to: [red], rooms: [x] });
      await inRoom(x, "a2");
      await inRoom(y, "b1 n1");
      await cmd(clients[me], { op: "socketsLeave", rooms: [x, y] });
      await inRoom(x, "");
      await inRoom(y, "");
    });

    for (const close of [false, true]) {
      test(`disconnectSockets reaches all nodes${close ? ", and closes connections" : ""}`, async () => {
        const { clients, red } = await scene();
        const engines = ["a1", "b1", "n1"].map((name) => clients[name].io.engine);
        const gone = Promise.all(["a1", "b1", "n1"].map((name) => reasonOf(clients[name])));
        clients[mate].emit("cmd", { op: "disconnectSockets", to: [red], close }, () => {});
        assert.deepEqual(await gone, Array(3).fill("io server disconnect"));
        if (close) await until(2000, "their connections are closed", () => engines.every((engine) => engine.readyState === "closed"));
        assert.deepEqual(await hearers({ a2: clients.a2, b2: clients.b2, n2: clients.n2 }, clients[mate], "none", []), "");
      });
    }

    for (const far of ["a", "b", "n"]) {
      test(`a remote handle on a socket of node ${far} acts on it`, async () => {
        const [here, there] = [await cluster.client(node), await cluster.client(far)];
        const sid = there.id;
        const act = (action, more) => cmd(here, { op: "remoteSocket", sid, action, ...more });
        const room = fresh("room");
        const inRoom = (member) => until(2000, `${member ? "in" : "not in"} the room`, async () => {
          return (await cmd(there, { op: "rooms" })).rooms.includes(room) === member;
        });
        assert.deepEqual(await act("join", { rooms: [room] }), { ok: true, found: true });
        await inRoom(true);
        await act("leave", { room });
        await inRoom(false);
        await act("emit", { event: "told", args: ["one", bytes(2)] });
        assert.deepEqual(await there.heard.next("told"), ["one", bytes(2)]);
        there.on("question", (value, answer) => answer({ got: value }));
        const answered = await act("emitAck", { timeout: 2000, event: "question", args: [[1]] });
        assert.deepEqual(answered, { ok: true, found: true, error: null, response: { got: [1] } });
        const { error } = await act("emitAck", { timeout: 200, event: "not-answered", args: [] });
        assert.equal(error, "operation has timed out");
        const gone = reasonOf(there);
        await act("disconnect", { close: false });
        assert.equal(await gone, "io server disconnect");
        await until(2000, "nobody has that id", async () => {
          return (await act("join", { rooms: [room] })).found === false;
        });
      });
    }

    test("every node counts three servers", async () => {
      assert.equal((await cmd(await cluster.client(node), { op: "serverCount" })).count, 3);
    });
  });

  describe(`server-side events from node ${node}`, () => {
    const others = ["a", "b", "n"].filter((name) => name !== node);

    test("reach the other nodes, in their namespace, in order, and not the sender", async () => {
      const [main, chat] = [await cluster.clients("/", 1), await cluster.clients("/chat", 1)];
      for (const socket of [...Object.values(main), ...Object.values(chat)]) await cmd(socket, { op: "serverSideLog" });
      const sent = [[1, "é", { deep: [null, true, 1.5] }], [], ["last"]];
      for (const args of sent) await cmd(chat[me], { op: "serverSideEmit", event: "sse", args });
      for (const name of others) {
        const log = [];
        await until(2000, `node ${name} has heard all`, async () => {
          log.push(...(await cmd(chat[`${name}1`], { op: "serverSideLog" })).log);
          return log.length >= sent.length;
        });
        assert.deepEqual(log, sent);
      }
      for (const socket of [chat[me], ...Object.values(main)]) {
        assert.deepEqual((await cmd(socket, { op: "serverSideLog" })).log, []);
      }
    });

    test("are answered by each of the other nodes", async () => {
      const args = [1, "é", { deep: [null] }];
      const { error, responses } = await cmd(await cluster.client(node), { op: "serverSideEmitAck", event: "sse-ack", args });
      assert.equal(error, null);
      responses.sort((x, y) => (x.node < y.node ? -1 : 1));
      assert.deepEqual(responses, others.map((name) => ({ node: name, got: args })));
    });

    test("that nobody answers end with an error", async () => {
      const answer = await cmd(await cluster.client(node), { op: "serverSideEmitAck", event: "nobody-listens", args: [] });
      assert.deepEqual(answer, { ok: true, error: "timeout reached: only 0 responses received out of 2", responses: [] });
    });
  });
}

test("a Node.js server that asks about rooms which are no texts is answered", async () => {
  const clients = await cluster.clients("/", 1);
  for (const room of [null, 42, true]) {
    assert.deepEqual(await cmd(clients.n1, { op: "fetchSockets", to: [room] }, 1500), { ok: true, sockets: [] });
    await cmd(clients.n1, { op: "broadcast", to: [room], event: "told", args: [] });
    assert.equal(await hearers(clients, clients.n1, "told", []), "");
  }
});
