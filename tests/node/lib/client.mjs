// The stock clients of three generations behind one small surface.
//
// `Client` opens a socket, records all it hears and asks questions. Everything a test opens is closed after it.

import { createRequire } from "node:module";
import { afterEach } from "node:test";
import { io as io4 } from "socket.io-client";
import { Heard } from "./heard.mjs";
import { event, within } from "./waiting.mjs";

const require = createRequire(import.meta.url);

export const libraries = { 2: require("socket.io-client-2"), 3: require("socket.io-client-3").io, 4: io4 };

/** The ways a client can go: options for the library. */
export const ways = {
  "polling only": { transports: ["polling"] },
  "websocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

const open = new Set();
afterEach(() => {
  for (const socket of open) {
    socket.io.reconnection(false);
    socket.disconnect();
    socket.io.engine?.close();
  }
  open.clear();
});

/** A stock client of library `version`; nothing is awaited. Options go to the library. */
export function client(url, options = {}, version = 4) {
  const socket = libraries[version](url, { forceNew: true, reconnection: false, ...options });
  open.add(socket);
  return record(socket);
}

/** Another namespace over the connection of `socket`. */
export function sibling(socket, nsp, options) {
  return record(socket.io.socket(nsp, options));
}

function record(socket) {
  const heard = new Heard();
  socket.heard = heard;
  if (socket.onAny) {
    socket.onAny((name, ...args) => heard.push(name, args));
  } else {
    const { onevent } = socket;
    socket.onevent = function (packet) {
      heard.push(packet.data[0], packet.data.slice(1));
      onevent.call(this, packet);
    };
  }
  return socket;
}

/** Waits until `socket` is connected, or fails with the refusal. */
export async function connected(socket) {
  if (!socket.connected) {
    const accepted = new Promise((resolve, reject) => {
      const refuse = (error) => reject(new Error(`refused: ${error?.message ?? JSON.stringify(error)}`, { cause: error }));
      socket.once("connect", resolve);
      socket.once("connect_error", refuse);
      socket.once("error", refuse);
    });
    await within(5000, "connect", accepted);
  }
  return socket;
}

/** Waits until the connection of `socket` goes over WebSocket. */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport?.name !== "websocket") await event(engine, "upgrade");
}

/** Emits with an acknowledgement and returns the list of its arguments. */
export function ask(socket, name, ...args) {
  return within(5000, `acknowledgement of ${name}`, new Promise((resolve) => {
    socket.emit(name, ...args, (...answer) => resolve(answer));
  }));
}

/** Waits until all that the server sent to `socket` before now is here. */
export async function settled(socket) {
  await ask(socket, "message-with-ack");
}

/** Why `socket` was disconnected, as its client tells it. */
export async function reasonOf(socket) {
  return (await event(socket, "disconnect"))[0];
}
