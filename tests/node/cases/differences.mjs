// Where our answers differ from the reference's on purpose, and why.
//
// Each entry says for which cases of requests.mjs it holds, and how it changes what the reference answers there.
// docs/differences.md is made of this: `WRITE=1 ... node --test compare.test.mjs` writes it.

/** Changes entry `i` of a transcript: `status`, `body`, and `headers` one by one (`undefined` takes one away). */
const at = (i, { status, body, headers = {} }) => (transcript) => {
  const answer = transcript[i];
  if (status !== undefined) answer.status = status;
  if (body !== undefined) answer.body = body;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) delete answer.headers[name];
    else answer.headers[name] = value;
  }
  return transcript;
};
/** Puts `ours` in the place of entry `i`. */
const instead = (i, ours) => (transcript) => transcript.with(i, ours);
/** Puts `ours` in the place of everything from entry `i` on. */
const from = (i, ...ours) => (transcript) => [...transcript.slice(0, i), ...ours];
const text = (i, reference, ours) => (transcript) => {
  const entry = transcript[i];
  if (typeof entry === "string") return transcript.with(i, entry.replace(reference, ours));
  return at(i, { body: entry.body.replace(reference, ours) })(transcript);
};
const each = (names, change) => Object.fromEntries(names.map((name) => [name, change]));

const refused = (code, message, status = 400) => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ code, message }),
});
const refusedUpgrade = (message, status = 400) => ({ status, headers: { "content-type": "text/html" }, body: message });

const CORS = ["allow-methods", "allow-credentials", "allow-headers", "expose-headers", "max-age"].map((name) => `access-control-${name}`);
const noGrant = { headers: Object.fromEntries(CORS.map((name) => [name, undefined])) };

export const DIFFERENCES = [
  {
    what: "An `EIO` that is neither 3 nor 4",
    reference: "is taken for 3",
    ours: "is refused: `Unsupported protocol version`",
    why: "A client of another version could not read the answers. (A missing `EIO` is 3.)",
    cases: each(
      ["handshakes, default: an unknown EIO is version 3", "handshakes, default: EIO=04 is version 3"],
      from(0, refused(5, "Unsupported protocol version")),
    ),
  },
  {
    what: "`HEAD` without a session",
    reference: "400 without a length",
    ours: "400 with the length that the body would have",
    why: "As RFC 9110, 8.6 wants it",
    cases: { "errors, default: a handshake by HEAD": at(0, { headers: { "content-length": "43" } }) },
  },
  {
    what: "Another method than GET and POST for a session",
    reference: "500",
    ours: "405",
    why: "The fault is the client's",
    cases: each(["PUT", "DELETE", "PATCH", "OPTIONS"].map((method) => `errors, default: ${method} to a session`), at(0, { status: 405 })),
  },
  {
    what: "A handshake of a page whose origin `cors` does not name",
    reference: "is served, without CORS headers",
    ours: "403 `Forbidden`",
    why: "CORS keeps a page from reading, not from connecting: a WebSocket would be open to it, with the cookies of its visitor",
    cases: each(["list", "all"].map((set) => `cors, cors-${set}: a handshake of another page`), (transcript) => {
      const { vary } = transcript[0].headers;
      const answer = refused(4, "Forbidden", 403);
      return [{ ...answer, headers: { ...answer.headers, vary } }];
    }),
  },
  {
    what: "CORS headers for who has no origin, or one that is not named",
    reference: "all but the origin",
    ours: "none but `Vary`",
    why: "Nothing is granted",
    cases: {
      "cors, cors-list: a preflight of another page": at(0, { headers: { ...noGrant.headers, vary: "origin" } }),
      "cors, cors-list: OPTIONS that is no preflight": at(0, { headers: { ...noGrant.headers, vary: "origin" } }),
      "cors, cors-all: a preflight of another page": at(0, noGrant),
      "cors, cors-all: OPTIONS that is no preflight": at(0, noGrant),
      "cors, cors-all: a handshake without an origin": at(0, noGrant),
    },
  },
  {
    what: "The session cookie",
    reference: "is set by polling handshakes",
    ours: "is set by every handshake",
    why: "A load balancer needs it for clients that begin with a WebSocket, too",
    cases: {
      "cookies, cookie: the cookie of a WebSocket handshake": at(0, {
        headers: { "set-cookie": "io=<20 characters>; Path=/; HttpOnly; SameSite=Lax" },
      }),
      "cookies, cookie-all: the cookie of a WebSocket handshake": at(0, {
        headers: { "set-cookie": "node=<20 characters>; Path=/x; Secure; SameSite=Strict" },
      }),
    },
  },
  {
    what: "What a handler sends back as it came",
    reference: "is parsed and written anew: attachments are numbered as they stand, escapes are undone",
    ours: "keeps the client's spelling: its numbers and escapes",
    why: "Arguments that nobody looks into are not parsed; both spellings mean the same",
    cases: {
      "polling, default: two binaries, swapped": text(
        3,
        '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]\u001ebAg==\u001ebAQ==',
        '{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]\u001ebAQ==\u001ebAg==',
      ),
      "polling, default: control characters in text": text(3, "\u2028", "\\u2028"),
    },
  },
  {
    what: "The poll after a session was closed between two polls",
    reference: "`6` and `1`",
    ours: "`1`",
    why: "A noop beside the close packet tells nothing",
    cases: {
      "polling, default: the server closes the connection": at(4, { body: "1" }),
      ...each(["broken JSON", "an event without a name", "a reserved event", "too many attachments"].map((name) => `polling, default: ${name}`), at(4, { body: "1" })),
      ...each(["a Socket.IO packet of no type", "an event before CONNECT", "CONNECT with a list"].map((name) => `polling, default: ${name}`), at(2, { body: "1" })),
    },
  },
  {
    what: "Packets that wait for a poll, more than `maxPayload` bytes together",
    reference: "all in one answer",
    ours: "as many as fit, the others in the next answer",
    why: "An answer is built in memory; one for a client that was away could be as long as its queue",
    cases: { "polling, small: a body of 100 bytes": text(3, /\u001e.*/s, "") },
  },
  {
    what: "A ping with data, of Engine.IO 3",
    reference: "`3`",
    ours: "`3` with the data",
    why: "Engine.IO protocol 3, \"ping\": the pong has the same data",
    cases: {
      "old, default: a ping with data": at(2, { body: "2:406:3probe" }),
      "webSockets, default: a ping of version 3": instead(1, "text 3data"),
    },
  },
  {
    what: "An unknown namespace, for a client of Socket.IO 2",
    reference: "an object with a message",
    ours: "the text `\"Invalid namespace\"`",
    why: "It is what the server of version 2 sent, and what its clients show",
    cases: {
      "old, default: an unknown namespace": text(2, '42:44/nowhere,{"message":"Invalid namespace"}', '30:44/nowhere,"Invalid namespace"'),
    },
  },
  {
    what: "A request that cannot become a WebSocket",
    reference: "400 with a text about the header at fault, and versions 13 and 8",
    ours: "400 `Bad request`, and version 13",
    why: "One text for code 3; version 8 is a draft of which nothing is left",
    cases: {
      ...each(["a wrong WebSocket version", "no WebSocket version"].map((name) => `webSockets, default: ${name}`),
        at(0, { body: "Bad request", headers: { "sec-websocket-version": "13" } })),
      ...each(["no key", "a key that is none"].map((name) => `webSockets, default: ${name}`), at(0, { body: "Bad request" })),
    },
  },
  {
    what: "An upgrade for `transport=polling`",
    reference: "101, then a close frame",
    ours: "400 `Bad request`",
    why: "An error that is told is better than a WebSocket that is none",
    cases: { "webSockets, default: polling by an upgrade": from(0, refusedUpgrade("Bad request")) },
  },
  {
    what: "A WebSocket of a version that is not served",
    reference: "101, then an HTTP answer inside of the WebSocket",
    ours: "400 `Unsupported protocol version`",
    why: "It can be refused before the upgrade",
    cases: { "webSockets, today: version 3 where it is not served": from(0, refusedUpgrade("Unsupported protocol version")) },
  },
  {
    what: "A WebSocket that `allow_request` refuses",
    reference: "400",
    ours: "403",
    why: "As over polling",
    cases: { "webSockets, deny: a refused handshake": at(0, { status: 403 }) },
  },
  {
    what: "A WebSocket where only polling is served",
    reference: "the refusal as JSON",
    ours: "the refusal as text",
    why: "As every other refusal of a WebSocket",
    cases: { "webSockets, polling: where only polling is served": from(0, refusedUpgrade("Transport unknown")) },
  },
  {
    what: "A close packet over WebSocket",
    reference: "is ignored",
    ours: "closes",
    why: "Engine.IO protocol 4, \"close\"",
    cases: { "webSockets, default: a close packet does nothing on a WebSocket": instead(0, "close without a code") },
  },
  {
    what: "MessagePack",
    reference: "has members that are undefined (`pid`)",
    ours: "leaves them out",
    why: "As JSON does",
    cases: { "webSockets, msgpack: the msgpack parser": (transcript) => transcript.with(1, transcript[1] - 2 * "pid".length - 2 * 4) },
  },
  {
    what: "The upgrade packet on a WebSocket that has not probed",
    reference: "upgrades",
    ours: "closes the WebSocket; the session goes on polling",
    why: "Engine.IO protocol 4, \"Upgrade\": probe first",
    cases: { "upgrades, default: the upgrade packet without a probe": instead(0, "close without a code") },
  },
  {
    what: "An upgrade where `allow_upgrades` is false",
    reference: "succeeds",
    ours: "400 `Bad request`",
    why: "The option says so",
    cases: { "upgrades, no-upgrades: where none is allowed": from(0, refusedUpgrade("Bad request")) },
  },
  {
    what: "`Vary` of client files",
    reference: "not set",
    ours: "`accept-encoding`",
    why: "A cache in between would give a packed file to a browser that cannot unpack it",
    cases: {
      ...each(
        [
          ...["socket.io", "socket.io.min", "socket.io.esm.min", "socket.io.msgpack.min"].flatMap((name) => [`client file ${name}.js`, `client file ${name}.js.map`]),
          "POST to a client file", "a client file with a query", "HEAD of a client file", 'If-None-Match: "4.8.3"',
          "a client file as gzip", "a client file as identity", "a client file as gzip;q=0",
        ].map((name) => `files, default: ${name}`),
        at(0, { headers: { vary: "accept-encoding" } }),
      ),
      "cors, cors-any: a client file for a page": at(0, { headers: { vary: "accept-encoding" } }),
      ...each(["list", "all"].map((set) => `cors, cors-${set}: a client file for a page`), at(0, { headers: { vary: "accept-encoding, origin" } })),
    },
  },
  {
    what: "`If-None-Match` of a client file with several tags, or `*`",
    reference: "200",
    ours: "304 if one of them fits",
    why: "RFC 9110, 13.1.2",
    cases: each(["*", '"x", "4.8.4"'].map((tag) => `files, default: If-None-Match: ${tag}`), from(0, { status: 304, headers: {}, body: "" })),
  },
];
