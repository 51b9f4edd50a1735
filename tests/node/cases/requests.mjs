// What both servers are asked in compare.test.mjs: `[options, what it is, transcript of one side]`.

import { sleep } from "../lib/waiting.mjs";
import { frame, header } from "../lib/websocket.mjs";

/** One request, as a case. */
const one = (method, target, options) => async (wire) => [await wire.request(method, target, options)];
const get = (target, headers) => one("GET", target, { headers });
/** One request for a WebSocket, with what comes on it. */
const ws = (target, headers, frames = 0) => async (wire) => {
  const socket = await wire.webSocket(target, headers);
  return [socket.answer, ...(await socket.next(frames))];
};
const refusedWs = (target, headers) => async (wire) => [(await wire.webSocket(target, headers)).answer];

/** A session over polling: `bodies` are posted one by one, then it is polled until `packets` packets came. */
const session = (query, bodies, polls, { headers, jsonp } = {}) => async (wire) => {
  const { opened, session } = await wire.open(query);
  const transcript = [opened];
  for (const body of bodies) transcript.push(await wire.post(session, body, headers));
  for (let i = 0; i < polls; i++) transcript.push(await wire.get(session));
  return transcript;
};

const HANDSHAKE = "?EIO=4&transport=polling";
const SOCKET = "?EIO=4&transport=websocket";
const RS = "\u001e";
const octets = { "content-type": "application/octet-stream" };
const form = { "content-type": "application/x-www-form-urlencoded" };

/** Packets of version 3 as one payload. */
const v3 = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

const handshakes = [
  ["default", "a handshake over polling", get(HANDSHAKE)],
  ["default", "a handshake of version 3", get("?EIO=3&transport=polling")],
  ["default", "a handshake of version 3 with b64", get("?EIO=3&transport=polling&b64=1")],
  ["default", "a handshake by JSONP", get("?EIO=3&transport=polling&j=0&b64=1")],
  ["default", "a handshake by JSONP of version 4", get("?EIO=4&transport=polling&j=12")],
  ["default", "JSONP with an index that is no number", get("?EIO=4&transport=polling&j=a1b2")],
  ["default", "JSONP with an empty index", get("?EIO=4&transport=polling&j=")],
  ["default", "without EIO it is version 3", get("?transport=polling")],
  ["default", "an unknown EIO is version 3", get("?EIO=5&transport=polling")],
  ["default", "EIO=04 is version 3", get("?EIO=04&transport=polling")],
  ["default", "with t, as clients make it", get("?EIO=4&transport=polling&t=Pabc123")],
  ["default", "members in another order", get("?transport=polling&t=1&EIO=4")],
  ["default", "escaped members", get("?%45IO=4&transport=%70olling")],
  ["default", "an empty sid is none", get("?EIO=4&transport=polling&sid=")],
  ["default", "of doubled members the last counts: version", get("?EIO=3&EIO=4&transport=polling")],
  ["default", "of doubled members the last counts: transport", get("?EIO=4&transport=websocket&transport=polling")],
  ["default", "of doubled members the last counts: wrong transport", get("?EIO=4&transport=polling&transport=x")],
  ["default", "a member without a value", get("?EIO=4&transport=polling&flag")],
  ["default", "a broken escape", get("?EIO=4&transport=polling&a=%zz%")],
  ["default", "a second question mark", get("?EIO=4&transport=polling&a=b?c=d")],
  ["default", "empty members", get("?&&EIO=4&&transport=polling&")],
  ["default", "a path below ours", get("/socket.io/foo/bar?EIO=4&transport=polling")],
  ["default", "a path without its slash", get("/socket.io?EIO=4&transport=polling")],
  ["default", "a path that begins like ours", get("/socket.iox/?EIO=4&transport=polling")],
  ["default", "a path of nobody", get("/")],
  ["default", "a user agent that wants no XSS filter", get(HANDSHAKE, { "user-agent": "Mozilla/5.0 Trident/7.0" })],
  ["default", "a user agent of MSIE", get(HANDSHAKE, { "user-agent": "Mozilla/4.0 (compatible;MSIE 8.0)" })],
  ["default", "an Origin without CORS", get(HANDSHAKE, { origin: "http://127.0.0.1" })],
  ["default", "a GET with a body", one("GET", HANDSHAKE, { body: "4hello" })],
  ["default", "an answer too small to compress", get(HANDSHAKE, { "accept-encoding": "gzip, deflate" })],
  ["today", "a handshake", get(HANDSHAKE)],
  ["path", "a path without a slash at its end", get("?EIO=4&transport=polling")],
  ["path", "a path with one", get("/chat/?EIO=4&transport=polling")],
  ["path", "a path that begins like it", get("/chatter?EIO=4&transport=polling")],
  ["path", "client files that are not served", get("/chat/socket.io.js")],
  ["polling", "no upgrades on offer", get(HANDSHAKE)],
  ["no-upgrades", "no upgrades on offer", get(HANDSHAKE)],
  ["small", "maxPayload in the open packet", get(HANDSHAKE)],
  ["websocket", "polling where only WebSocket is served", get(HANDSHAKE)],
];

const errors = [
  ["default", "no query at all", get("/socket.io/")],
  ["default", "no transport", get("?EIO=4")],
  ["default", "an unknown transport", get("?EIO=4&transport=carrier-pigeon")],
  ["default", "an empty transport", get("?EIO=4&transport=")],
  ["default", "a transport in capitals", get("?EIO=4&transport=POLLING")],
  ["default", "WebTransport by HTTP", get("?EIO=4&transport=webtransport")],
  ["default", "a transport named like a property", get("?EIO=4&transport=__proto__")],
  ["default", "an unknown session", get("?EIO=4&transport=polling&sid=abc")],
  ["default", "a session named like a property", get("?EIO=4&transport=polling&sid=constructor")],
  ["default", "a POST to an unknown session", one("POST", "?EIO=4&transport=polling&sid=abc", { body: "40" })],
  ...["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"].map((method) => ["default", `a handshake by ${method}`, one(method, HANDSHAKE)]),
  ["default", "a WebSocket without an upgrade", get(SOCKET)],
  ["today", "version 3 where it is not served", get("?EIO=3&transport=polling")],
  ["today", "no EIO where version 3 is not served", get("?transport=polling")],
  ["today", "an unknown EIO where version 3 is not served", get("?EIO=abc&transport=polling")],
  ["deny", "a refused handshake", get(HANDSHAKE, { "x-deny": "1" })],
  ["deny", "one that is not refused", get(HANDSHAKE)],
  ["deny", "a wrong transport is told before anyone is asked", get("?EIO=4&transport=x", { "x-deny": "1" })],
  ["default", "another transport than the session's", async (wire) => {
    const { sid } = await wire.open();
    return [await wire.get(`?EIO=4&transport=websocket&sid=${sid}`)];
  }],
  ["default", "another version than the session's", async (wire) => {
    const { sid } = await wire.open();
    return [await wire.get(`?EIO=3&transport=polling&sid=${sid}`)];
  }],
  ...["PUT", "DELETE", "PATCH", "OPTIONS"].map((method) => ["default", `${method} to a session`, async (wire) => {
    const { session } = await wire.open();
    return [await wire.request(method, session)];
  }]),
];

const preflight = (origin, more) => ({ origin, "access-control-request-method": "POST", ...more });
const asking = { "access-control-request-headers": "x-own, content-type" };
const cors = ["cors-any", "cors-list", "cors-all"].flatMap((set) => [
  [set, "a handshake without an origin", get(HANDSHAKE)],
  [set, "a handshake of a page", get(HANDSHAKE, { origin: "http://a.test" })],
  [set, "a handshake of another page", get(HANDSHAKE, { origin: "http://evil.test" })],
  [set, "an error for a page", get("?EIO=4&transport=x", { origin: "http://b.test" })],
  [set, "a preflight", one("OPTIONS", HANDSHAKE, { headers: preflight("http://a.test") })],
  [set, "a preflight that asks for headers", one("OPTIONS", HANDSHAKE, { headers: preflight("http://a.test", asking) })],
  [set, "a preflight of another page", one("OPTIONS", HANDSHAKE, { headers: preflight("http://evil.test") })],
  [set, "OPTIONS that is no preflight", one("OPTIONS", HANDSHAKE)],
  [set, "a POST of a page", async (wire) => {
    const headers = { origin: "http://a.test" };
    const { session } = await wire.open("EIO=4", { headers });
    return [await wire.post(session, "40", headers), await wire.get(session, { headers })];
  }],
  [set, "a WebSocket of a page", refusedWs(SOCKET, { origin: "http://a.test" })],
  [set, "a client file for a page", one("HEAD", "/socket.io/socket.io.js", { headers: { origin: "http://a.test" } })],
]);

const cookies = ["cookie", "cookie-all"].flatMap((set) => [
  [set, "the cookie of a handshake", get(HANDSHAKE)],
  [set, "the cookie of a WebSocket handshake", refusedWs(SOCKET)],
  [set, "no cookie in further answers", async (wire) => {
    const { session } = await wire.open();
    return [await wire.post(session, "40"), await wire.get(session)];
  }],
]);

const polling = [
  ["default", "CONNECT", session("EIO=4", ["40"], 1)],
  ["default", "CONNECT with auth", session("EIO=4", ['40{"token":"x"}'], 1)],
  ["default", "CONNECT to another namespace", session("EIO=4", ["40/custom,"], 1)],
  ["default", "CONNECT to a namespace without its comma", session("EIO=4", ["40/custom"], 1)],
  ["default", "CONNECT to an unknown namespace", session("EIO=4", ["40/nowhere,"], 1)],
  ["default", "a namespace with a query is another name", session("EIO=4", ["40/custom?a=1,"], 1)],
  ["default", "CONNECT that is refused", session("EIO=4", ["40/refuse,"], 1)],
  ["default", "an event and its answer", session("EIO=4", ["40", '42["message",1,"é€🚀",{"a":[null,true]}]'], 1)],
  ["default", "an acknowledgement", session("EIO=4", ["40", '4212["message-with-ack","x",2]'], 1)],
  ["default", "an acknowledgement in a namespace", session("EIO=4", ["40/custom,", '42/custom,0["message-with-ack"]'], 1)],
  ["default", "several events in one payload", session("EIO=4", ["40", `42["message",1]${RS}42["message",2]${RS}423["message-with-ack"]`], 1)],
  ["default", "binary both ways", session("EIO=4", ["40", `451-["message",{"_placeholder":true,"num":0}]${RS}bAQIDBA==`], 1)],
  ["default", "two binaries, swapped", session("EIO=4", ["40", `452-["message",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]${RS}bAQ==${RS}bAg==`], 1)],
  ["default", "empty binary", session("EIO=4", ["40", `451-["message",{"_placeholder":true,"num":0}]${RS}b`], 1)],
  ["default", "a binary acknowledgement", session("EIO=4", ["40", `451-7["message-with-ack",{"_placeholder":true,"num":0}]${RS}b/+8=`], 1)],
  ["default", "the client disconnects", session("EIO=4", ["40", "41", "40"], 1)],
  ["default", "an event nobody listens to", session("EIO=4", ["40", '42["nobody"]', '421["message-with-ack"]'], 1)],
  ["default", "control characters in text", session("EIO=4", ["40", '42["message","\\u001e\\u0000\\u2028\\"\\\\"]'], 1)],
  ["default", "the server disconnects a socket", session("EIO=4", ["40", '42["kick"]'], 1)],
  ["default", "the server closes the connection", session("EIO=4", ["40", '42["close"]'], 2)],
  ["default", "a POST with a charset", session("EIO=4", ["40"], 1, { headers: { "content-type": "text/plain; charset=iso-8859-1" } })],
  ["default", "a POST without a type", session("EIO=4", ["40"], 1, { headers: {} })],
  ["default", "a POST of octets", session("EIO=4", [Buffer.from("40")], 1, { headers: octets })],
  ["default", "an empty POST", session("EIO=4", [""], 1)],
  ["default", "an unknown packet", session("EIO=4", ["x"], 1)],
  ["default", "a good packet before an unknown one", session("EIO=4", [`40${RS}9`], 1)],
  ["default", "a separator at the end", session("EIO=4", [`40${RS}`], 1)],
  ["default", "packets that a client may send and nobody needs", session("EIO=4", [`0${RS}5${RS}6`, "40"], 1)],
  ["default", "a ping of the client", session("EIO=4", ["2"], 1)],
  ["default", "a pong that nobody asked for", session("EIO=4", ["3", "40"], 1)],
  ["default", "a Socket.IO packet of no type", session("EIO=4", ["47"], 2)],
  ["default", "an event before CONNECT", session("EIO=4", ['42["message"]'], 2)],
  ["default", "broken JSON", session("EIO=4", ["40", '42["message"'], 2)],
  ["default", "an event without a name", session("EIO=4", ["40", "42[]"], 2)],
  ["default", "a reserved event", session("EIO=4", ["40", '42["disconnect"]'], 2)],
  ["default", "too many attachments", session("EIO=4", ["40", '4511-["message"]'], 2)],
  ["default", "CONNECT with a list", session("EIO=4", ["40[1]"], 2)],
  ["default", "the client says goodbye", async (wire) => {
    const { session } = await wire.open();
    const poll = wire.get(session);
    await sleep(50);
    return [await wire.post(session, "1"), await poll, await wire.get(session)];
  }],
  ["default", "a second poll while one waits", async (wire) => {
    const { session } = await wire.open();
    const first = wire.get(session);
    await sleep(50);
    return [await wire.get(session), await first, await wire.get(session)];
  }],
  ["default", "an unknown packet while a poll waits", async (wire) => {
    const { session } = await wire.open();
    const poll = wire.get(session);
    await sleep(50);
    return [await wire.post(session, "x"), await poll, await wire.get(session)];
  }],
  ["default", "an event reaches the poll that waits", async (wire) => {
    const { session } = await wire.open();
    await wire.post(session, "40");
    await wire.get(session);
    const poll = wire.get(session);
    await sleep(50);
    return [await wire.post(session, '42["message","late"]'), await poll];
  }],
  ["small", "a body of 100 bytes", session("EIO=4", ["40", `42["message","${"x".repeat(84)}"]`], 1)],
  ["small", "a body of 101 bytes", session("EIO=4", ["40", `42["message","${"x".repeat(85)}"]`], 0)],
  ["small", "a body of 101 bytes in characters of two", session("EIO=4", ["40", `42["message","${"é".repeat(43)}"]`], 0)],
  ["default", "a large answer, as the client can unpack it", async (wire) => {
    const { session } = await wire.open();
    await wire.post(session, "40");
    await wire.get(session);
    await wire.post(session, `42["message","${"x".repeat(3000)}"]`);
    const { status, body } = await wire.get(session, { headers: { "accept-encoding": "gzip" } });
    return [status, body];
  }],
  ["default", "a large answer that may not be packed", async (wire) => {
    const { session } = await wire.open();
    await wire.post(session, "40");
    await wire.get(session);
    await wire.post(session, `42["message","${"x".repeat(3000)}"]`);
    return [await wire.get(session)];
  }],
];

const old = [
  ["default", "`/` is there unasked", session("EIO=3", [], 1)],
  ["default", "text of version 3", session("EIO=3", [v3('42["message","é€🚀",1]')], 1)],
  ["default", "two packets", session("EIO=3", [v3('42["message",1]', '42["message",2]')], 1)],
  ["default", "a ping", session("EIO=3", [v3("2")], 1)],
  ["default", "a ping with data", session("EIO=3", [v3("2probe")], 1)],
  ["default", "another namespace", session("EIO=3", [v3("40/custom,")], 1)],
  ["default", "a namespace with a query", session("EIO=3", [v3("40/custom?a=b&c=d")], 1)],
  ["default", "a namespace that refuses", session("EIO=3", [v3("40/refuse,")], 1)],
  ["default", "an unknown namespace", session("EIO=3", [v3("40/nowhere,")], 1)],
  ["default", "an acknowledgement", session("EIO=3", [v3('4212["message-with-ack",1]')], 1)],
  ["default", "binary with b64", session("EIO=3&b64=1", [v3('451-["message",{"_placeholder":true,"num":0}]', "b4AQIDBA==")], 1)],
  ["default", "binary as octets", session("EIO=3", [
    Buffer.concat([Buffer.from([0, 4, 5, 255]), Buffer.from('451-["message",{"_placeholder":true,"num":0}]'), Buffer.from([1, 5, 255, 4, 1, 2, 3, 4])]),
  ], 1, { headers: octets })],
  ["default", "a wrong length", session("EIO=3", ["9:4a"], 1)],
  ["default", "no length", session("EIO=3", ["abc"], 1)],
  ["default", "an empty POST", session("EIO=3", [""], 1)],
  ["default", "JSONP both ways", async (wire) => {
    const { session, opened } = await wire.open("EIO=3&j=0&b64=1");
    const body = new URLSearchParams({ d: v3('42["message","a\\nb"]').replaceAll("\\n", "\\\\n") }).toString();
    return [opened, await wire.post(session, body, form), await wire.get(session)];
  }],
  ["default", "a POST by JSONP without d", async (wire) => {
    const { session } = await wire.open("EIO=3&j=0&b64=1");
    return [await wire.post(session, "e=1", form), await wire.get(session)];
  }],
  ["default", "JSONP with line separators", async (wire) => {
    const { session } = await wire.open("EIO=4&j=5");
    await wire.post(session, new URLSearchParams({ d: "40" }).toString(), form);
    await wire.get(session);
    const body = new URLSearchParams({ d: '42["message","\u2028\u2029</script>\'"]' }).toString();
    return [await wire.post(session, body, form), await wire.get(session)];
  }],
];

const webSockets = [
  ["default", "a handshake", ws(SOCKET, {}, 1)],
  ["default", "a handshake of version 3", ws("?EIO=3&transport=websocket", {}, 2)],
  ["default", "a handshake with b64", ws("?EIO=3&transport=websocket&b64=1", {}, 2)],
  ["default", "the first of the offered protocols", ws(SOCKET, { "sec-websocket-protocol": "one, two" }, 1)],
  ["default", "permessage-deflate is off by default", ws(SOCKET, { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" }, 1)],
  ["default", "headers in other cases", ws(SOCKET, { connection: "keep-alive, Upgrade", upgrade: "WebSocket" }, 1)],
  ["default", "an unknown session", refusedWs(`${SOCKET}&sid=abc`)],
  ["default", "an unknown transport", refusedWs("?EIO=4&transport=x")],
  ["default", "no transport", refusedWs("?EIO=4")],
  ["default", "polling by an upgrade", async (wire) => {
    const socket = await wire.webSocket(HANDSHAKE);
    return [socket.answer, ...(socket.answer.status === 101 ? await socket.end() : [])];
  }],
  ["default", "a wrong WebSocket version", refusedWs(SOCKET, { "sec-websocket-version": "12" })],
  ["default", "no WebSocket version", refusedWs(SOCKET, { "sec-websocket-version": undefined })],
  ["default", "no key", refusedWs(SOCKET, { "sec-websocket-key": undefined })],
  ["default", "a key that is none", refusedWs(SOCKET, { "sec-websocket-key": "abc" })],
  ["today", "version 3 where it is not served", async (wire) => {
    const socket = await wire.webSocket("?EIO=3&transport=websocket");
    return [socket.answer];
  }],
  ["deny", "a refused handshake", refusedWs(SOCKET, { "x-deny": "1" })],
  ["polling", "where only polling is served", refusedWs(SOCKET)],
  ["websocket", "where only WebSocket is served", ws(SOCKET, {}, 1)],
  ["default", "CONNECT, events, acknowledgements", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    socket.send("40", "40/custom,");
    const joined = await socket.next(3);
    socket.send('42["message","é🚀"]', '425["message-with-ack",1]', '42/custom,6["message-with-ack"]');
    return [...joined, ...(await socket.next(3))];
  }],
  ["default", "binary", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    socket.send("40");
    await socket.next(2);
    socket.send('451-["message",{"_placeholder":true,"num":0}]', Buffer.from([1, 2, 3]));
    return socket.next(2);
  }],
  ["default", "binary of version 3", async (wire) => {
    const socket = await wire.webSocket("?EIO=3&transport=websocket");
    await socket.next(2);
    socket.send('451-["message",{"_placeholder":true,"num":0}]', Buffer.from([4, 1, 2, 3]));
    return socket.next(2);
  }],
  ["default", "binary of version 3 with b64", async (wire) => {
    const socket = await wire.webSocket("?EIO=3&transport=websocket&b64=1");
    await socket.next(2);
    socket.send('451-["message",{"_placeholder":true,"num":0}]', "b4AQID");
    return socket.next(2);
  }],
  ["default", "a ping of version 3", async (wire) => {
    const socket = await wire.webSocket("?EIO=3&transport=websocket");
    await socket.next(2);
    socket.send("2", "2data");
    return socket.next(2);
  }],
  ["default", "a WebSocket ping", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    await socket.next();
    socket.raw(frame(9, "hi"));
    return socket.next();
  }],
  ...[
    ["the client's close frame is answered", frame(8, Buffer.from([3, 232]))],
    ["a close frame without a code", frame(8)],
    ["a close frame with a wrong code", frame(8, Buffer.from([3, 237]))],
    ["an unmasked frame", frame(1, "40", { masked: false })],
    ["a reserved bit", frame(1, "40", { rsv: 4 })],
    ["a reserved opcode", frame(3, "40")],
    ["text that is not UTF-8", frame(1, Buffer.from([0x34, 0xff]))],
    ["a control frame in pieces", frame(9, "a", { fin: false })],
    ["a continuation of nothing", frame(0, "a")],
    ["a message of 1,000,001 bytes", Buffer.concat([header(0x81, 1_000_001), Buffer.alloc(4)])],
    ["an unknown packet", frame(1, "x")],
    ["an empty packet", frame(1, "")],
    ["a ping of the client", frame(1, "2")],
    ["a Socket.IO packet of no type", frame(1, "47")],
    ["an event before CONNECT", frame(1, '42["message"]')],
    ["binary that nobody announced", frame(2, "abc")],
  ].map(([name, bytes]) => ["default", name, async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    await socket.next();
    socket.raw(bytes);
    return socket.end();
  }]),
  ["default", "a close packet does nothing on a WebSocket", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    await socket.next();
    socket.send("1", "40");
    return socket.next();
  }],
  ["default", "the server closes the connection", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    socket.send("40");
    await socket.next(2);
    socket.send('42["close"]');
    return socket.end();
  }],
  ["default", "the server disconnects a socket", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    socket.send("40");
    await socket.next(2);
    socket.send('42["kick"]');
    return [...(await socket.next()), await socket.quiet()];
  }],
  ["msgpack", "the msgpack parser", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    // {type: 0, data: undefined, nsp: "/custom"}, {type: 2, data: ["message", 1, "é"], nsp: "/custom"}
    socket.send(Buffer.from("82a47479706500a36e7370a72f637573746f6d", "hex"));
    const [opened, joined] = await socket.next(2);
    socket.send(Buffer.from("83a47479706502a36e7370a72f637573746f6da46461746193a76d65737361676501a2c3a9", "hex"));
    return [opened, joined.length, ...(await socket.next())];
  }],
  ["msgpack", "text for the msgpack parser", async (wire) => {
    const socket = await wire.webSocket(SOCKET);
    await socket.next();
    socket.send("40");
    return socket.end();
  }],
];

const upgrades = [
  ["default", "the whole upgrade", async (wire) => {
    const { session, upgrade } = await wire.open();
    await wire.post(session, "40");
    await wire.get(session);
    const poll = wire.get(session);
    const socket = await wire.webSocket(upgrade);
    socket.send("2probe");
    const transcript = [socket.answer, ...(await socket.next()), await poll];
    socket.send("5", '42["message",1]');
    return [...transcript, ...(await socket.next()), await wire.get(session), await wire.post(session, "40")];
  }],
  ["default", "the whole upgrade of version 3", async (wire) => {
    const { session, upgrade } = await wire.open("EIO=3");
    await wire.get(session);
    const poll = wire.get(session);
    const socket = await wire.webSocket(upgrade);
    socket.send("2probe");
    const transcript = [socket.answer, ...(await socket.next()), await poll];
    socket.send("5", '42["message",1]');
    transcript.push(...(await socket.next()));
    socket.send("2");
    return [...transcript, ...(await socket.next())];
  }],
  ["default", "events while it is under way", async (wire) => {
    const { session, upgrade } = await wire.open();
    await wire.post(session, "40");
    await wire.get(session);
    const socket = await wire.webSocket(upgrade);
    socket.send("2probe");
    const transcript = await socket.next();
    transcript.push(await wire.post(session, '42["message","by polling"]'), await wire.get(session));
    transcript.push(await wire.post(session, '42["message","queued"]'));
    socket.send("5");
    return [...transcript, ...(await socket.next())];
  }],
  ...["4hello", "2", "x", "2prob", "6"].map((word) => ["default", `${word} instead of a probe`, async (wire) => {
    const { session, upgrade } = await wire.open();
    const socket = await wire.webSocket(upgrade);
    socket.send(word);
    return [...(await socket.end()), await wire.post(session, "40"), await wire.get(session)];
  }]),
  ["default", "the upgrade packet without a probe", async (wire) => {
    const { upgrade } = await wire.open();
    const socket = await wire.webSocket(upgrade);
    socket.send("5", "40");
    return socket.next();
  }],
  ["default", "something else than the upgrade packet", async (wire) => {
    const { session, upgrade } = await wire.open();
    const socket = await wire.webSocket(upgrade);
    socket.send("2probe");
    const transcript = await socket.next();
    socket.send("4early");
    return [...transcript, ...(await socket.end()), await wire.post(session, "40"), await wire.get(session)];
  }],
  ["default", "a second WebSocket while one probes", async (wire) => {
    const { upgrade } = await wire.open();
    const first = await wire.webSocket(upgrade);
    first.send("2probe");
    const transcript = await first.next();
    const second = await wire.webSocket(upgrade);
    return [...transcript, second.answer, ...(await second.end())];
  }],
  ["default", "a second WebSocket after the upgrade", async (wire) => {
    const { upgrade } = await wire.open();
    const first = await wire.webSocket(upgrade);
    first.send("2probe", "5", "40");
    const transcript = await first.next(2);
    const second = await wire.webSocket(upgrade);
    return [...transcript, second.answer, ...(await second.end())];
  }],
  ["default", "a probe of another version", async (wire) => {
    const { sid } = await wire.open();
    return [(await wire.webSocket(`?EIO=3&transport=websocket&sid=${sid}`)).answer];
  }],
  ["no-upgrades", "where none is allowed", async (wire) => {
    const { upgrade } = await wire.open();
    return [(await wire.webSocket(upgrade)).answer];
  }],
  ["cors-all", "the 101 of an upgrade for a page", async (wire) => {
    const headers = { origin: "http://a.test" };
    const { upgrade } = await wire.open("EIO=4", { headers });
    return [(await wire.webSocket(upgrade, headers)).answer];
  }],
];

const FILES = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
const file = "/socket.io/socket.io.min.js";
const files = [
  ...FILES.flatMap((name) => [name, `${name}.map`]).map((name) => ["default", `client file ${name}`, get(`/socket.io/${name}`)]),
  ["default", "a client file with a query", get(`${file}?v=1`)],
  ["default", "HEAD of a client file", one("HEAD", file)],
  ["default", "POST to a client file", one("POST", file, { body: "" })],
  ["default", "a client file that is not there", get("/socket.io/socket.io.slim.js")],
  ["default", "a client file below another folder", get("/socket.io/x/socket.io.js")],
  ...['"4.8.4"', 'W/"4.8.4"', '"4.8.3"', "*", '"x", "4.8.4"'].map((tag) => ["default", `If-None-Match: ${tag}`, get(file, { "if-none-match": tag })]),
  ...["gzip", "identity", "gzip;q=0"].map((encoding) => ["default", `a client file as ${encoding}`, get(file, { "accept-encoding": encoding })]),
  // Which of several a server takes is its own affair; what the client unpacks is not.
  ...["br", "deflate", "gzip, deflate, br", "*"].map((encoding) => ["default", `a client file as ${encoding}`, async (wire) => {
    const { status, body } = await wire.get(file, { "accept-encoding": encoding });
    return [status, body];
  }]),
];

/** All cases: with which options, the name, and the function that gives the transcript of one side. */
export const CASES = Object.entries({ handshakes, errors, cors, cookies, polling, old, webSockets, upgrades, files })
  .flatMap(([group, cases]) => cases.map(([set, name, run]) => ({ set, name: `${group}, ${set}: ${name}`, run })));
