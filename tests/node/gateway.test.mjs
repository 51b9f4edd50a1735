// The program as a gateway, for those who write no Rust: tokens of all kinds from real clients, what the HTTP API does on
// two servers with a Redis, and stock emitters beside it.
//
//     SERVER_CMD=socketio-server node --test gateway.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { createClient } from "redis";
import { Emitter } from "@socket.io/redis-emitter";
import { client, connected, reasonOf } from "./lib/client.mjs";
import { commandFrom, startRedis, startServer } from "./lib/process.mjs";
import { keyPair, now, sign } from "./lib/tokens.mjs";
import { freePort, until } from "./lib/waiting.mjs";

const SECRET = "a secret of thirty-two bytes, or more";
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gateway-"));
const file = (name) => path.join(folder, name);
const rsa = keyPair("RS256");
const ec = keyPair("ES256");

const servers = {};
const metrics = await freePort();
const apis = { a: await freePort(), b: await freePort() };
const KEY = "the key of the API";
let redis;

/** A server with these options more than an address. */
async function start(args) {
  const port = await freePort();
  return startServer([...commandFrom("SERVER_CMD"), "--listen", String(port), "--drain", "1", ...args], { RUST_LOG: "warn,socketio_server=debug" }, { port });
}

before(async () => {
  fs.writeFileSync(file("rsa.pem"), rsa.pem);
  fs.writeFileSync(file("keys.json"), JSON.stringify({ keys: [rsa.jwk("one"), ec.jwk("two")] }));
  redis = await startRedis();
  fs.writeFileSync(file("key"), `${KEY}\n`);
  const shared = ["--redis", redis.url, "--recovery", "0", "--jwt-secret", SECRET, "--jwt-audience", "chat", "--namespace", "/open,/shut", "--jwt-namespace", "/,/shut"];
  const starting = [
    ["a", [...shared, "--metrics", String(metrics), "--api", String(apis.a), "--api-key", KEY]],
    ["b", [...shared, "--api", String(apis.b), "--api-key-file", file("key")]],
    ["rsa", ["--no-bus", "--jwt-public-key", file("rsa.pem")]],
    ["set", ["--no-bus", "--jwt-jwks", file("keys.json")]],
  ];
  await Promise.all(starting.map(async ([name, args]) => (servers[name] = await start(args))));
});

after(async () => {
  const ends = await Promise.all(Object.values(servers).map((server) => server.stop()));
  await redis?.stop();
  fs.rmSync(folder, { recursive: true });
  for (const end of ends) assert.match(end, / with 0$/);
});

const url = (name, nsp = "/") => servers[name].url + nsp;
const hs256 = (claims) => sign({ sub: "ana", aud: "chat", ...claims }, SECRET);
const enter = (name, token, nsp) => connected(client(url(name, nsp), { auth: { token } }));

/** With which code and message a client is refused. */
async function refused(name, options, nsp) {
  const error = await connected(client(url(name, nsp), options)).then(
    () => assert.fail("it was let in"),
    (error) => error.cause,
  );
  return `${error.data.code}: ${error.message}`;
}

test("a token lets in, and its rooms are the client's", async () => {
  const emitter = await stockEmitter();
  const ana = await enter("a", hs256({ rooms: ["red"] }));
  const bob = await enter("b", hs256({ sub: "bob", rooms: ["red", "blue"] }));
  emitter.to("red").emit("told", "red");
  emitter.to("user:ana").emit("told", "ana");
  emitter.to("blue").emit("told", "blue");
  emitter.emit("told", "end");
  const told = async (socket, count) => (await socket.heard.take("told", count)).flat();
  assert.deepEqual(await told(ana, 3), ["red", "ana", "end"]);
  assert.deepEqual(await told(bob, 3), ["red", "blue", "end"]);
});

/** What backends in Node.js send with, unchanged. */
async function stockEmitter() {
  const connection = createClient({ url: redis.url });
  await connection.connect();
  after(() => connection.destroy());
  return new Emitter(connection);
}

test("what is wrong with a token is told", async () => {
  const claims = { sub: "ana", aud: "chat" };
  const unsigned = sign(claims, SECRET, "HS256", { alg: "none" }).replace(/[^.]*$/, "");
  const ended = now() - 1;
  for (const [token, told] of [
    [undefined, /^token_missing: a token is needed/],
    ["nonsense", /^token_malformed: /],
    [sign(claims, "another secret of thirty-two bytes, or more"), /^token_wrong_signature: /],
    [sign(claims, SECRET, "HS256", { alg: "RS256" }), /^token_wrong_algorithm: /],
    [unsigned, /^token_wrong_algorithm: /],
    [hs256({ exp: ended }), /^token_expired: the token has expired/],
    [hs256({ exp: undefined }), /^token_malformed: /],
    [hs256({ nbf: now() + 60 }), /^token_not_yet_valid: /],
    [hs256({ aud: ["game"] }), /^token_wrong_audience: /],
    [hs256({ rooms: Array.from({ length: 10_000 }, (_, room) => `r${room}`) }), /^token_rooms: /],
  ]) {
    assert.match(await refused("a", { auth: { token } }), told);
  }
});

test("RS256 by a public key, which is taken for no secret", async () => {
  assert.ok((await enter("rsa", sign({}, rsa.private, "RS256"))).connected);
  assert.match(await refused("rsa", { auth: { token: sign({}, rsa.pem) } }), /^token_wrong_algorithm: /);
  assert.match(await refused("rsa", { auth: { token: sign({}, keyPair("RS256").private, "RS256") } }), /^token_wrong_signature: /);
});

test("a set of keys, which is read again when it changes", async () => {
  const one = sign({}, rsa.private, "RS256", { kid: "one" });
  assert.ok((await enter("set", one)).connected);
  assert.ok((await enter("set", sign({}, ec.private, "ES256", { kid: "two" }))).connected);
  assert.ok((await enter("set", sign({}, ec.private, "ES256"))).connected, "a token that names no key is tried with each");
  assert.match(await refused("set", { auth: { token: sign({}, ec.private, "ES256", { kid: "one" }) } }), /^token_wrong_algorithm: /);
  const added = keyPair("ES256");
  const three = sign({}, added.private, "ES256", { kid: "three" });
  assert.match(await refused("set", { auth: { token: three } }), /^token_unknown_key: /);
  fs.writeFileSync(file("new.json"), JSON.stringify({ keys: [added.jwk("three")] }));
  fs.renameSync(file("new.json"), file("keys.json"));
  servers.set.signal("SIGHUP");
  await until(5000, "the new key is known", () => enter("set", three));
  assert.match(await refused("set", { auth: { token: one } }), /^token_unknown_key: /);
});

test("a client goes when its token ends, by itself, from that namespace alone", async () => {
  const socket = await enter("a", hs256({ exp: Math.floor(now()) + 2 }));
  assert.ok(now() < JSON.parse(Buffer.from(socket.auth.token.split(".")[1], "base64url")).exp);
  const open = await connected(socket.io.socket("/open", { auth: {} }));
  assert.equal(await reasonOf(socket), "io server disconnect");
  assert.ok(now() >= JSON.parse(Buffer.from(socket.auth.token.split(".")[1], "base64url")).exp - 0.05);
  assert.ok(open.connected);
});

test("who comes back after a moment shows a token again, and is the same user", async () => {
  const token = (sub, more) => sign({ sub, ...more }, rsa.private, "RS256");
  const socket = await enter("rsa", token("ana", { rooms: ["red"] }));
  const back = (token) => {
    socket.auth = { token };
    return connected(socket.connect()).then(() => socket.recovered, (error) => error.cause.data.code);
  };
  const away = async (token) => {
    const closed = reasonOf(socket);
    socket.io.engine.close();
    await closed;
    return back(token);
  };
  assert.equal(await away(token("ana")), true);
  assert.equal(await away(token("bob")), "other_user");
  assert.equal(await back(token("bob")), false, "a session of its own");
  assert.equal(await away(token("bob", { exp: now() - 1 })), "token_expired");
});

test("in which namespaces a token is needed is a setting", async () => {
  assert.ok((await enter("a", undefined, "/open")).connected);
  assert.match(await refused("a", { auth: { token: "nonsense" } }, "/open"), /^token_malformed: /);
  assert.match(await refused("a", {}, "/shut"), /^token_missing: /);
  const nowhere = await connected(client(url("a", "/nowhere"))).catch((error) => error);
  assert.match(nowhere.message, /Invalid namespace/);
});

test("clients of all versions show their token as they can", async () => {
  const token = hs256();
  assert.ok((await connected(client(url("a"), { query: { token } }, 2))).connected, "version 2 by its query");
  assert.ok((await connected(client(url("a"), { auth: { token } }, 3))).connected, "version 3");
  const extraHeaders = { Authorization: `Bearer ${token}` };
  assert.ok((await connected(client(url("a"), { extraHeaders }))).connected, "a header");
  assert.match(await refused("a", { query: { token } }), /^token_missing: /);
});

test("there is no page for everybody, and clients say nothing to each other", async () => {
  assert.equal((await fetch(url("a"))).status, 404);
  const [ana, bob] = [await enter("a", hs256()), await enter("b", hs256({ sub: "bob" }))];
  const came = async () => Number(/^socketio_received_events_total (\d+)$/m.exec(await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text())[1]);
  const before = await came();
  ana.emit("chat", { name: "ana", text: "hi" });
  ana.emit("join", "red", () => assert.fail("nobody answers"));
  const emitter = await stockEmitter();
  await until(5000, "ana's events have come", async () => (await came()) === before + 2);
  emitter.emit("end");
  await bob.heard.next("end");
  assert.deepEqual(bob.heard.all.map(([name]) => name), ["end"]);
});

/** What the API of server `name` answers: the status, and the body, read. */
async function api(name, path, body, { method = body === undefined ? "GET" : "POST", key = KEY, headers } = {}) {
  const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const type = sent === undefined ? {} : { "content-type": "application/json" };
  const auth = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(`http://127.0.0.1:${apis[name]}${path}`, { method, body: sent, headers: { ...type, ...auth, ...headers } });
  assert.equal(answer.headers.get("content-type"), "application/json");
  return { status: answer.status, headers: answer.headers, ...(await answer.json()) };
}

/** The body, of an answer that it is done. */
async function asked(name, path, body) {
  const { status, headers, ...answer } = await api(name, path, body);
  assert.equal(status, 200, JSON.stringify(answer));
  return answer;
}

test("the API sends on all servers, to rooms, users, sockets, and not who is excepted; binary, too", async () => {
  const ana = await enter("a", hs256({ rooms: ["red"] }));
  const bob = await enter("b", hs256({ sub: "bob", rooms: ["red"] }));
  const open = await enter("b", undefined, "/open");
  const done = { done: true };
  assert.deepEqual(await asked("a", "/emit", { event: "told", args: ["all", { $base64: "AAH/" }] }), done);
  await asked("b", "/emit", { event: "told", args: ["red"], to: ["red"], except: ["user:bob"] });
  await asked("a", "/emit", { event: "told", args: ["bob"], to: ["user:bob"], volatile: true });
  await asked("a", "/emit", { event: "told", args: ["both"], to: [ana.id, bob.id] });
  await asked("a", "/emit", { event: "told", args: [], namespace: "/open" });
  await asked("b", "/emit", { event: "end" });
  await Promise.all([ana, bob].map((socket) => socket.heard.next("end")));
  const told = (socket) => socket.heard.all.filter(([name]) => name === "told").map(([, ...args]) => args);
  const all = ["all", Buffer.from([0, 1, 255])];
  assert.deepEqual(told(ana), [all, ["red"], ["both"]]);
  assert.deepEqual(told(bob), [all, ["bob"], ["both"]]);
  assert.deepEqual(await open.heard.next("told"), []);
});

test("the API tells who answers, and who does not", async () => {
  const ana = await enter("a", hs256());
  const bob = await enter("b", hs256({ sub: "bob" }));
  const eve = await enter("b", hs256({ sub: "eve" }));
  ana.on("turn", (card, answer) => answer({ plays: Buffer.from([card]) }));
  bob.on("turn", (card, answer) => answer());
  const { answers, missing } = await asked("a", "/emit", { event: "turn", args: [7], ack: 0.5 });
  assert.deepEqual(answers.sort((one) => (one.socket === ana.id ? -1 : 1)), [
    { socket: ana.id, answer: { plays: { $base64: "Bw==" } } },
    { socket: bob.id, answer: null },
  ]);
  assert.deepEqual(missing, [eve.id]);
});

test("the API moves sockets, disconnects them, and tells who is where", async () => {
  const ana = await enter("a", hs256());
  const bob = await enter("b", hs256({ sub: "bob", rooms: ["red"] }));
  await asked("a", "/join", { rooms: ["red", "blue"], to: ["user:ana"] });
  await asked("b", "/leave", { rooms: ["blue"], to: [ana.id] });
  const { rooms } = await until(5000, "ana is in red alone", async () => {
    const answer = await asked("b", "/rooms");
    return answer.rooms.some(({ name, sockets }) => name === "red" && sockets === 2) && !answer.rooms.some(({ name }) => name === "blue") && answer;
  });
  assert.deepEqual(rooms.filter(({ name }) => /^(red|user)/.test(name)).map(({ name, sockets }) => `${name} ${sockets}`), ["red 2", "user:ana 1", "user:bob 1"]);

  const { sockets, missing_servers } = await asked("a", "/sockets?room=red");
  assert.equal(missing_servers, 0);
  assert.deepEqual(sockets.map(({ user }) => user).sort(), ["ana", "bob"]);
  const { address, connected_at, data, ...known } = sockets.find(({ user }) => user === "bob");
  assert.deepEqual(known, { id: bob.id, user: "bob", rooms: ["red", "user:bob"] });
  assert.equal(address, "127.0.0.1");
  assert.ok(Math.abs(connected_at - Date.now()) < 60_000 && data.ends > now());
  for (const [query, count] of [["", 2], ["?user=bob", 1], ["?room=red", 2], ["?room=red&user=ana", 1], ["?room=blue", 0], ["?namespace=%2Fopen", 0]]) {
    assert.deepEqual(await asked("b", `/count${query}`), { count, missing_servers: 0 }, query);
  }

  const gone = reasonOf(bob);
  await asked("a", "/disconnect", { to: ["user:bob"] });
  assert.equal(await gone, "io server disconnect");
  assert.ok(ana.connected);
});

test("the API says what is wrong with a request", async () => {
  for (const [path, body, options, status, code] of [
    ["/emit", { event: "a" }, { key: "" }, 401, "unauthorized"],
    ["/emit", { event: "a" }, { key: `${KEY}!` }, 401, "unauthorized"],
    ["/nowhere", undefined, { key: "" }, 401, "unauthorized"],
    ["/nowhere", undefined, {}, 404, "not_found"],
    ["/emit", undefined, {}, 405, "method_not_allowed"],
    ["/rooms", {}, {}, 405, "method_not_allowed"],
    ["/emit", "{}", { headers: { "content-type": "text/plain" } }, 415, "unsupported_media_type"],
    ["/emit", JSON.stringify({ event: "x".repeat(1 << 20) }), {}, 413, "payload_too_large"],
    ["/emit", "{", {}, 400, "bad_request"],
    ["/emit", {}, {}, 400, "bad_request"],
    ["/emit", { event: "a", evnt: "b" }, {}, 400, "bad_request"],
    ["/emit", { event: "a", to: [] }, {}, 400, "bad_request"],
    ["/emit", { event: "a", to: null }, {}, 400, "bad_request"],
    ["/emit", { event: "" }, {}, 400, "reserved_event"],
    ["/emit", { event: "a", ack: 61 }, {}, 400, "bad_request"],
    ["/emit", { event: "connect" }, {}, 400, "reserved_event"],
    ["/emit", { event: "connect", ack: 1 }, {}, 400, "reserved_event"],
    ["/emit", { event: "a", namespace: "/nowhere" }, {}, 404, "unknown_namespace"],
    ["/join", { rooms: ["a"], to: [] }, {}, 400, "bad_request"],
    ["/join", { rooms: ["a"] }, {}, 400, "bad_request"],
    ["/disconnect", {}, {}, 400, "bad_request"],
    ["/sockets?rom=a", undefined, {}, 400, "bad_request"],
  ]) {
    const answer = await api("a", path, body, options);
    assert.deepEqual([answer.status, answer.error.code], [status, code], `${path} ${JSON.stringify(body)}: ${answer.error.message}`);
  }
  assert.equal((await api("a", "/emit")).headers.get("allow"), "POST");
  assert.equal((await api("a", "/emit", {}, { key: "" })).headers.get("www-authenticate"), "Bearer");
  assert.equal((await api("a", "/openapi.json", undefined, { key: "" })).openapi, "3.1.0");
});
