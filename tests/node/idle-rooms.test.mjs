// With dynamic sharding, what is sent to a room costs a node nothing if it has no member of it: no message comes, and not
// a byte. Counted by the node itself, and on its way to Redis.
//
//     ADAPTER=sharded SERVER_CMD='["target/debug/cluster-node"]' node --test idle-rooms.test.mjs

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createClient } from "redis";
import { better } from "./lib/better.mjs";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { until } from "./lib/waiting.mjs";
import { Way } from "./lib/way.mjs";

const way = new Way();
after(() => way.close());
const cluster = clusterUnderTest(undefined, { redisOf: (name, redis) => (name === "b" ? way.open(redis.port) : redis.url) });

/** Has node a send a thousand messages to `room`, and n1, who is in it, hear them. */
async function send(clients, room) {
  const event = fresh("news");
  await cmd(clients.a1, { op: "emitMany", to: [room], event, count: 1000 });
  await clients.n1.heard.take(event, 1000);
  return event;
}

/** A room that a1 and n1 are in. */
async function roomOfOthers(clients) {
  const room = fresh("room");
  for (const name of ["a1", "n1"]) await cmd(clients[name], { op: "join", rooms: [room] });
  return room;
}

test("a thousand messages for a room without a member on a node bring it nothing", async () => {
  const clients = await cluster.clients("/", 1);
  const room = await roomOfOthers(clients);
  // No PING may fall into the time of counting: the last bytes are there when none have come for a while.
  let last = -1;
  await until(5000, "quiet", async () => last === (last = way.brought));
  const before = way.brought;
  const event = await send(clients, room);
  const bytes = way.brought - before;
  assert.equal(clients.b1.heard.of(event).length, 0);
  // A PING is answered with 7 bytes, or, on a link that listens, with 19.
  assert.ok(bytes < 100, `${bytes} bytes for 1000 messages`);
  await cmd(clients.b1, { op: "join", rooms: [room] });
  const probe = fresh("heard");
  await until(2000, "node b hears the room", async () => {
    await cmd(clients.a1, { op: "broadcast", to: [room], event: probe, args: [] });
    return clients.b1.heard.of(probe).length > 0;
  });
  const start = way.brought;
  await clients.b1.heard.take(await send(clients, room), 1000);
  assert.ok(way.brought - start > 50_000, `${way.brought - start} bytes for 1000 messages to a member`);
});

better("the node counts none of them, and Redis sends it none", "it counts nothing", async () => {
  const clients = await cluster.clients("/", 1);
  const room = await roomOfOthers(clients);
  const redis = await createClient({ url: cluster.redis.url }).connect();
  /** What node b was brought, by its own numbers, and by those of Redis for each link that listens. */
  const brought = async () => {
    const { stats } = await cmd(clients.b1, { op: "stats" });
    return { messages: stats.brought, bytes: stats.broughtBytes };
  };
  /** One message to everybody, after which all that was sent before is there. */
  const fence = async () => {
    const event = fresh("fence");
    await cmd(clients.a1, { op: "broadcast", event, args: [] });
    await clients.b1.heard.next(event);
  };
  await fence();
  const start = await brought();
  await fence();
  const one = await brought();
  assert.equal(one.messages - start.messages, 1, "a fence is one message");
  await send(clients, room);
  await fence();
  const all = await brought();
  const size = one.bytes - start.bytes;
  assert.equal(all.messages - one.messages, 1, "nothing but the fence");
  // The numbers in the names of fences may have grown by a digit.
  assert.ok(Math.abs(all.bytes - one.bytes - size) <= 4, `${all.bytes - one.bytes} bytes, where a fence has ${size}`);
  const channels = await redis.sendCommand(["PUBSUB", "SHARDCHANNELS", `*${room}*`]);
  const [, subscribers] = await redis.sendCommand(["PUBSUB", "SHARDNUMSUB", ...channels]);
  assert.deepEqual([channels.length, Number(subscribers)], [1, 2], "Redis knows that only two nodes listen");
  await redis.close();
});
