// The client's side of tests/tests/examples.rs: an application of each web framework (URL), whose routes and handlers of
// events share what there is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, client, connected, upgraded, ways } from "./lib/client.mjs";

const url = process.env.URL;
const total = async () => Number(await (await fetch(`${url}/total`)).text());

for (const [way, options] of Object.entries(ways)) {
  test(`${way}: handlers and routes work on the same state`, async () => {
    const [ana, bob] = [await connected(client(url, options)), await connected(client(url, options))];
    if (way === "upgrade") await Promise.all([upgraded(ana), upgraded(bob)]);
    const before = await total();
    assert.deepEqual(await ask(ana, "vote", 3), [before + 3]);
    assert.deepEqual(await bob.heard.next("total"), [before + 3]);
    assert.equal(await total(), before + 3);
  });

  test(`${way}: a route sends to all sockets`, async () => {
    const [ana, bob] = [await connected(client(url, options)), await connected(client(url, options))];
    const answer = await fetch(`${url}/announce`, { method: "POST", body: `by ${way}`, headers: { "content-type": "text/plain" } });
    assert.deepEqual([answer.status, await answer.text()], [200, "told"]);
    assert.deepEqual(await ana.heard.next("announcement"), [`by ${way}`]);
    assert.deepEqual(await bob.heard.next("announcement"), [`by ${way}`]);
  });

  test(`${way}: a handler knows where its client comes from`, async () => {
    const [address] = await ask(await connected(client(url, options)), "who am i");
    assert.match(address, /^127\.0\.0\.1/);
  });
}

test("what is not the server's own is the application's to answer", async () => {
  assert.equal((await fetch(`${url}/nothing`)).status, 404);
  assert.equal((await fetch(`${url}/socket.io/?EIO=4&transport=carrier-pigeon`)).status, 400);
});
