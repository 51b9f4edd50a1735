// Bare WebSocket: a client that keeps what it hears, and single frames written to a TCP connection.

import crypto from "node:crypto";
import net from "node:net";
import { afterEach } from "node:test";
import WebSocket from "ws";
import { event, within } from "./waiting.mjs";

const open = new Set();
afterEach(() => {
  for (const socket of open) socket.terminate?.() ?? socket.destroy?.();
  open.clear();
});

/** A WebSocket whose messages wait to be read. Text arrives as a string, binary as a Buffer. */
export class Frames {
  #unread = [];
  #waiting = [];

  constructor(url, options = {}) {
    this.ws = new WebSocket(url, options);
    open.add(this.ws);
    this.opened = new Promise((resolve, reject) => {
      this.ws.once("open", resolve);
      this.ws.once("error", reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.ws.once("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.ws.on("message", (bytes, binary) => {
      const message = binary ? bytes : bytes.toString();
      const waiter = this.#waiting.shift();
      if (waiter) waiter(message);
      else this.#unread.push(message);
    });
    this.ws.on("error", () => {});
  }

  /** Opens and waits for it. */
  static async open(url, options) {
    const frames = new Frames(url.replace(/^http/, "ws"), options);
    await within(5000, `WebSocket to ${url}`, frames.opened);
    return frames;
  }

  /** An Engine.IO session: the open packet is read. */
  static async session(url, { path = "/engine.io/", query = "", eio = 4, ...options } = {}) {
    const frames = await Frames.open(`${url}${path}?EIO=${eio}&transport=websocket${query}`, options);
    frames.handshake = JSON.parse((await frames.next()).slice(1));
    return frames;
  }

  /** A Socket.IO session with `nsp` joined: the answer to CONNECT is read. */
  static async joined(url, { nsp, auth, ...options } = {}) {
    const frames = await Frames.session(url, { path: "/socket.io/", ...options });
    const prefix = nsp ? `${nsp},` : "";
    frames.send(`40${prefix}${auth ? JSON.stringify(auth) : ""}`);
    frames.id = JSON.parse((await frames.nextMessage()).slice(2 + prefix.length)).sid;
    return frames;
  }

  send(...messages) {
    for (const message of messages) this.ws.send(message);
  }

  /** The next message, whatever it is. */
  next(ms = 5000) {
    if (this.#unread.length) return Promise.resolve(this.#unread.shift());
    return within(ms, "a WebSocket message", new Promise((resolve) => this.#waiting.push(resolve)));
  }

  /** The next message that is not a ping; pings are answered. */
  async nextMessage(ms = 5000) {
    for (;;) {
      const message = await this.next(ms);
      if (message !== "2") return message;
      this.send("3");
    }
  }

  /** Waits until the other side has closed. */
  async close(ms = 5000) {
    return within(ms, "the end of the WebSocket", this.closed);
  }
}

/** The HTTP status with which an upgrade to `url` is refused, or "connection lost"; fails if it is accepted and stays. */
export function refusedUpgrade(url, options = {}) {
  const ws = new WebSocket(url.replace(/^http/, "ws"), options);
  open.add(ws);
  return within(5000, `a refusal of ${url}`, new Promise((resolve) => {
    ws.once("unexpected-response", (request, answer) => {
      resolve(answer.statusCode);
      request.destroy();
    });
    ws.once("error", () => resolve("connection lost"));
    ws.once("close", () => resolve("connection lost"));
  }));
}

/** A TCP connection that has become a WebSocket; `write` takes bytes as they are. */
export async function rawWebSocket(url, target, headers = {}) {
  const { port } = new URL(url);
  const socket = net.connect(Number(port), "127.0.0.1");
  open.add(socket);
  socket.setNoDelay(true);
  socket.on("error", () => {});
  const key = crypto.randomBytes(16).toString("base64");
  socket.write(
    `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n` +
      `${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
  );
  let head = "";
  while (!head.includes("\r\n\r\n")) head += (await event(socket, "data"))[0].toString("latin1");
  if (!head.startsWith("HTTP/1.1 101")) throw new Error(`no upgrade: ${head}`);
  const received = [Buffer.from(head.slice(head.indexOf("\r\n\r\n") + 4), "latin1")];
  socket.on("data", (bytes) => received.push(bytes));
  const ended = new Promise((resolve) => socket.once("close", resolve));
  return {
    socket,
    head,
    write: (...bytes) => socket.write(Buffer.concat(bytes)),
    received: () => Buffer.concat(received),
    ended: (ms = 5000) => within(ms, "the end of the TCP connection", ended),
  };
}

/** A masked frame as a client sends it. */
export function frame(opcode, payload = "", { fin = true, rsv = 0, masked = true } = {}) {
  const data = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const head = header(first, data.length, masked);
  if (!masked) return Buffer.concat([head, data]);
  const mask = crypto.randomBytes(4);
  return Buffer.concat([head, mask, data.map((byte, i) => byte ^ mask[i % 4])]);
}

/** The first bytes of a frame, with the shortest form of the length, or with `width` bytes for it. */
export function header(first, length, masked = true, width = length < 126 ? 0 : length < 65_536 ? 2 : 8) {
  const bit = masked ? 0x80 : 0;
  if (width === 0) return Buffer.from([first, bit | length]);
  const head = Buffer.alloc(2 + width);
  head[0] = first;
  head[1] = bit | (width === 2 ? 126 : 127);
  if (width === 2) head.writeUInt16BE(length, 2);
  else head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** The frames in `bytes` that came from a server: `[opcode, payload]` each. */
export function framesIn(bytes) {
  return framesWithBits(bytes).map(([first, payload]) => [first & 0x0f, payload]);
}

/** As `framesIn`, with all of the first byte in place of the opcode. Masked frames are left masked. */
export function framesWithBits(bytes) {
  const frames = [];
  let at = 0;
  while (bytes.length >= at + 2) {
    const [first, masked] = [bytes[at], bytes[at + 1] & 0x80];
    let length = bytes[at + 1] & 0x7f;
    at += 2;
    if (length === 126) (length = bytes.readUInt16BE(at)), (at += 2);
    else if (length === 127) (length = Number(bytes.readBigUInt64BE(at))), (at += 8);
    if (masked) at += 4;
    frames.push([first, bytes.subarray(at, at + length)]);
    at += length;
  }
  return frames;
}
