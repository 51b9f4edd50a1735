// Two nodes behind a real nginx and a real HAProxy, with the files of deploy/: sticky for all transports, and not sticky for
// WebSocket alone.
//
//     SERVER_CMD='["target/debug/cluster-node"]' node --test proxies.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { client, connected, upgraded, ways } from "./lib/client.mjs";
import { cmd, fresh } from "./lib/cluster.mjs";
import { Program, commandFrom, startRedis, startServer } from "./lib/process.mjs";
import { event, freePort, until } from "./lib/waiting.mjs";

const deploy = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../deploy");
const proxies = {
  nginx: { file: "nginx.conf", command: (file, folder) => ["nginx", "-p", folder, "-c", file, "-g", `daemon off; pid ${folder}/pid; error_log stderr;`] },
  HAProxy: { file: "haproxy.cfg", command: (file) => ["haproxy", "-db", "-f", file] },
};
const setup = "scripts/test.sh --setup-only installs nginx and haproxy";

for (const [name, { file, command }] of Object.entries(proxies)) {
  describe(name, () => {
    const nodes = {};
    let redis, proxy, folder, sticky, any;

    before(async () => {
      redis = await startRedis();
      for (const node of ["1", "2"]) {
        nodes[node] = await startServer(commandFrom("SERVER_CMD"), { ADAPTER: "classic", REDIS_URL: redis.url, NODE_NAME: node });
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
      const sockets = [];
      for (let n = 0; n < 6; n++) sockets.push(await connected(client(any, ways["websocket only"])));
      const at = new Set(await Promise.all(sockets.map(nodeOf)));
      assert.deepEqual([...at].sort(), ["1", "2"]);
      await together(sockets);
    });

    test("a node that is killed: its clients come back on the other", async () => {
      const sockets = [];
      for (let n = 2; n < 10; n++) {
        sockets.push(await connected(from(n, sticky, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 })));
      }
      await Promise.all(sockets.map(upgraded));
      const at = await Promise.all(sockets.map(nodeOf));
      const moved = sockets.filter((_, i) => at[i] === "1");
      assert.ok(moved.length > 0);
      const gone = moved.map((socket) => event(socket, "disconnect"));
      await nodes[1].stop("SIGKILL");
      await Promise.all(gone);
      await until(10_000, "all are back", () => sockets.every((socket) => socket.connected));
      for (const socket of sockets) assert.equal(await nodeOf(socket), "2");
      await together(sockets);
    });
  });
}
