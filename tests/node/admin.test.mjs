// The Admin UI: its stock front end (npm @socket.io/admin-ui) in Chromium, and its protocol with the stock client.
//
// The front end is served from a port of its own, so that it is a page of another origin, as admin.socket.io is. What
// no front end does is tested in socketio-server/tests/admin.rs.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { after, test } from "node:test";
import { better } from "./lib/better.mjs";
import { browserUnderTest } from "./lib/browser.mjs";
import { ask, client, connected, sibling, upgraded } from "./lib/client.mjs";
import { serverUnderTest } from "./lib/process.mjs";
import { until } from "./lib/waiting.mjs";

const dist = path.join(path.dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui/package.json")), "ui/dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };

/** The folder of the front end, and nothing above it. */
const site = http.createServer((request, response) => {
  const name = path.join(dist, path.normalize(new URL(request.url, "http://site").pathname.replace(/\/$/, "/index.html")));
  if (!name.startsWith(dist) || !fs.existsSync(name)) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": TYPES[path.extname(name)] ?? "application/octet-stream" });
  // Without the fonts that it wants from elsewhere.
  if (name.endsWith(".html")) return response.end(fs.readFileSync(name, "utf8").replace(/<link[^>]*https:[^>]*>/g, ""));
  fs.createReadStream(name).pipe(response);
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
after(() => site.closeAllConnections() ?? site.close());
const origin = `http://127.0.0.1:${site.address().port}`;

const server = serverUnderTest({ MODE: "admin", ADMIN_ORIGIN: origin });
const browser = browserUnderTest();
const websocket = { transports: ["websocket"] };
const credentials = { username: "ana", password: "changeit" };
const everyone = async (nsp = "/", options = websocket) => connected(client(server.url + nsp, options));

/** A client that speaks as the front end does. */
const admin = (auth = credentials) => client(`${server.url}/admin`, { ...websocket, auth });

/** The next `event` that passes `test`. */
async function told(socket, event, test) {
  for (;;) {
    const args = await socket.heard.next(event);
    if (test(...args)) return args;
  }
}

// ---- the protocol ---------------------------------------------------------------------------------------------------

test("the wrong password is refused, the right one gives a session that is told before CONNECT and lets in again", async () => {
  for (const auth of [{}, { ...credentials, password: "x" }, { ...credentials, username: "bob" }, { sessionId: "x" }]) {
    await assert.rejects(connected(admin(auth)), /invalid credentials/);
  }
  const socket = await connected(admin());
  const [id] = await socket.heard.next("session");
  assert.match(id, /^[0-9a-f]{16}$/);
  await socket.heard.next("config");
  assert.equal(socket.heard.all[0][0], "session");
  // The reference gives one. The stock front end cannot hear it, so that ours gives another after CONNECT.
  const ids = socket.heard.of("session").flat();
  const again = await connected(admin({ sessionId: better.asserted ? ids.at(-1) : id }));
  await again.heard.next("config");
  assert.deepEqual(again.heard.of("session"), []);
});

test("config, server_stats and all_sockets", async () => {
  const polling = await everyone("/chat", { transports: ["polling"], query: { page: "1" }, auth: { token: "secret" } });
  await ask(polling, "set-name", "bob");
  const socket = await connected(admin());
  const [{ supportedFeatures }] = await socket.heard.next("config");
  assert.deepEqual(supportedFeatures, [
    "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT", "AGGREGATED_EVENTS", "ALL_EVENTS",
  ]);
  const [sockets] = await socket.heard.next("all_sockets");
  const bob = sockets.find(({ id }) => id === polling.id);
  const { handshake, ...rest } = bob;
  assert.deepEqual(rest, {
    id: polling.id, clientId: polling.io.engine.id.slice(0, 12), transport: "polling", nsp: "/chat",
    data: { name: "bob" }, rooms: [polling.id],
  });
  assert.deepEqual(Object.keys(handshake).sort(), ["address", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
  assert.equal(handshake.query.page, "1");
  assert.ok(Date.now() - handshake.issued < 60_000);

  const [stats] = await told(socket, "server_stats", (stats) => stats.namespaces.some(({ name, socketsCount }) => name === "/chat" && socketsCount === 1));
  const { serverId, hostname, pid, uptime, clientsCount, pollingClientsCount, aggregatedEvents } = stats;
  assert.deepEqual([serverId, pid], ["server-1", server.program.pid]);
  assert.ok(clientsCount >= 2 && pollingClientsCount >= 1 && pollingClientsCount < clientsCount, "others may linger");
  assert.ok(hostname && uptime > 0);
  for (const { timestamp, type, count } of aggregatedEvents) {
    assert.ok(timestamp % 1000 === 0 && Math.abs(Date.now() - timestamp) < 10_000 && count > 0, type);
  }
});

test("a socket comes, changes its transport, data and rooms, talks, and goes", async () => {
  const socket = await connected(admin());
  const bob = await everyone("/", { transports: ["polling", "websocket"] });
  const [shown, time] = await told(socket, "socket_connected", ({ id }) => id === bob.id);
  assert.equal(shown.nsp, "/");
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  await upgraded(bob);
  if (shown.transport === "polling") {
    const [update] = await told(socket, "socket_updated", ({ id, transport }) => id === bob.id && transport);
    assert.deepEqual(update, { id: bob.id, nsp: "/", transport: "websocket" });
  }
  await ask(bob, "set-name", "bob");
  const [update] = await told(socket, "socket_updated", ({ id, data }) => id === bob.id && data?.name);
  assert.deepEqual(update, { id: bob.id, nsp: "/", data: { name: "bob" } });
  await ask(bob, "enter", "lobby");
  const joined = await told(socket, "room_joined", (nsp, room) => room === "lobby");
  assert.deepEqual(joined.slice(0, 3), ["/", "lobby", bob.id]);
  await ask(bob, "say", "hi");
  const mine = (name) => (nsp, id, args) => id === bob.id && args[0] === name;
  assert.deepEqual((await told(socket, "event_received", mine("say"))).slice(0, 3), ["/", bob.id, ["say", "hi"]]);
  assert.deepEqual((await told(socket, "event_sent", mine("said"))).slice(0, 3), ["/", bob.id, ["said", "hi", 1]]);
  const { id } = bob;
  bob.disconnect();
  const gone = await told(socket, "socket_disconnected", (nsp, gone) => gone === id);
  assert.deepEqual(gone.slice(0, 3), ["/", id, "client namespace disconnect"]);
  const left = [await told(socket, "room_left", (nsp, room, left) => left === id), await socket.heard.next("room_left")];
  assert.deepEqual(left.map(([, room]) => room).sort(), [id, "lobby"].sort());
  const order = socket.heard.all.filter(([name, , second, third]) => /socket_disc|room_left/.test(name) && [second, third].includes(id));
  assert.deepEqual(order.map(([name]) => name), ["socket_disconnected", "room_left", "room_left"]);
});

test("namespaces that appear later are told of: by name and by pattern", async () => {
  const socket = await connected(admin());
  for (const nsp of ["/open", "/board-7"]) {
    const bob = await everyone(nsp);
    const [shown] = await told(socket, "socket_connected", ({ id }) => id === bob.id);
    assert.equal(shown.nsp, nsp);
  }
});

test("emit, join, leave and _disconnect", async () => {
  const socket = await connected(admin());
  const [bob, eve] = [await everyone(), await everyone()];
  const chat = await connected(sibling(bob, "/chat"));
  socket.emit("emit", "/", undefined, "hello", 1, { a: [true] });
  for (const one of [bob, eve]) assert.deepEqual(await one.heard.next("hello"), [1, { a: [true] }]);
  socket.emit("join", "/", "red", bob.id);
  socket.emit("join", "/", "all");
  socket.emit("emit", "/", "red", "to red");
  socket.emit("emit", "/", "all", "to all");
  for (const one of [bob, eve]) await one.heard.next("to all");
  assert.deepEqual([bob.heard.of("to red"), eve.heard.of("to red")], [[[]], []]);
  socket.emit("leave", "/", "all", "red");
  socket.emit("emit", "/", "all", "once more");
  await eve.heard.next("once more");
  socket.emit("_disconnect", "/", false, bob.id);
  await until(5000, "bob is out", () => !bob.connected);
  assert.ok(chat.connected && eve.connected);
  assert.deepEqual(bob.heard.of("once more"), []);
  socket.emit("_disconnect", "/chat", true);
  await until(5000, "the connection is closed", () => bob.io.engine.readyState === "closed");
});

// ---- the front end --------------------------------------------------------------------------------------------------

/** The front end, connected with the credentials. */
async function frontEnd() {
  const page = await browser.page(`${origin}/`);
  await page.setViewportSize({ width: 1600, height: 900 });
  const field = (name) => page.getByLabel(name, { exact: true });
  await field("Server URL").fill(server.url);
  await field("Username").fill("ana");
  await field("Password").fill("wrong");
  const enter = page.getByRole("button", { name: "Connect", exact: true });
  await enter.click();
  await page.getByText("Invalid credentials").waitFor({ timeout: 10_000 });
  await field("Password").fill("changeit");
  await enter.click();
  await enter.waitFor({ state: "hidden", timeout: 10_000 });
  return page;
}

/** Goes to a view of the front end. */
async function view(page, name) {
  await page.evaluate((name) => (location.hash = `#/${name}`), name);
}

/** A picture in the folder SCREENSHOTS, for people. */
async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`) });
}

test("the front end shows the server, its sockets and rooms, and moves and disconnects a socket", async () => {
  const bob = await everyone();
  await ask(bob, "set-name", "bob");
  await ask(bob, "enter", "lobby");
  const page = await frontEnd();
  const cell = (text) => page.getByRole("cell", { name: text, exact: true });

  await view(page, "servers/");
  await cell("server-1").waitFor({ timeout: 10_000 });
  await page.getByRole("table").getByText("Healthy", { exact: true }).waitFor();
  await picture(page, "servers");
  await view(page, "sockets/");
  await cell(bob.id).waitFor();
  await picture(page, "sockets");
  await view(page, "rooms/");
  await cell("lobby").waitFor();
  await picture(page, "rooms");

  await view(page, `n/${encodeURIComponent("/")}/sockets/${bob.id}`);
  await page.getByText('"name": "bob"').waitFor();
  await cell("lobby").waitFor();
  await page.getByLabel("Join a room").fill("vip");
  await page.locator("form:has(.select-room) button[type=submit]").click();
  await cell("vip").waitFor();
  await picture(page, "socket");
  const other = await connected(admin());
  other.emit("emit", "/", "vip", "to vip");
  await bob.heard.next("to vip");
  await page.getByRole("row", { name: "lobby" }).getByRole("button").click();
  await view(page, "rooms/"); // The page of the socket shows a room that it has left until it is loaded again.
  await cell("vip").waitFor();
  await cell("lobby").waitFor({ state: "hidden" });
  await ask(bob, "say", "hi");
  await view(page, "events/");
  await page.getByText("said").first().waitFor();
  await picture(page, "events");

  await view(page, "sockets/");
  const shown = bob.id;
  await page.getByRole("row", { name: shown }).getByRole("button").click();
  await until(5000, "bob is out", () => !bob.connected);
  await view(page, "servers/");
  await cell("server-1").waitFor();
  await view(page, "sockets/");
  await page.getByRole("columnheader", { name: "Transport" }).waitFor();
  await cell(shown).waitFor({ state: "hidden" });
  await view(page, "");
  await page.getByText("Dashboard").first().waitFor();
  await picture(page, "dashboard");
  assert.deepEqual(page.errors, []);
});

better("the front end comes back by its session", "tells it before the front end listens", async () => {
  const page = await frontEnd();
  await page.reload();
  await view(page, "servers/");
  await page.getByRole("cell", { name: "server-1", exact: true }).waitFor({ timeout: 10_000 });
  assert.ok(!(await page.getByRole("button", { name: "Connect", exact: true }).isVisible()));
});
