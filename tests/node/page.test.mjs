// The page of the program, in Chromium: two pages on two servers with one Redis, an emitter-cli, a server that is killed.
//
//     PROGRAM=... EMITTER_CMD=... [SCREENSHOTS=folder] node --test page.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { browserUnderTest } from "./lib/browser.mjs";
import { runCommand } from "./lib/emitters.mjs";
import { commandFrom, startRedis, startServer } from "./lib/process.mjs";
import { freePort, sleep, until } from "./lib/waiting.mjs";

const browser = browserUnderTest();
const servers = {};
let redis;

const start = (port) => startServer([...commandFrom("PROGRAM"), "--listen", `127.0.0.1:${port}`, "--redis", redis.url], {}, { port });

before(async () => {
  redis = await startRedis();
  for (const name of ["a", "b"]) servers[name] = await start(await freePort());
});
after(async () => {
  await Promise.all(Object.values(servers).map((server) => server.stop()));
  await redis?.stop();
});

async function emit(...words) {
  const { code, stderr } = await runCommand(redis.url, ["emit", ...words]);
  assert.equal(code, 0, stderr);
}
const text = (page, id) => page.locator(`#${id}`).innerText();
const event = (page, name) => page.locator(`#events .event[data-name="${name}"]`).first();

async function open(server) {
  const page = await browser.page(`${server.url}/`);
  await connected(page);
  return page;
}
const connected = (page) => page.locator('#state[data-state="connected"]').waitFor();
const happened = (page, words) => page.locator("#past li", { hasText: words }).first().waitFor();

async function join(page, room) {
  await page.fill("#room", room);
  await page.click("#join button");
  await page.locator("#rooms .chip", { hasText: room }).waitFor();
}

async function say(page, words, to) {
  if (to) await page.selectOption("#to", to);
  await page.fill("#text", words);
  await page.click("#chat button");
}

/** For people to look at, if they asked for it. */
async function shoot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const [size, width, height] of [["desktop", 1180, 760], ["phone", 390, 844]]) {
      await page.setViewportSize({ width, height });
      await page.screenshot({ path: path.join(folder, `${name}-${size}-${scheme}.png`), fullPage: size === "phone" });
    }
  }
  await page.setViewportSize({ width: 1180, height: 760 });
}

before(() => process.env.SCREENSHOTS && fs.mkdirSync(process.env.SCREENSHOTS, { recursive: true }));

test("shows how it is connected: the upgrade, the round trip, how many there are on all servers", async () => {
  const [a, b] = [await open(servers.a), await open(servers.b)];
  await happened(a, /connected over (HTTP long-polling|WebSocket)/);
  await happened(a, /upgraded to WebSocket after \d/);
  assert.equal(await a.locator("#track .here").innerText(), "WebSocket");
  assert.match(await text(a, "transport"), /^upgraded after \d/);
  await until(5000, "the round trip is measured", async () => /^[\d.]+ ms$/.test(await text(a, "latency")));
  await until(5000, "both count two", async () => (await text(a, "count")) === "2" && (await text(b, "count")) === "2");
  assert.deepEqual([a.errors, b.errors], [[], []]);
});

test("an event of emitter-cli is shown on the pages of both servers, as it was sent; one for a room where it was joined", async () => {
  const [a, b] = [await open(servers.a), await open(servers.b)];
  await join(a, "news");
  await emit("time", "2026-11-28T12:00:00+00:00");
  for (const page of [a, b]) {
    await event(page, "time").waitFor();
    assert.equal(await event(page, "time").locator(".what").innerText(), 'time"2026-11-28T12:00:00+00:00"');
  }
  await emit("headline", '{"title":"Hi"}', "--to", "news");
  await emit("fence", "1");
  await event(b, "fence").waitFor();
  await event(a, "headline").waitFor();
  assert.equal(await event(b, "headline").count(), 0);
  assert.deepEqual([a.errors, b.errors], [[], []]);
});

test("people on two servers chat, to all and in a room", async () => {
  const [a, b] = [await open(servers.a), await open(servers.b)];
  await a.fill("#name", "Ana");
  await say(a, "Hello <everybody>");
  await b.locator("#messages .message", { hasText: "Hello <everybody>" }).waitFor();
  await join(b, "garden");
  await join(a, "garden");
  await say(b, "only here", "garden");
  await a.locator("#messages .message .room", { hasText: "garden" }).waitFor();
  await emit("time", "2026-11-28T12:00:00+00:00");
  await emit("progress", '{"build":418,"done":0.72}');
  await event(a, "progress").waitFor();
  await sleep(process.env.SCREENSHOTS ? 9000 : 0); // Some round trips to draw.
  await shoot(a, "connected");
});

test("a connection that breaks comes back to its session, with what it missed", async () => {
  const a = await open(servers.a);
  await join(a, "kept");
  await happened(a, "upgraded to WebSocket");
  // The page is kept from coming back at once, so that there is something to miss.
  await a.route("**/socket.io/?**", (route) => route.abort());
  await a.click("#cut");
  await a.locator('#state[data-state="connecting"]').waitFor();
  await emit("missed", "1", "--to", "kept");
  await emit("missed", "2", "--to", "kept");
  await shoot(a, "reconnecting");
  await a.unroute("**/socket.io/?**");
  await connected(a);
  await happened(a, /back after .*: the same session, \d+ missed events/);
  const missed = a.locator('#events .event[data-name="missed"]');
  assert.deepEqual(await missed.locator(".what").allInnerTexts(), ["missed2missed, and caught up", "missed1missed, and caught up"]);
  assert.match(await text(a, "rooms"), /kept/);
  await shoot(a, "recovered");
});

test("a server that is killed is found again, and the rooms are joined anew", async () => {
  const a = await open(servers.a);
  await join(a, "again");
  const { port } = servers.a;
  await servers.a.stop("SIGKILL");
  await happened(a, "the connection was lost");
  await shoot(a, "lost");
  servers.a = await start(port);
  await connected(a);
  await happened(a, /back after .*: a new session/);
  await until(5000, "the room is joined again", async () => {
    await emit("after", "1", "--to", "again");
    return (await event(a, "after").count()) > 0;
  });
});
