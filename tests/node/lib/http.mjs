// Bare HTTP, and Engine.IO over polling on top of it, with nothing of a client library in between.

import assert from "node:assert/strict";
import http from "node:http";
import { afterEach } from "node:test";
import { within } from "./waiting.mjs";

const agent = new http.Agent({ keepAlive: true });
afterEach(() => agent.destroy());

/** One request; returns `{status, headers, bytes, body}`. Fails when the connection breaks instead of answering. */
export function request(url, { method = "GET", headers = {}, body, chunks } = {}) {
  const answered = new Promise((resolve, reject) => {
    const outgoing = http.request(url, { method, headers, agent }, (incoming) => {
      const parts = [];
      incoming.on("data", (part) => parts.push(part));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const bytes = Buffer.concat(parts);
        resolve({ status: incoming.statusCode, headers: incoming.headers, bytes, body: bytes.toString() });
      });
    });
    outgoing.on("error", reject);
    for (const chunk of chunks ?? []) outgoing.write(chunk);
    outgoing.end(body);
  });
  return within(10_000, `an answer to ${method} ${url}`, answered);
}

/** One session over polling. */
export class Polling {
  /** Makes the handshake; `query` is added to it. */
  static async open(url, { path = "/engine.io/", query = "", eio = 4 } = {}) {
    const base = `${url}${path}?EIO=${eio}&transport=polling`;
    const { status, body } = await request(base + query);
    assert.equal(status, 200, `handshake: ${body}`);
    const session = new Polling();
    session.open = JSON.parse(body.slice(body.indexOf("{"), body.indexOf("}") + 1));
    session.sid = session.open.sid;
    session.url = `${base}${query}&sid=${session.sid}`;
    session.upgradeUrl = `${url}${path}?EIO=${eio}&transport=websocket&sid=${session.sid}`.replace("http", "ws");
    return session;
  }

  /** The answer to one poll. */
  poll() {
    return request(this.url);
  }

  /** The packets of one poll that has to succeed. */
  async packets() {
    const { status, body } = await this.poll();
    assert.equal(status, 200, `poll: ${body}`);
    return body.split("\u001e");
  }

  /** Polls until `count` packets came that are not pings (those are answered). */
  async messages(count) {
    const messages = [];
    while (messages.length < count) {
      for (const packet of await this.packets()) {
        if (packet === "2") await this.post("3");
        else messages.push(packet);
      }
    }
    return messages;
  }

  /** Sends a payload. */
  post(body, headers = { "content-type": "text/plain; charset=UTF-8" }) {
    return request(this.url, { method: "POST", headers, body });
  }

  /** Sends packets as one payload that has to be taken. */
  async send(...packets) {
    const { status, body } = await this.post(packets.join("\u001e"));
    assert.deepEqual([status, body], [200, "ok"]);
  }

  /** Whether the session is gone. */
  async gone() {
    return (await request(this.url)).status === 400;
  }
}
