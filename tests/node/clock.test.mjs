// A server whose wall clock really jumps, by a day, ahead and back (libfaketime): nobody is disconnected, heartbeats and
// recovery go on, and nothing spins.
//
//     SERVER_CMD="node servers/conformance.mjs" FAKETIME_LIB=.../libfaketime.so.1 node --test clock.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { ask, client, connected } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { event, sleep } from "./lib/waiting.mjs";

const PING = 200;
const DAY = 86_400_000;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "clock-"));
const time = path.join(folder, "time");
after(() => fs.rmSync(folder, { recursive: true }));

/** The server's wall clock is off by this from now on. */
const jump = (offset) => (fs.writeFileSync(`${time}.new`, `${offset}\n`), fs.renameSync(`${time}.new`, time));
jump("+0");

const server = serverUnderTest({
  MODE: "clients",
  PING_INTERVAL: String(PING),
  PING_TIMEOUT: String(PING),
  LD_PRELOAD: process.env.FAKETIME_LIB,
  FAKETIME_TIMESTAMP_FILE: time,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
});

/** By how much the server's clock is ahead, as the header Date says. */
async function ahead() {
  const answer = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
  await answer.text();
  return new Date(answer.headers.get("date")) - Date.now();
}

/** The CPU time of the server, in ticks of 10 ms. */
const spent = () => fs.readFileSync(`/proc/${server.program.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13).reduce((sum, ticks) => sum + Number(ticks), 0);

test("a day ahead, and a day back: nobody is disconnected, and who is away comes back", async () => {
  const base = { path: "/recovery/" };
  const stay = await Promise.all([["websocket"], ["polling"]].map((transports) => connected(client(`${server.url}/`, { ...base, transports }))));
  const left = [];
  stay.forEach((socket) => socket.on("disconnect", (reason) => left.push(reason)));
  for (const [offset, expected] of [["+1d", DAY], ["-1d", -DAY], ["+0", 0]]) {
    const away = await connected(client(`${server.url}/`, base));
    away.io.engine.close();
    jump(offset);
    assert.ok(Math.abs((await ahead()) - expected) < 60_000, `the clock has jumped by ${offset}`);
    const before = spent();
    await sleep(PING * 5); // Longer than a silent client lives.
    assert.ok(spent() - before < 30, "it does not spin");
    stay[0].emit("to-all", "news", offset);
    const back = event(away, "connect");
    away.connect();
    await back;
    assert.ok(away.recovered, `${offset}: it goes on where it was`);
    assert.equal((await away.heard.next("news"))[0], offset);
    for (const socket of stay) {
      await ask(socket, "whoami");
      assert.equal((await socket.heard.next("news"))[0], offset);
    }
    away.disconnect();
  }
  assert.deepEqual(left, []);
});
