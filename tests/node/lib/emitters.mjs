// Ways to send to the cluster without being a server, behind one surface.
//
// `npm`: @socket.io/redis-emitter in this process. `command`: EMITTER_CMD, our CLI, started once for each emit. `lines`:
// EMITTER_LINES, the address of somebody who takes one JSON object a line, does it with an emitter and answers with
// `{"ok":true}` or `{"ok":false,"error":...}`; our Rust tests lend the library in this way.

import { execFile } from "node:child_process";
import net from "node:net";
import readline from "node:readline";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { commandFrom } from "./process.mjs";
import { within } from "./waiting.mjs";

/** The emitters to test: those of the environment, and always npm's. Each is opened with a Redis URL. */
export const emitters = {
  npm: openNpm,
  ...(process.env.EMITTER_CMD ? { command: openCommand } : {}),
  ...(process.env.EMITTER_LINES ? { lines: openLines } : {}),
};

/** What every emitter can do; the command line has `emit` alone. */
export const onlyEmit = (name) => name === "command";

async function openNpm(url) {
  const redis = await createClient({ url }).connect();
  return {
    async send(m) {
      let emitter = new Emitter(redis, {}, m.nsp ?? "/");
      for (const room of m.to ?? []) emitter = emitter.to(room);
      if (m.except) emitter = emitter.except(m.except);
      if (m.volatile) emitter = emitter.volatile;
      if (m.compress !== undefined) emitter = emitter.compress(m.compress);
      if (m.op === "emit") emitter.emit(m.event, ...m.args);
      else if (m.op === "socketsJoin") emitter.socketsJoin(m.rooms);
      else if (m.op === "socketsLeave") emitter.socketsLeave(m.rooms);
      else if (m.op === "disconnectSockets") emitter.disconnectSockets(m.close);
      else if (m.op === "serverSideEmit") emitter.serverSideEmit(m.event, ...m.args);
      else throw new Error(`unknown op ${m.op}`);
      await redis.ping();
    },
    close: () => redis.close(),
  };
}

/** Runs EMITTER_CMD with some words; how it ended and what it said. */
export function runCommand(url, words) {
  const [file, ...start] = commandFrom("EMITTER_CMD");
  return new Promise((resolve, reject) => {
    execFile(file, [...start, ...words], { env: { ...process.env, REDIS_URL: url }, timeout: 10_000 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== "number") reject(error);
      else resolve({ code: error?.code ?? 0, stdout, stderr });
    });
  });
}

async function openCommand(url) {
  return {
    async send(m) {
      const args = ["emit", m.event, ...m.args.map((arg) => (typeof arg === "string" ? arg : JSON.stringify(arg)))];
      for (const room of m.to ?? []) args.push("--to", room);
      for (const room of m.except ?? []) args.push("--except", room);
      if (m.nsp) args.push("--nsp", m.nsp);
      const { code, stdout, stderr } = await runCommand(url, args);
      if (code) throw new Error(`${args.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    },
    close: () => {},
  };
}

/** The emitter of EMITTER_LINES; `adapter` is what the servers have. `send` returns what it said. */
export async function openLines(url, adapter) {
  const [host, port] = process.env.EMITTER_LINES.split(":");
  const socket = net.connect(Number(port), host);
  const lines = readline.createInterface({ input: socket })[Symbol.asyncIterator]();
  const send = async (m) => {
    socket.write(`${JSON.stringify(m, binaryAsHex)}\n`);
    const { value } = await within(10_000, `an answer to ${m.op}`, lines.next());
    const answer = JSON.parse(value);
    if (!answer.ok) throw new Error(`${m.op}: ${answer.error}`);
    return answer.said;
  };
  await send({ op: "connect", url, adapter });
  return { send, close: () => socket.destroy() };
}

/** In JSON lines, bytes are `{"$bin": "<hex>"}`. */
function binaryAsHex(key, value) {
  return value?.type === "Buffer" && Array.isArray(value.data) ? { $bin: Buffer.from(value.data).toString("hex") } : value;
}
