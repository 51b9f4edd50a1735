// Requests as bytes, and everything that comes back, in a form in which two servers can be compared.
//
// What no two servers have alike is left out or masked: dates, session ids, how the length of a body is told.

import crypto from "node:crypto";
import net from "node:net";
import zlib from "node:zlib";
import { within } from "./waiting.mjs";
import { frame } from "./websocket.mjs";

/** One side of a comparison: the servers of one implementation, by the names of their options. */
export class Wire {
  #open = [];

  constructor(ports, set) {
    this.port = ports[set];
    this.path = set === "path" ? "/chat" : "/socket.io/";
  }

  /** Ends all connections. */
  close() {
    this.#open.forEach((socket) => socket.destroy());
  }

  /** Sends one request; `target` beginning with `?` is below the path. Returns what is compared of the answer. */
  async request(method, target, { headers = {}, body } = {}) {
    const socket = this.#connect();
    socket.write(head(method, this.#target(target), { connection: "close", ...length(body), ...headers }));
    if (body !== undefined) socket.write(body);
    return this.#shown(await answer(socket, method));
  }

  get(target, options) {
    return this.request("GET", target, options);
  }

  post(target, body, headers = { "content-type": "text/plain;charset=UTF-8" }) {
    return this.request("POST", target, { body, headers });
  }

  /** A polling handshake; returns the session: what to put into further requests, and the answer. */
  async open(query = "EIO=4", options) {
    const opened = await this.get(`?${query}&transport=polling`, options);
    const sid = this.lastSid;
    const session = `?${query}&transport=polling&sid=${sid}`;
    return { opened, sid, session, upgrade: `?${query}&transport=websocket&sid=${sid}` };
  }

  /** Asks for a WebSocket. The answer is `answer`; if it is a 101, frames can be sent and read. */
  async webSocket(target, headers = {}) {
    const socket = this.#connect();
    socket.write(head("GET", this.#target(target), { ...UPGRADE, ...headers }));
    const got = await answer(socket, "GET");
    return new Frames(this, socket, this.#shown(got), got.rest);
  }

  /** Text with its session ids masked. */
  masked(text) {
    return text.replace(/(\\?"sid\\?":\\?"|\bio=|\bnode=)([\w-]{20})(?=["; \\])/g, (all, before, id) => {
      if (before.includes("sid")) this.lastSid = id;
      return `${before}<20 characters>`;
    });
  }

  #target(target) {
    return target.startsWith("?") ? this.path + target : target;
  }

  #connect() {
    const socket = net.connect(this.port, "127.0.0.1");
    socket.setNoDelay(true);
    socket.on("error", () => {});
    this.#open.push(socket);
    return socket;
  }

  #shown({ status, headers, body }) {
    const shown = {};
    for (const [name, value] of Object.entries(headers)) {
      if (!UNCOMPARED.has(name) || (name === "connection" && status === 101)) shown[name] = this.masked(value);
    }
    // The length is compared through the body; without one, as it is told.
    if (shown["content-length"] === String(body.length)) delete shown["content-length"];
    if (shown.vary) shown.vary = shown.vary.toLowerCase().split(/,\s*/).sort().join(", ");
    return { status, headers: shown, body: this.#readable(headers, body) };
  }

  #readable(headers, body) {
    const unpack = UNPACK[headers["content-encoding"]];
    if (body.length && unpack) body = unpack(body);
    if (body.length > 5000) return `${body.length} bytes, ${crypto.createHash("sha256").update(body).digest("hex")}`;
    const text = body.toString();
    return Buffer.from(text).equals(body) && !/[\0-\x08]/.test(text) ? this.masked(text) : body.toString("hex");
  }
}

const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Headers that are each server's own affair. */
const UNCOMPARED = new Set(["date", "connection", "keep-alive", "transfer-encoding"]);

const UNPACK = { gzip: zlib.gunzipSync, deflate: zlib.inflateSync, br: zlib.brotliDecompressSync };

/** The frames of a WebSocket, as `text`, `binary <hex>`, `close <code>` and so on; at last `end`. */
class Frames {
  #wire;
  #socket;
  #unread = [];
  #bytes;
  #wake = () => {};

  constructor(wire, socket, shown, rest) {
    this.#wire = wire;
    this.#socket = socket;
    this.answer = shown;
    this.#bytes = rest;
    this.#parse();
    socket.on("data", (bytes) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#parse();
    });
    const end = () => {
      if (this.#unread.at(-1) !== "end") this.#unread.push("end");
      this.#wake();
    };
    socket.on("end", end).on("close", end);
    if (socket.readableEnded || socket.destroyed) end();
  }

  /** Sends text frames, and Buffers as binary ones. */
  send(...messages) {
    for (const message of messages) this.#socket.write(frame(typeof message === "string" ? 1 : 2, message));
  }

  /** Sends bytes as they are. */
  raw(bytes) {
    this.#socket.write(bytes);
  }

  /** The next `count` frames; less if the connection ends before. */
  async next(count = 1) {
    const enough = () => this.#unread.length >= count || this.#unread.at(-1) === "end";
    while (!enough()) {
      const more = new Promise((resolve) => (this.#wake = resolve));
      await within(4000, `${count} frames; there are ${JSON.stringify(this.#unread)}`, more);
    }
    return this.#unread.splice(0, count);
  }

  /** Whether nothing comes for a moment. */
  async quiet(ms = 60) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return this.#unread.length === 0 ? "quiet" : this.#unread;
  }

  /** Everything until the end; a close frame is answered, as a client has to. */
  async end() {
    const frames = [];
    for (;;) {
      const [got] = await this.next();
      frames.push(got);
      if (got === "end") return frames;
      if (got.startsWith("close")) this.#socket.write(frame(8));
    }
  }

  #parse() {
    for (;;) {
      const bytes = this.#bytes;
      if (bytes.length < 2) break;
      let length = bytes[1] & 0x7f;
      let at = 2;
      if (length === 126) (length = bytes.length < 4 ? Infinity : bytes.readUInt16BE(2)), (at = 4);
      if (bytes.length < at + length) break;
      this.#unread.push(this.#describe(bytes[0], bytes.subarray(at, at + length)));
      this.#bytes = bytes.subarray(at + length);
    }
    this.#wake();
  }

  #describe(first, payload) {
    const kind = { 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" }[first & 15] ?? `opcode ${first & 15}`;
    const rsv = first & 0x70 ? ` rsv ${(first & 0x70) >> 4}` : "";
    if (kind === "text") return `text${rsv} ${this.#wire.masked(payload.toString())}`;
    if (kind === "close") return `close ${payload.length ? payload.readUInt16BE(0) : "without a code"}`;
    return `${kind}${rsv} ${payload.toString("hex")}`;
  }
}

function length(body) {
  return body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
}

function head(method, target, headers) {
  const lines = Object.entries({ host: "127.0.0.1", ...headers }).flatMap(([name, values]) =>
    values === undefined ? [] : [values].flat().map((value) => `${name}: ${value}\r\n`));
  return `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** One answer: its body is over with its length, or with the connection. */
function answer(socket, method) {
  const answered = new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const look = (ended) => {
      const parsed = parse(bytes, method, ended);
      if (parsed) socket.off("data", more).off("close", over), resolve(parsed);
      else if (ended) resolve({ status: "no answer", headers: {}, body: bytes, rest: Buffer.alloc(0) });
    };
    const more = (part) => {
      bytes = Buffer.concat([bytes, part]);
      look(false);
    };
    const over = () => look(true);
    socket.on("data", more).on("close", over).once("error", (error) => (error.code === "ECONNREFUSED" ? reject(error) : null));
  });
  return within(6000, `an answer to ${method}`, answered);
}

function parse(bytes, method, ended) {
  const at = bytes.indexOf("\r\n\r\n");
  if (at < 0) return undefined;
  const [first, ...lines] = bytes.subarray(0, at).toString("latin1").split("\r\n");
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  const status = Number(first.split(" ")[1]);
  const rest = bytes.subarray(at + 4);
  const done = (body, after) => ({ status, headers, body, rest: after });
  if (status === 101) return done(Buffer.alloc(0), rest);
  if (method === "HEAD" || status === 204 || status === 304) return done(Buffer.alloc(0), rest);
  if (headers["transfer-encoding"] === "chunked") return chunks(rest, done);
  if ("content-length" in headers) {
    const size = Number(headers["content-length"]);
    return rest.length >= size ? done(rest.subarray(0, size), rest.subarray(size)) : undefined;
  }
  return ended ? done(rest, Buffer.alloc(0)) : undefined;
}

function chunks(rest, done) {
  const parts = [];
  for (;;) {
    const line = rest.indexOf("\r\n");
    if (line < 0) return undefined;
    const size = parseInt(rest.subarray(0, line).toString(), 16);
    if (rest.length < line + 2 + size + 2) return undefined;
    parts.push(rest.subarray(line + 2, line + 2 + size));
    rest = rest.subarray(line + 2 + size + 2);
    if (size === 0) return done(Buffer.concat(parts), rest);
  }
}
