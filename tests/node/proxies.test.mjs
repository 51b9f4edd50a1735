// Two nodes behind a real nginx and a real HAProxy, with the files of deploy/: sticky, and not: for
// WebSocket alone as in Node.js, and for all transports where nodes carry requests to each other.
//
//     SERVER_CMD='["target/debug/cluster-node"]' node --test proxies.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { better } from "./lib/better.mjs";
import { ask, client, connected, upgraded, ways } from "./lib/client.mjs";
import { cmd, fresh } from "./lib/cluster.mjs";
import { Program, commandFrom, startRedis, startServer } from "./lib/process.mjs";
import { event, freePort, until } from "./lib/waiting.mjs";

const deploy = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../deploy");
const proxies = {
  nginx: { file: "nginx.conf", command: (file, folder) => ["nginx", "-p", folder, "-c", file, "-g", `daemon off; pid ${folder}/pid; error_log stderr;`] },
  HAProxy: { file: "haproxy.cfg", command: (file) => ["haproxy", "-db", "-f", file] },
};
const upTo = (count) => Array.from({ length: count }, (_, n) => n);
const setup = "scripts/test.sh --setup-only installs nginx and haproxy";

for (const [name, { file, command }] of Object.entries(proxies)) {
  describe(name, () => {
    const nodes = {};
    let redis, proxy, folder, sticky, any;

    before(async () => {
      redis = await startRedis();
      for (const node of ["1", "2"]) {
        nodes[node] = await startServer(commandFrom("SERVER_CMD"), { ADAPTER: "classic", REDIS_URL: redis.url, NODE_NAME: node, NOT_STICKY: "1" });
      }
      folder = fs.mkdtempSync(path.join(os.tmpdir(), "socketio-proxy-"));
      const [one, other] = [await freePort(), await freePort()];
      const text = fs.readFileSync(path.join(deploy, file), "utf8")
        .replaceAll("server-1:3000", `127.0.0.1:${nodes[1].port}`)
        .replaceAll("server-2:3000", `127.0.0.1:${nodes[2].port}`)
        .replace(/(listen |bind :)8080/, `$1${one}`)
        .replace(/(listen |bind :)8081/, `$1${other}`);
      fs.writeFileSync(path.join(folder, file), text);
      [sticky, any] = [one, other].map((port) => `http://127.0.0.1:${port}`);
      proxy = new Program(command(path.join(folder, file), folder));
      await proxy.ready(10_000, async () => (await fetch(`${sticky}/socket.io/?EIO=4&transport=polling`)).status === 200)
        .catch((error) => { throw new Error(`${error.message}\n${setup}`); });
    });
    after(async () => {
      await Promise.all([proxy, ...Object.values(nodes), redis].map((program) => program?.stop()));
      fs.rmSync(folder, { recursive: true });
    });

    /** A client that comes from an address of its own, and keeps cookies. */
    const from = (n, url, options) => {
      const agent = new http.Agent({ localAddress: `127.0.0.${n}`, keepAlive: true });
      return client(url, { agent, withCredentials: true, ...options });
    };
    const nodeOf = async (socket) => (await cmd(socket, { op: "whoami" })).node;

    /** Six clients, or more until there are some on both nodes. */
    async function onBoth(open) {
      const [sockets, at] = [[], new Set()];
      while (sockets.length < 6 || (at.size < 2 && sockets.length < 40)) {
        const socket = await connected(open());
        sockets.push(socket);
        at.add(await nodeOf(socket));
      }
      assert.deepEqual([...at].sort(), ["1", "2"]);
      return sockets;
    }

    /** Whether each of `sockets` hears what the first one sends to all. */
    async function together(sockets) {
      const news = fresh("news");
      await cmd(sockets[0], { op: "broadcast", event: news, args: [1] });
      for (const socket of sockets) assert.deepEqual(await socket.heard.next(news), [1]);
    }

    for (const [way, options] of Object.entries(ways)) {
      test(`sticky, ${way}: clients on both nodes, together`, async () => {
        const sockets = [];
        for (let n = 2; n < 14; n++) sockets.push(await connected(from(n, sticky, options)));
        if (way === "upgrade") await Promise.all(sockets.map(upgraded));
        const at = new Set(await Promise.all(sockets.map(nodeOf)));
        assert.deepEqual([...at].sort(), ["1", "2"]);
        await together(sockets);
      });
    }

    test("not sticky, websocket only: clients on both nodes, together", async () => {
      const sockets = await onBoth(() => client(any, ways["websocket only"]));
      await together(sockets);
    });

    better("not sticky, polling only: requests find the node of their session", "unknown session", async () => {
      const sockets = await onBoth(() => client(any, ways["polling only"]));
      for (let n = 0; n < 5; n++) await together(sockets);
      for (const socket of sockets) {
        const values = ["é 🚀", { deep: [null] }, Buffer.from([0, 1, 255])];
        assert.deepEqual(await ask(socket, "echo", ...values), values);
      }
      const lists = await Promise.all(sockets.map((socket) => Promise.all(upTo(40).map((n) => ask(socket, "echo", n)))));
      for (const list of lists) assert.deepEqual(list, upTo(40).map((n) => [n]));
      const [first, ...others] = sockets;
      await cmd(first, { op: "emitMany", event: "many", count: 300 });
      for (const socket of sockets) assert.deepEqual(await socket.heard.take("many", 300), upTo(300).map((n) => [n]));
      const gone = others.map((socket) => event(socket, "disconnect"));
      first.emit("cmd", { op: "disconnectSockets", except: [first.id], close: true }, () => {});
      await Promise.all(gone);
    });

    better("not sticky, with upgrades: all change to a WebSocket, wherever their session is", "unknown session", async () => {
      const sockets = [];
      for (let n = 0; n < 16; n++) sockets.push(await connected(client(any, ways.upgrade)));
      await Promise.all(sockets.map(upgraded));
      for (let n = 0; n < 5; n++) await together(sockets);
      for (const socket of sockets) {
        const values = ["é 🚀", { deep: [null] }, Buffer.from([0, 1, 255]), "x".repeat(70_000)];
        assert.deepEqual(await ask(socket, "echo", ...values), values);
      }
      for (const socket of sockets) assert.equal(socket.io.engine.transport.name, "websocket");
      // An end by either side ends the other.
      const [leaves, first, ...others] = sockets;
      const there = async () => (await cmd(first, { op: "fetchSockets" })).sockets.map(({ id }) => id);
      const { id } = leaves;
      leaves.disconnect();
      await until(3000, "the server has let go of it", async () => !(await there()).includes(id));
      const gone = others.map((socket) => event(socket, "disconnect"));
      first.emit("cmd", { op: "disconnectSockets", except: [first.id], close: true }, () => {});
      await Promise.all(gone);
      await until(3000, "the server has let go of all", async () => (await there()).length === 1);
    });

    better("not sticky, with upgrades: nothing is lost, or overtaken, while a client changes", "unknown session", async () => {
      const feeder = await connected(client(any, ways["websocket only"]));
      const name = fresh("tick");
      let ticks = 0;
      const feed = setInterval(() => feeder.emit("cmd", { op: "broadcast", event: name, args: [ticks++] }, () => {}), 3);
      const sockets = [];
      const answers = new Map();
      try {
        for (let n = 0; n < 10; n++) {
          const socket = await connected(client(any, ways.upgrade));
          sockets.push(socket);
          const list = [];
          answers.set(socket, list);
          let sent = 0;
          const talk = setInterval(() => socket.emit("echo", sent++, (answer) => list.push(answer)), 3);
          await upgraded(socket);
          const marks = [sent, ticks];
          await until(5000, "it has heard what came after", () => list.length > marks[0] && socket.heard.of(name).at(-1)?.[0] >= marks[1]);
          clearInterval(talk);
          await until(5000, "all answers", () => list.length === sent);
          assert.deepEqual(list, upTo(sent), "answers in order");
        }
      } finally {
        clearInterval(feed);
      }
      await until(5000, "the last tick", () => sockets.every((socket) => socket.heard.of(name).at(-1)[0] === ticks - 1));
      for (const socket of sockets) {
        const heard = socket.heard.of(name).map(([n]) => n);
        assert.deepEqual(heard, upTo(ticks).slice(heard[0]), "all ticks from the first that it heard");
      }
    });

    test("not sticky: a session that nobody has", async () => {
      const began = Date.now();
      const answer = await fetch(`${any}/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA`);
      assert.deepEqual([answer.status, await answer.json()], [400, { code: 1, message: "Session ID unknown" }]);
      // Servers of ours say that they have it not; nobody waits for them.
      assert.ok(Date.now() - began < (better.asserted ? 500 : 2000), `${Date.now() - began} ms`);
    });

    test("a node that is killed: its clients come back on the other", async () => {
      const sockets = [];
      for (let n = 2; n < 10; n++) {
        sockets.push(await connected(from(n, sticky, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 })));
      }
      // Of these the session, the WebSocket, or both may be on the node that is killed.
      const carried = better.asserted ? 12 : 0;
      for (let n = 0; n < carried; n++) {
        sockets.push(await connected(client(any, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 })));
      }
      await Promise.all(sockets.map(upgraded));
      const ids = sockets.map(({ id }) => id);
      const at = await Promise.all(sockets.map(nodeOf));
      const moved = sockets.filter((_, i) => at[i] === "1");
      assert.ok(moved.length > 0);
      const gone = moved.map((socket) => event(socket, "disconnect"));
      await nodes[1].stop("SIGKILL");
      await Promise.all(gone);
      await until(10_000, "all are back", () => sockets.every((socket) => socket.connected));
      for (const socket of sockets) assert.equal(await nodeOf(socket), "2");
      await together(sockets);
      // Nobody has what was carried by the dead, and no client has lost more than that.
      const there = async () => (await cmd(sockets[0], { op: "fetchSockets", local: true })).sockets.map(({ id }) => id);
      await until(5000, "only those who are there", async () => (await there()).length === sockets.length);
      assert.deepEqual((await there()).sort(), sockets.map(({ id }) => id).sort());
      const stayed = sockets.filter((socket, i) => at[i] === "2" && socket.id === ids[i]);
      assert.ok(stayed.length > 0, "who had nothing to do with it has noticed nothing");
    });
  });
}
