// The client's side of tests/tests/api_cluster.rs: two servers of one cluster (URL_A, URL_B).

import assert from "node:assert/strict";
import { test } from "node:test";
import { client, connected } from "./lib/client.mjs";

const open = (url) => connected(client(url));

test("io.emit on one server is heard on both", async () => {
  const [a, b] = [await open(process.env.URL_A), await open(process.env.URL_B)];
  a.emit("shout", "hi");
  assert.deepEqual(await a.heard.next("heard"), ["hi"]);
  assert.deepEqual(await b.heard.next("heard"), ["hi"]);
});

test("an emitter's event reaches the clients of both servers, and a room's only who is in it", async () => {
  const [a, b] = [await open(process.env.URL_A), await open(process.env.URL_B)];
  assert.equal(await a.emitWithAck("from outside", null, "now"), 2, "two servers took it");
  assert.deepEqual(await a.heard.next("time"), ["now"]);
  assert.deepEqual(await b.heard.next("time"), ["now"]);
  b.emit("join", "clocks");
  await b.emitWithAck("from outside", "clocks", "later");
  assert.deepEqual(await b.heard.next("time"), ["later"]);
  await a.emitWithAck("from outside", null, "last");
  assert.deepEqual(await a.heard.next("time"), ["last"], "what went to the room did not come here");
});
