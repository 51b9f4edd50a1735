// Each example of socketio-server/examples that is a server of its own, as its clients see it.
//
//     EXAMPLES=target/debug/examples node --test each-example.test.mjs

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";
import { browserUnderTest } from "./lib/browser.mjs";
import { ask, client, connected } from "./lib/client.mjs";
import { startRedis, startServer } from "./lib/process.mjs";
import { event, freePort, until } from "./lib/waiting.mjs";

const running = [];
after(() => Promise.all(running.map((program) => program.stop())));

async function start(name, env, options) {
  const server = await startServer([path.join(process.env.EXAMPLES, name)], env, options);
  running.push(server);
  return server;
}

/** A client of one example, which starts with the first. */
function example(name, env) {
  let server;
  return async (options, version) => {
    server ??= start(name, env);
    return client((await server).url, options, version);
  };
}
const named = (name) => ({ auth: { name } });

describe("chat", () => {
  const open = example("chat");
  for (const version of [2, 3, 4]) {
    test(`clients of version ${version} enter, are heard, and leave`, async () => {
      const [ana, bob] = [await connected(await open({}, version)), await connected(await open())];
      assert.deepEqual(await ask(ana, "say", "too early"), [{ error: "enter first" }]);
      assert.deepEqual(await ask(ana, "enter", " "), [{ error: "a name has 1 to 32 letters" }]);
      assert.deepEqual(await ask(bob, "enter", "Bob"), [1]);
      assert.deepEqual(await ask(ana, "enter", "Ana"), [2]);
      assert.deepEqual(await bob.heard.next("entered"), ["Ana"]);
      ana.emit("writing");
      assert.deepEqual(await bob.heard.next("writing"), ["Ana"]);
      assert.deepEqual(await ask(ana, "say", "hello"), [true]);
      assert.deepEqual(await bob.heard.next("said"), [{ name: "Ana", text: "hello" }]);
      ana.disconnect();
      assert.deepEqual(await bob.heard.next("left"), ["Ana"]);
      bob.disconnect();
      const last = await connected(await open());
      await until(2000, "all are gone", async () => (await ask(last, "enter", "Last"))[0] === 1);
      last.disconnect();
    });
  }
});

test("chat in a terminal with a client of version 2", async () => {
  const { url } = await start("chat");
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "socketio-v2-"));
  fs.mkdirSync(path.join(folder, "node_modules"));
  fs.symlinkSync(fileURLToPath(new URL("node_modules/socket.io-client-2", import.meta.url)), path.join(folder, "node_modules/socket.io-client"));
  fs.copyFileSync(fileURLToPath(new URL("../../examples/v2-client.mjs", import.meta.url)), path.join(folder, "v2-client.mjs"));
  const bob = await connected(client(url));
  await ask(bob, "enter", "Bob");
  const terminal = spawn(process.execPath, [path.join(folder, "v2-client.mjs"), url, "Ana"]);
  let shown = "";
  terminal.stdout.on("data", (bytes) => (shown += bytes));
  terminal.stderr.on("data", (bytes) => (shown += bytes));
  await until(5000, "Ana is in", () => shown.includes("Ana, you are one of 2"));
  terminal.stdin.write("hello from 2\n");
  assert.deepEqual(await bob.heard.next("said"), [{ name: "Ana", text: "hello from 2" }]);
  await ask(bob, "say", "hello from 4");
  await until(5000, "Ana reads it", () => shown.includes("Bob: hello from 4"));
  terminal.stdin.end();
  await bob.heard.next("left");
  fs.rmSync(folder, { recursive: true });
});

test("private: a letter is on each device of both, and nowhere else", async () => {
  const open = example("private");
  const nobody = await open();
  await assert.rejects(connected(nobody), /who are you/);
  const [ana, bob, phone, eve] = await Promise.all(["ana", "bob", "bob", "eve"].map(async (name) => connected(await open(named(name)))));
  const desk = await connected(await open(named("ana")));
  assert.deepEqual(await ask(ana, "who is here"), [["ana", "bob", "eve"]]);
  assert.deepEqual(await ask(ana, "letter", { to: "bob", text: "hi" }), [2]);
  for (const device of [bob, phone, desk]) assert.deepEqual(await device.heard.next("letter"), [{ from: "ana", text: "hi" }]);
  assert.deepEqual(await ask(ana, "letter", { to: "zoe", text: "hi" }), [{ error: "nobody of that name is here" }]);
  await ask(eve, "who is here");
  assert.deepEqual([eve.heard.of("letter"), ana.heard.of("letter")], [[], []]);
});

test("questions: each side asks the other, and who is silent is counted", async () => {
  const open = example("questions");
  const [ana, bob, eve] = [await connected(await open()), await connected(await open()), await connected(await open())];
  assert.deepEqual(await ask(ana, "sum", 2, 3), [5]);
  assert.deepEqual(await ask(ana, "remind me", 20), ["now"]);
  assert.match((await ask(ana, "sum", "2", 3))[0].error, /argument 1 does not fit/);
  ana.on("your number?", (answer) => answer(7));
  assert.deepEqual(await ask(ana, "guess my number"), ["It is 7."]);
  assert.deepEqual(await ask(bob, "guess my number"), ["You are slow."]);
  for (const socket of [ana, bob, eve]) {
    socket.emit("join", "room");
    await ask(socket, "sum", 0, 0);
  }
  ana.on("question", (_, answer) => answer("yes"));
  bob.on("question", (_, answer) => answer("yes"));
  assert.deepEqual(await ask(ana, "poll", "room", "lunch?"), [{ votes: { yes: 2 }, silent: 1 }]);
});

test("upload: a file in pieces, and back in one", async () => {
  const open = example("upload");
  const [ana, bob] = [await connected(await open()), await connected(await open())];
  const file = randomBytes(300_000);
  assert.deepEqual(await ask(ana, "begin", { name: "a.bin", size: 99_000_000 }), [{ error: "at most 16 MB" }]);
  assert.deepEqual(await ask(ana, "begin", { name: "a.bin", size: file.length }), [0]);
  for (let at = 0; at < file.length; at += 100_000) {
    assert.deepEqual(await ask(ana, "piece", file.subarray(at, at + 100_000)), [at + 100_000]);
  }
  assert.deepEqual(await bob.heard.next("stored"), [{ name: "a.bin", size: file.length }]);
  await ask(ana, "begin", { name: "b.bin", size: 10 });
  assert.match((await ask(ana, "piece", randomBytes(11)))[0].error, /more than was announced/);
  assert.deepEqual(await ask(bob, "fetch", "b.bin"), [{ error: "there is no such file" }]);
  const [whole] = await ask(bob, "fetch", "a.bin");
  assert.ok(file.equals(whole));
});

test("presence: who is in a room, and each change of it", async () => {
  const open = example("presence");
  const [ana, bob] = [await connected(await open(named("ana"))), await connected(await open(named("bob")))];
  assert.deepEqual(await ask(ana, "join", "tea"), [["ana"]]);
  assert.deepEqual(await ask(bob, "join", "tea"), [["ana", "bob"]]);
  assert.deepEqual(await ana.heard.next("joined"), ["tea", "bob"]);
  assert.deepEqual(await ask(bob, "leave", "tea"), [["ana"]]);
  assert.deepEqual(await ana.heard.next("left"), ["tea", "bob"]);
  await ask(bob, "join", "tea");
  bob.disconnect();
  assert.deepEqual(await ana.heard.next("left"), ["tea", "bob"]);
  assert.deepEqual(await ask(ana, "members", "tea"), [["ana"]]);
});

describe("jwt", () => {
  const open = example("jwt", { JWT_SECRET: "sesame" });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = (claims, { secret = "sesame", alg = "HS256" } = {}) => {
    const text = `${part({ alg, typ: "JWT" })}.${part({ sub: "ana", ...claims })}`;
    return `${text}.${alg === "none" ? "" : createHmac("sha256", secret).update(text).digest("base64url")}`;
  };
  const soon = (seconds) => Math.floor(Date.now() / 1000) + seconds;

  test("who shows a good token is in; others learn why not", async () => {
    const ana = await connected(await open({ auth: { token: token({ exp: soon(60) }) } }));
    assert.deepEqual(await ask(ana, "whoami"), ["ana"]);
    for (const [auth, why] of [
      [undefined, /a token is needed/],
      [{ token: token({ exp: soon(-600) }) }, /over/],
      [{ token: token({ exp: soon(60) }, { secret: "guess" }) }, /not valid/],
      [{ token: token({ exp: soon(60) }, { alg: "none" }) }, /not valid/],
      [{ token: token({}) }, /not valid/],
    ]) {
      const refused = await open({ auth });
      const [error] = await event(refused, "connect_error");
      assert.match(error.message, why);
      assert.deepEqual(error.data, { code: 401 });
    }
  });

  test("the end of a token is the end of the connection, unless it is renewed", async () => {
    const [ana, bob] = await Promise.all(["ana", "bob"].map(async (sub) => connected(await open({ auth: { token: token({ sub, exp: soon(2) }) } }))));
    assert.deepEqual(await ask(ana, "renew", token({ sub: "bob", exp: soon(60) })), [{ error: "that is somebody else's" }]);
    assert.deepEqual(await ask(ana, "renew", token({ exp: soon(60) })), [true]);
    await bob.heard.next("over");
    if (bob.connected) await event(bob, "disconnect");
    assert.deepEqual(await ask(ana, "whoami"), ["ana"]);
  });
});

test("cluster: two servers on one Redis are one", async () => {
  const redis = await startRedis();
  running.push(redis);
  const servers = [await start("cluster", { REDIS_URL: redis.url }), await start("cluster", { REDIS_URL: redis.url })];
  const [ana, bob] = await Promise.all(servers.map(({ url }) => connected(client(url))));
  ana.emit("say", "hello");
  assert.deepEqual(await bob.heard.next("said"), [ana.id, "hello"]);
  assert.deepEqual(await ask(ana, "how many"), [[2, 0]]);
  assert.deepEqual(await ask(bob, "ports"), [servers.map(({ port }) => String(port)).sort()]);

  // A microservice beside them.
  for (const [socket, milk] of [[ana, true], [bob, false]]) {
    socket.emit("join", socket === ana ? "user:ana" : "user:bob");
    socket.on("milk?", (item, answer) => answer(milk));
    await ask(socket, "how many");
  }
  const service = spawn(path.join(process.env.EXAMPLES, "microservice"), { env: { ...process.env, REDIS_URL: redis.url }, stdio: ["pipe", "inherit", "inherit"] });
  service.stdin.end('{"user":"ana","item":"tea"}\n{"user":"bob","item":"coffee"}\n');
  const [code] = await event(service, "exit");
  assert.equal(code, 0);
  const steps = async (socket) => (await socket.heard.take("order", 2)).map(([step]) => `${step.item}: ${step.state}`);
  assert.deepEqual(await steps(ana), ["tea: accepted", "tea: ready, with milk"]);
  assert.deepEqual(await steps(bob), ["coffee: accepted", "coffee: ready"]);
});

const browser = browserUnderTest();

for (const framework of ["react", "vue"]) {
  test(`the page with ${framework}, built by Vite: two of them chat, and go on after their server's end`, async () => {
    const folder = fileURLToPath(new URL(`../../examples/${framework}`, import.meta.url));
    const port = await freePort();
    const pages = await served(folder, `http://127.0.0.1:${port}`);
    let chat = await start("chat", { ORIGIN: pages.url }, { port });
    const [ana, bob] = [await browser.page(pages.url), await browser.page(pages.url)];
    const submit = async (page, text) => {
      await page.locator("button:enabled").waitFor();
      await page.fill("input", text);
      await page.click("button");
    };
    const shows = (page, text) => page.locator("li", { hasText: text }).first().waitFor();
    await submit(ana, " ");
    await ana.locator('[role="alert"]', { hasText: "a name has 1 to 32 letters" }).waitFor();
    await submit(ana, "Ana");
    await shows(ana, "you are here, 1 in all");
    await submit(bob, "Bob");
    await shows(ana, "Bob is here");
    await submit(bob, "hello");
    await shows(ana, "Bob: hello");
    await chat.stop("SIGKILL");
    for (const page of [ana, bob]) await page.locator("p", { hasText: "not connected" }).waitFor();
    chat = await start("chat", { ORIGIN: pages.url }, { port });
    for (const page of [ana, bob]) await page.locator("p", { hasText: /^connected/ }).waitFor();
    await submit(ana, "again");
    await shows(bob, "Ana: again");
    assert.equal(await bob.locator("li", { hasText: "Ana: again" }).count(), 1);
  });
}

/** Builds a page for the server at `url`, and serves what comes of it. */
async function served(folder, url) {
  process.env.VITE_SERVER = url;
  const out = fs.mkdtempSync(path.join(os.tmpdir(), "socketio-page-"));
  // Its packages are those of the tests.
  const packages = path.join(folder, "node_modules");
  if (!fs.existsSync(packages)) fs.symlinkSync(fileURLToPath(new URL("node_modules", import.meta.url)), packages);
  const options = { root: folder, logLevel: "error", cacheDir: path.join(out, "cache"), build: { outDir: path.join(out, "dist") } };
  await build(options);
  const server = await preview({ ...options, preview: { host: "127.0.0.1", port: await freePort() } });
  running.push({
    async stop() {
      await server.close();
      fs.rmSync(out, { recursive: true });
      if (fs.lstatSync(packages).isSymbolicLink()) fs.rmSync(packages);
    },
  });
  return { url: server.resolvedUrls.local[0].replace(/\/$/, "") };
}

describe("webtransport", () => {
  test("a page changes to it", async () => {
    const { url } = await start("webtransport");
    const page = await browser.page(`${url}/`);
    await page.locator("#shown", { hasText: "webtransport" }).waitFor();
    assert.deepEqual(page.errors, []);
  });
});

