// With dynamic sharding, what is sent to a room costs a node nothing if it has no member of it: not a byte comes.
//
//     ADAPTER=sharded SERVER_CMD='["target/debug/cluster-node"]' node --test idle-rooms.test.mjs

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { clusterUnderTest, cmd, fresh } from "./lib/cluster.mjs";
import { until } from "./lib/waiting.mjs";
import { Way } from "./lib/way.mjs";

const way = new Way();
after(() => way.close());
const cluster = clusterUnderTest(undefined, { redisOf: (name, redis) => (name === "b" ? way.open(redis.port) : redis.url) });

test("a thousand messages for a room without a member on a node bring it nothing", async () => {
  const clients = await cluster.clients("/", 1);
  const room = fresh("room");
  for (const name of ["a1", "n1"]) await cmd(clients[name], { op: "join", rooms: [room] });
  /** How many bytes come to node b while node a sends a thousand messages to the room. */
  const cost = async () => {
    // The last bytes of a subscription, or of a ping, are there when none have come for a while.
    let last = -1;
    await until(5000, "quiet", async () => last === (last = way.brought));
    const [before, event] = [way.brought, fresh("news")];
    await cmd(clients.a1, { op: "emitMany", to: [room], event, count: 1000 });
    await clients.n1.heard.take(event, 1000);
    const probe = fresh("probe");
    await cmd(clients.a1, { op: "broadcast", to: [clients.n1.id], event: probe, args: [] });
    await clients.n1.heard.next(probe);
    return { bytes: way.brought - before, heard: clients.b1.heard.of(event).length };
  };
  const without = await cost();
  // The probe goes to a single socket, on the channel of all nodes; a ping may fall into that time.
  assert.ok(without.bytes < 1000, `${without.bytes} bytes for 1000 messages`);
  assert.equal(without.heard, 0);
  await cmd(clients.b1, { op: "join", rooms: [room] });
  const event = fresh("heard");
  await until(2000, "node b hears the room", async () => {
    await cmd(clients.a1, { op: "broadcast", to: [room], event, args: [] });
    return clients.b1.heard.of(event).length > 0;
  });
  const within = await cost();
  assert.ok(within.bytes > 50_000, `${within.bytes} bytes for 1000 messages to a member`);
});
