// The program and its backend: a real one in Python, which checks the signatures of webhooks with the package
// `standardwebhooks`. Its answers let clients in and are their acknowledgements; it is slow, fails, goes and comes back.
//
//     SERVER_CMD=socketio-server BACKEND_CMD="../python/.venv/bin/python ../python/webhook_backend.py" node --test gateway-webhooks.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { execFileSync, spawnSync } from "node:child_process";
import { text as readText } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { ask, client, connected } from "./lib/client.mjs";
import { commandFrom, Program, startServer } from "./lib/process.mjs";
import { freePort, until } from "./lib/waiting.mjs";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ports = { backend: await freePort(), metrics: await freePort() };
const servers = {};
let backend;

async function startBackend() {
  backend = new Program(commandFrom("BACKEND_CMD"), { PORT: String(ports.backend), SECRET });
  await backend.ready(10_000, () => received());
}

/** A server with the backend and more options. */
async function start(...args) {
  const port = await freePort();
  const to = ["--webhook-url", `http://127.0.0.1:${ports.backend}/hook`, "--webhook-timeout", "1"];
  return startServer([...commandFrom("SERVER_CMD"), "--no-bus", "--listen", String(port), "--drain", "1", ...to, ...args], {}, { port });
}

before(async () => {
  await startBackend();
  const secret = ["--webhook-secret", SECRET];
  const starting = [
    ["usual", [...secret, "--metrics", String(ports.metrics)]],
    ["lenient", [...secret, "--webhook-unanswered", "allow", "--webhook-types", "connect,event"]],
    ["stranger", ["--webhook-secret", "another secret, long enough"]],
  ];
  await Promise.all(starting.map(async ([name, args]) => (servers[name] = await start(...args))));
});

after(async () => {
  await Promise.all(Object.values(servers).map((server) => server.stop()));
  await backend.stop();
});

/** What the backend has received of a socket, each attempt; of all without. */
async function received(id) {
  const all = await (await fetch(`http://127.0.0.1:${ports.backend}/received`)).json();
  return id ? all.filter(({ data }) => data.socket.id === id) : all;
}

/** The events of a socket that the backend has, in order, once `count` are there. */
async function events(id, count) {
  return until(10_000, `${count} events`, async () => {
    const events = (await received(id)).filter(({ type, status }) => type === "event" && status === 204);
    return events.length >= count && events;
  });
}

const enter = (name, who, options) =>
  connected(client(servers[name].url, { auth: { name: who }, extraHeaders: { "X-Seen": "yes" }, transports: ["websocket"], ...options }));

const refused = (name, who) => enter(name, who).then(() => assert.fail("it was let in"), (error) => error.cause);

/** A number of the server. */
async function metric(line) {
  const text = await (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text();
  return Number(text.split("\n").find((found) => found.startsWith(`${line} `)).split(" ")[1]);
}

test("the backend says who comes in, into which rooms, and what is kept of it", async () => {
  const ana = await enter("usual", "ana", { query: { page: "7" } });
  const who = { id: ana.id, namespace: "/", user: "ana", data: { seen: "yes" } };
  assert.deepEqual(await ask(ana, "who"), [{ socket: who, rooms: ["all", "of ana", "user:ana"] }]);
  const [{ type, data, id, timestamp }] = await received(ana.id);
  assert.equal(type, "connect");
  assert.deepEqual([data.auth, data.query.page, data.address, data.rooms, data.socket.user], [{ name: "ana" }, "7", "127.0.0.1", [], null]);
  assert.match(id, /^msg_[0-9a-f]{32}$/);
  assert.ok(Math.abs(new Date(timestamp) - Date.now()) < 60_000);

  const nobody = await enter("usual", "nobody");
  assert.deepEqual((await ask(nobody, "who"))[0].rooms, []);
});

test("whom the backend refuses, or is not asked about, does not come in", async () => {
  const told = async (name, who) => {
    const { message, data } = await refused(name, who);
    return [message, data];
  };
  assert.deepEqual(await told("usual", "mallory"), ["go away", { code: 7 }]);
  const unknown = ["it cannot be decided now whether you may come in", { code: "backend_unavailable" }];
  assert.deepEqual(await told("usual", "broken"), unknown);
  assert.deepEqual(await told("usual", "nonsense"), unknown);
  assert.ok((await enter("lenient", "broken")).connected, "as an option says");
  assert.deepEqual(await told("lenient", "mallory"), ["go away", { code: 7 }]);
  const [message, data] = await told("stranger", "ana");
  assert.match(message, /signature/, "a wrong signature is refused by the backend");
  assert.deepEqual(data, { code: "refused" });
});

test("its answer is the acknowledgement", async () => {
  const ana = await enter("usual", "ana");
  assert.deepEqual(await ask(ana, "sum", 1, 2, 3), [6]);
  assert.deepEqual(await ask(ana, "echo", "ü", null, { deep: [Buffer.from([0, 255])] }), ["ü", null, { deep: [Buffer.from([0, 255])] }]);
  assert.deepEqual(await ask(ana, "nothing"), []);
  assert.equal((await ask(ana, "refuse"))[0].error.code, "refused");
  for (const [name, ...args] of [["flaky", 1], ["text"], ["slow", 1.5]]) {
    assert.equal((await ask(ana, name, ...args))[0].error.code, "backend_unavailable", name);
  }
  const flaky = (await received(ana.id)).filter(({ data }) => data.event === "flaky");
  assert.equal(flaky.length, 1, "nobody waits for a second answer");
});

test("an event is told again until the backend takes it, and those behind it come in order", async () => {
  const [ana, bob] = [await enter("usual", "ana"), await enter("usual", "bob")];
  const before = await metric("socketio_webhook_retries_total");
  ana.emit("flaky", 2, "first");
  ana.emit("second");
  ana.emit("third", Buffer.from("x"));
  bob.emit("meanwhile");
  await events(bob.id, 1);
  assert.equal((await received(ana.id)).filter(({ status }) => status === 204).length, 0, "nobody else waits");
  const taken = await events(ana.id, 3);
  assert.deepEqual(taken.map(({ data }) => [data.event, ...data.args]), [["flaky", 2, "first"], ["second"], ["third", { $base64: "eA==" }]]);
  const attempts = (await received(ana.id)).filter(({ data }) => data.event === "flaky");
  assert.deepEqual(attempts.map(({ id, status }) => `${id} ${status}`), [500, 500, 204].map((status) => `${attempts[0].id} ${status}`));
  assert.equal((await metric("socketio_webhook_retries_total")) - before, 2);
});

test("a slow answer holds up its client alone", async () => {
  const [ana, bob] = [await enter("usual", "ana"), await enter("usual", "bob")];
  ana.emit("slow", 0.8);
  ana.emit("behind");
  const began = Date.now();
  for (let round = 0; round < 5; round++) assert.deepEqual(await ask(bob, "sum", round), [round]);
  assert.ok(Date.now() - began < 700, `${Date.now() - began} ms`);
  assert.deepEqual((await events(ana.id, 2)).map(({ data }) => data.event), ["slow", "behind"]);
});

test("that a client has gone is told last", async () => {
  const ana = await enter("usual", "ana");
  const { id } = ana;
  ana.emit("flaky", 1);
  ana.emit("last");
  ana.disconnect();
  const left = await until(10_000, "it is told", async () => {
    const all = await received(id);
    return all.at(-1)?.type === "disconnect" && all;
  });
  assert.deepEqual(left.map(({ type, data, status }) => `${type} ${data.event ?? ""} ${status}`), ["connect  200", "event flaky 500", "event flaky 204", "event last 204", "disconnect  204"]);
  assert.deepEqual([left.at(-1).data.reason, left.at(-1).data.socket.user], ["client namespace disconnect", "ana"]);
});

test("while the backend is away events wait, and nobody new comes in", async () => {
  const ana = await enter("usual", "ana");
  const lenient = await enter("lenient", "bob");
  await backend.stop("SIGKILL");
  ana.emit("while", "away");
  assert.equal((await ask(lenient, "sum", 1))[0].error.code, "backend_unavailable");
  assert.equal((await refused("usual", "bob")).data.code, "backend_unavailable");
  assert.ok((await enter("lenient", "bob")).connected);
  assert.ok((await metric("socketio_webhooks_waiting")) >= 1);
  await startBackend();
  assert.deepEqual((await events(ana.id, 1)).map(({ data }) => data.args), [["away"]]);
  assert.equal(await metric(`socketio_webhooks_total{type="event",end="failed"}`), 3, "the three acknowledgements of before");
  assert.equal(await metric(`socketio_webhooks_total{type="disconnect",end="dropped"}`), 0);
});

test("a server that ends tells of those who were connected", async () => {
  const [ana, bob] = [await enter("usual", "ana"), await enter("lenient", "bob")].map(({ id }) => id);
  await Promise.all([servers.usual.stop(), servers.lenient.stop()]);
  assert.equal((await received(ana)).at(-1).data.reason, "server shutting down");
  assert.notEqual((await received(bob)).at(-1).type, "disconnect", "which is not among its types");
});

test("the example of the documentation, as it stands there", async (t) => {
  const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
  const page = fs.readFileSync(path.join(docs, "gateway.md"), "utf8");
  const of = { 3000: await freePort(), 3001: await freePort(), 8000: await freePort() };
  const here = (text) => text.replace(/\b(3000|3001|8000)\b/g, (port) => of[port]);
  const block = (start) => here(page.slice(page.indexOf(start) + start.length, page.indexOf("\n```", page.indexOf(start))));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gateway-docs-"));
  const [binary] = commandFrom("SERVER_CMD");
  const PATH = `${path.dirname(binary)}:${process.env.PATH}`;
  fs.copyFileSync(path.join(docs, "examples/backend.py"), path.join(folder, "backend.py"));
  fs.writeFileSync(path.join(folder, "gateway.toml"), block("```toml\n"));
  const commands = block("```sh\n").split("\n");
  const last = [];
  t.after(async () => {
    await Promise.all(last.map((program) => program.stop("SIGKILL")));
    fs.rmSync(folder, { recursive: true });
  });
  for (const command of commands) {
    const starts = command.endsWith("&") || command === commands.at(-1);
    if (starts) last.push(new Program(["sh", "-c", `cd ${folder} && exec ${command.replace(/&$/, "")}`], { PATH }));
    else execFileSync("sh", ["-c", command], { cwd: folder, env: { ...process.env, PATH } });
  }
  const [python, server] = last;
  const url = `http://127.0.0.1:${of[3000]}`;
  const answers = async (port) => (await fetch(`http://127.0.0.1:${port}/`)).status >= 400;
  await python.ready(10_000, () => answers(of[8000]));
  await server.ready(10_000, () => answers(of[3000]));
  const ana = await connected(client(url, { auth: { name: "ana" } }));
  const bob = await connected(client(url, { auth: { name: "bob" } }));
  assert.deepEqual(await ask(ana, "say", "hello"), [{ sent: true }]);
  assert.deepEqual((await bob.heard.next("said")).slice(0, 2), ["ana", "hello"]);
  const nameless = await connected(client(url)).catch((error) => error.cause);
  assert.equal(nameless.message, "who are you?");

  const asked = page.match(/```sh\ncurl [^]*?\n```/g).map((found) => here(found.slice(6, -4))).join("\n");
  const answered = execFileSync("sh", ["-c", asked.replace(/^# .*$/gm, "echo")], { cwd: folder, encoding: "utf8", stdio: "pipe" });
  assert.deepEqual(answered.trim().split("\n"), asked.match(/^# .*$/gm).map((line) => line.slice(2)));
  assert.equal((await ana.heard.next("news"))[0], "hello");

  const lines = page.match(/^socketio-server --(?!config)(?:[^\\\n]|\\\n)+$/gm);
  assert.ok(lines.length >= 2, "the command lines of the other sections");
  for (const line of lines) execFileSync("sh", ["-c", `${line} check`], { cwd: folder, env: { ...process.env, PATH }, stdio: "pipe" });
});

test("a backend behind https is trusted by the authority that an option or SSL_CERT_FILE names, and not without", async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gateway-tls-"));
  const file = (name) => path.join(folder, name);
  const openssl = (line) => execFileSync("openssl", line.split(" "), { cwd: folder, stdio: "pipe" });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  for (const name of ["authority", "stranger"]) openssl(`req -x509 ${key} -days 1 -subj /CN=${name} -keyout ${name}.key -out ${name}.pem`);
  openssl(`req ${key} -subj /CN=backend -keyout backend.key -out backend.csr`);
  fs.writeFileSync(file("names"), "subjectAltName = IP:127.0.0.1\n");
  openssl("x509 -req -in backend.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 1 -extfile names -out backend.pem");
  const events = [];
  const secure = https.createServer({ key: fs.readFileSync(file("backend.key")), cert: fs.readFileSync(file("backend.pem")) }, async (request, response) => {
    const { type, data } = JSON.parse(await readText(request));
    if (type === "event") events.push(data.event);
    response.writeHead(200).end(type === "connect" ? JSON.stringify({ user: data.auth.name }) : "");
  });
  await new Promise((resolve) => secure.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${secure.address().port}/`;
  const numbers = await freePort();
  const own = [];
  const startSecure = async (args, env = {}) => {
    const port = await freePort();
    const options = ["--no-bus", "--listen", String(port), "--drain", "0", "--webhook-url", url, "--webhook-secret", SECRET, ...args];
    own.push(await startServer([...commandFrom("SERVER_CMD"), ...options], { RUST_LOG: "warn", ...env }, { port }));
    return own.at(-1);
  };
  t.after(async () => {
    await Promise.all(own.map((server) => server.stop()));
    secure.close();
    fs.rmSync(folder, { recursive: true });
  });
  const lenient = ["--webhook-unanswered", "allow", "--webhook-attempts", "2", "--metrics", String(numbers)];
  const [by, named, strange] = await Promise.all([
    startSecure(["--webhook-ca", file("authority.pem")]),
    startSecure([], { SSL_CERT_FILE: file("authority.pem") }),
    startSecure(["--webhook-ca", file("stranger.pem"), ...lenient]),
  ]);
  for (const [server, event] of [[by, "by an option"], [named, "by the environment"]]) {
    const ana = await connected(client(server.url, { auth: { name: "ana" } }));
    assert.deepEqual(await ask(ana, event), []);
  }
  assert.deepEqual(events, ["by an option", "by the environment"]);

  const ana = await connected(client(strange.url, { auth: { name: "ana" } }));
  ana.emit("nobody hears it");
  await until(5000, "it is given up", () => strange.output.includes("a webhook is given up"));
  assert.match(strange.output, /cannot be reached: .*UnknownIssuer/);
  const told = await (await fetch(`http://127.0.0.1:${numbers}/metrics`)).text();
  for (const line of [`socketio_webhook_retries_total 1`, `socketio_webhooks_total{type="event",end="failed"} 1`, `socketio_webhooks_total{type="connect",end="failed"} 1`]) {
    assert.ok(told.includes(`\n${line}\n`), `${line} is not in\n${told}`);
  }
  assert.equal(events.length, 2);

  fs.writeFileSync(file("empty.pem"), "");
  const check = [...commandFrom("SERVER_CMD"), "check", "--webhook-url", url, "--webhook-secret", SECRET, "--webhook-ca"];
  for (const [authority, reason] of [["nowhere.pem", /nowhere\.pem/], ["empty.pem", /no authority to trust/]]) {
    const { status, stderr } = spawnSync(check[0], [...check.slice(1), file(authority)], { encoding: "utf8" });
    assert.notEqual(status, 0);
    assert.match(stderr, reason);
  }
});
