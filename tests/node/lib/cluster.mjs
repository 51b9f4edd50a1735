// A cluster under test: nodes on one Redis, and clients that drive them.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { client, connected } from "./client.mjs";
import { nodeServer, commandFrom, startRedis, startServer } from "./process.mjs";
import { within } from "./waiting.mjs";

/**
 * Two nodes of the server under test, `a` and `b`, and one Node.js server, `n`, on a Redis of their own. They start
 * before the first test of the file and end after the last; `more` can start others beside them, and ends them. `env` is
 * for the nodes, `redis` for Redis; `redisOf` says how a node gets there, if not straight. What is in REDIS_QUERY stands
 * behind the URL that our nodes are given.
 */
export function clusterUnderTest(more, { env = {}, redis, redisOf } = {}) {
  const cluster = { nodes: {} };
  const commands = { a: () => commandFrom("SERVER_CMD"), b: () => commandFrom("SERVER_CMD"), n: () => nodeServer("cluster-node.mjs") };
  /** Starts one node, on the port it had if it has been there before. */
  cluster.start = async (name) => {
    const adapter = process.env.ADAPTER ?? "classic";
    const url = cluster.nodes[name]?.redis ?? (await redisOf?.(name, cluster.redis)) ?? cluster.redis.url;
    const query = name === "n" ? "" : (process.env.REDIS_QUERY ?? "");
    const at = { port: cluster.nodes[name]?.port };
    cluster.nodes[name] = await startServer(commands[name](), { ADAPTER: adapter, REDIS_URL: url + query, NODE_NAME: name, ...env }, at);
    cluster.nodes[name].redis = url;
  };
  before(async () => {
    cluster.redis = await startRedis(undefined, redis);
    const starts = await Promise.allSettled(["a", "b", "n"].map(cluster.start));
    for (const { reason } of starts) if (reason) throw reason; // Those that did start are stopped below.
    const { a, b, n } = cluster.nodes;
    cluster.nodes = { a, b, n };
    await cluster.complete();
    await more?.start(cluster);
  });
  after(async () => {
    await more?.stop();
    const early = Object.entries(cluster.nodes).filter(([, node]) => node.end);
    await Promise.all([...Object.values(cluster.nodes), cluster.redis].map((program) => program?.stop()));
    for (const [name, node] of early) assert.fail(`node ${name} did not live to the end: ${node.end}; it printed:\n${node.output}`);
  });

  /** Waits until every node sees three servers in both namespaces. */
  cluster.complete = async () => {
    for (const nsp of ["/", "/chat"]) {
      for (const name of Object.keys(cluster.nodes)) {
        const { port } = cluster.nodes[name];
        const socket = await connected(client(`http://127.0.0.1:${port}${nsp}`, { transports: ["websocket"] }));
        for (let count; count !== 3; ) ({ count } = await within(5000, `node ${name} sees all`, cmd(socket, { op: "serverCount" })));
        socket.disconnect();
      }
    }
  };

  /** A client of node `name`. */
  cluster.client = (name, nsp = "/", options = {}) =>
    connected(client(cluster.nodes[name].url + nsp, { transports: ["websocket"], ...options }));

  /** Clients of all nodes by name, `a1` and `a2` for node a. */
  cluster.clients = async (nsp = "/", each = 2) => {
    const clients = {};
    for (const name of Object.keys(cluster.nodes)) {
      for (let i = 1; i <= each; i++) clients[`${name}${i}`] = await cluster.client(name, nsp);
    }
    return clients;
  };
  return cluster;
}

/** Has the node of `socket` do something; returns what it answered. */
export async function cmd(socket, m, ms = 9000) {
  const answer = await within(ms, `an answer to ${m.op}`, new Promise((resolve) => socket.emit("cmd", m, resolve)));
  assert.equal(answer.ok, true, `${m.op}: ${answer.error}`);
  return answer;
}

let unique = 0;

/** A name that no other test uses. */
export const fresh = (name) => `${name}-${process.pid}-${++unique}`;

/**
 * Who of `clients` has heard `event` with `args`, once for each arrival. A fence, broadcast to everybody by the node of
 * `sender`, has reached each of them by then, so that what was sent before is there.
 */
export async function hearers(clients, sender, event, args) {
  const fence = fresh("fence");
  await cmd(sender, { op: "broadcast", event: fence, args: [] });
  const names = [];
  for (const [name, socket] of Object.entries(clients)) {
    await socket.heard.next(fence);
    for (const given of socket.heard.of(event)) {
      assert.deepEqual(given, args, `what ${name} heard`);
      names.push(name);
    }
  }
  return names.join(" ");
}
