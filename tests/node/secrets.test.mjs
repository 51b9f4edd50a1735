// Nothing that is secret is in the log of the program, at the most talkative level of each part: its own targets, and those
// of the libraries below it (HTTP/1.1, HTTP/2, TLS, what carries to Redis).
//
// CERT and KEY name a certificate and its key, PEM files; KEEP is where the log is left to be looked at.
//
//     SERVER_CMD=socketio-server node --test secrets.test.mjs

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { ask, client, connected, libraries } from "./lib/client.mjs";
import { commandFrom, Program, startRedis } from "./lib/process.mjs";
import { sign } from "./lib/tokens.mjs";
import { event, freePort, until } from "./lib/waiting.mjs";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // The certificate is our own.
const rejectUnauthorized = false;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "secrets-"));
const log = path.join(folder, "log");
const ports = { server: await freePort(), api: await freePort(), backend: await freePort() };

/** Whatever is secret, by what it is. Those that are made later are added. */
const secrets = {
  "password of Redis": "pass-of-redis-4711",
  "secret of JWTs": "secret-of-the-tokens-that-is-long-enough",
  "key of the API": "key-of-the-api-0815",
  "wrong key of the API": "guess-of-the-key-1234",
  "secret of webhooks": "secret-of-the-webhooks-1",
  "answer of the backend": "told-by-the-backend-77",
  Authorization: "authorization-of-ana-1",
  Cookie: "cookie-of-ana-2",
  "text of the query": "query-of-ana-3",
  "text of auth": "auth-of-ana-4",
  "argument of an event": "said-by-ana-5",
  "argument from the server": "said-to-ana-6",
  "broken packet": "broken-by-ana-7",
  "key of the certificate": fs.readFileSync(process.env.KEY, "utf8").split("\n")[1],
};
const url = `https://127.0.0.1:${ports.server}`;
const token = (claims) => sign({ sub: "ana", ...claims }, secrets["secret of JWTs"]);

let redis, server, backend;
before(async () => {
  const hooked = { user: "ana", data: { told: secrets["answer of the backend"] } };
  backend = http.createServer((request, response) => request.resume().on("end", () => response.end(JSON.stringify(hooked))));
  await new Promise((resolve) => backend.listen(ports.backend, "127.0.0.1", resolve));
  redis = await startRedis(undefined, ["--user", "ana", "on", `>${secrets["password of Redis"]}`, "~*", "&*", "+@all"]);
  const options = [
    ["--listen", `127.0.0.1:${ports.server}`, "--drain", "1", "--tls-cert", process.env.CERT, "--tls-key", process.env.KEY],
    ["--redis", `redis://ana:${secrets["password of Redis"]}@127.0.0.1:${redis.port}`],
    ["--jwt-secret", secrets["secret of JWTs"]],
    ["--api", `127.0.0.1:${ports.api}`, "--api-key", secrets["key of the API"]],
    ["--webhook-url", `http://127.0.0.1:${ports.backend}/hook`, "--webhook-secret", secrets["secret of webhooks"]],
  ];
  const command = [...commandFrom("SERVER_CMD"), ...options.flat()];
  const whole = ["sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", log, ...command];
  server = await new Program(whole, { RUST_LOG: "trace", NO_COLOR: "1" }).ready(10_000, () => fetch(`${url}/`));
});

after(async () => {
  await server?.stop();
  await redis?.stop();
  backend.close();
  if (process.env.KEEP) fs.copyFileSync(log, process.env.KEEP);
  fs.rmSync(folder, { recursive: true });
});

const query = () => ({ password: secrets["text of the query"] });
const headers = () => ({ authorization: `Bearer ${secrets.Authorization}`, cookie: `session=${secrets.Cookie}` });

test("no secret is in the log at level trace", async () => {
  // Clients of all transports, one of which is cut off and comes back to its session.
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const good = (secrets[`token of ${transports}`] = token({ over: transports }));
    const auth = { token: good, password: secrets["text of auth"] };
    const ana = await connected(client(url, { rejectUnauthorized, transports, auth, query: query(), extraHeaders: headers(), reconnection: true, reconnectionDelay: 10 }));
    secrets[`session of ${transports}`] = ana.io.engine.id;
    await ask(ana, "say", secrets["argument of an event"]);
    assert.ok((secrets[`place of ${transports}`] = ana._pid));
    await api("/emit", { event: "told", args: [secrets["argument from the server"]] });
    await ana.heard.take("told", 1);
    const back = event(ana, "connect");
    ana.io.engine.close();
    await back;
    assert.ok(ana.recovered, "it is back");
    secrets[`second session of ${transports}`] = ana.io.engine.id;
    ana.io.reconnection(false);
    ana.disconnect();
  }
  const old = libraries[2](url, { rejectUnauthorized, forceNew: true, transports: ["websocket"], query: { ...query(), token: (secrets["token of version 2"] = token({ v: 2 })) } });
  await connected(old);
  old.close();

  // What is wrong, and refused.
  const bad = (secrets["bad token"] = sign({ sub: "ana" }, "another secret that is long enough to be one"));
  await assert.rejects(connected(client(url, { rejectUnauthorized, auth: { token: bad } })), /token_wrong_signature|refused/);
  assert.equal((await api("/emit", { event: "told" }, secrets["wrong key of the API"])).status, 401);
  assert.equal((await api("/emit", `{"event": "${secrets["argument from the server"]}`)).status, 400);
  await polling();
  await overHttp2();

  const everything = () => fs.readFileSync(log, "utf8");
  await until(5000, "it logs what its libraries say, too", () => [/TRACE.* h2::/, /hyper_util::/, /rustls::/, /socketio::socket/].every((text) => text.test(everything())));
  const text = everything();
  for (const [what, secret] of Object.entries(secrets)) {
    for (const form of [secret, Buffer.from(secret).toString("base64").replace(/=*$/, ""), encodeURIComponent(secret)]) {
      const line = text.split("\n").find((line) => line.includes(form));
      assert.equal(line, undefined, `${what} is in the log`);
    }
  }
});

async function api(at, body, key = secrets["key of the API"]) {
  const sent = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(`http://127.0.0.1:${ports.api}${at}`, {
    method: "POST",
    body: sent,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
  });
  await answer.text();
  return answer;
}

/** By hand: a session that ends with a packet that nobody can read. */
async function polling() {
  const at = `${url}/socket.io/?EIO=4&transport=polling&${new URLSearchParams(query())}`;
  const open = await (await fetch(at, { headers: headers() })).text();
  const { sid } = JSON.parse(open.slice(1));
  secrets["session of polling"] = sid;
  const session = `${at}&sid=${sid}`;
  const post = (body) => fetch(session, { method: "POST", body, headers: headers() });
  await post(`40${JSON.stringify({ token: (secrets["token of polling"] = token({ by: "hand" })) })}`);
  await (await fetch(session, { headers: headers() })).text();
  await post(`42["${secrets["broken packet"]}`);
  await (await fetch(session, { headers: headers() })).text();
  await fetch(`${url}/${secrets["text of the query"]}`, { headers: headers() });
}

async function overHttp2() {
  const session = http2.connect(url, { rejectUnauthorized });
  const request = session.request({ ":path": `/socket.io/?EIO=4&transport=polling&${new URLSearchParams(query())}`, ...headers() });
  request.resume();
  await event(request, "end");
  session.close();
}
