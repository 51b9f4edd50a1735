// Programs that a suite starts and ends: servers under test, Node.js servers, Redis.

import fs from "node:fs";
import path from "node:path";
import { spawn } from "node:child_process";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, sleep, until, within } from "./waiting.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));

/** The command of one of our Node.js servers in `servers/`. */
export function nodeServer(file) {
  return [process.execPath, path.join(here, "../servers", file)];
}

/** A command from the environment: words with spaces between, or a JSON list when a word has a space in it. */
export function commandFrom(name) {
  const text = process.env[name]?.trim();
  if (!text) throw new Error(`set ${name} to the command that is to be tested (words, or a JSON list of them)`);
  return text.startsWith("[") ? JSON.parse(text) : text.split(/\s+/);
}

/** One running program; whatever happens, it ends with the suite. */
export class Program {
  #child;
  #output = "";

  constructor(command, env = {}) {
    const [file, ...args] = command;
    this.name = path.basename(args.at(-1) ?? file);
    this.#child = spawn(file, args, { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    const keep = (bytes) => (this.#output = (this.#output + bytes).slice(-4000));
    this.#child.stdout.on("data", keep);
    this.#child.stderr.on("data", keep);
    this.ended = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve(this.end = `could not start ${file}: ${error.message}`));
      this.#child.once("exit", (code, signal) => resolve(this.end = `${this.name} ended with ${signal ?? code}`));
    });
    running.add(this);
    this.ended.then(() => running.delete(this));
  }

  get pid() {
    return this.#child.pid;
  }

  /** The last of what it printed. */
  get output() {
    return this.#output;
  }

  signal(name) {
    if (!this.end) this.#child.kill(name);
  }

  /** Has it stand still; when this returns each of its threads does. */
  async stand() {
    this.signal("SIGSTOP");
    const threads = `/proc/${this.pid}/task`;
    const stands = (thread) => /\) T /.test(fs.readFileSync(`${threads}/${thread}/stat`, "utf8"));
    await until(5000, `${this.name} stands still`, () => fs.readdirSync(threads).every(stands));
  }

  /** Ends it by SIGTERM, and by SIGKILL if that has no effect within 5 s. Returns how it ended. */
  async stop(name = "SIGTERM") {
    this.signal(name);
    const killer = setTimeout(() => this.signal("SIGKILL"), 5000);
    const end = await this.ended;
    clearTimeout(killer);
    return end;
  }

  /** Resident memory in bytes. */
  memory() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  /** Waits until `ready` answers true, or tells why it will not. */
  async ready(ms, ready) {
    await until(ms, `${this.name} is ready`, async () => {
      if (this.end) return true;
      return ready();
    }).catch((error) => {
      this.signal("SIGKILL"); // Or the suite would never end.
      throw new Error(`${error.message}; it printed:\n${this.output}`, { cause: error });
    });
    if (this.end) throw new Error(`${this.end}; it printed:\n${this.output}`);
    return this;
  }
}

const running = new Set();
process.on("exit", () => running.forEach((program) => program.signal("SIGKILL")));

/** Starts a Socket.IO server by `command` on a free port; returns it once a polling handshake is answered. */
export async function startServer(command, env = {}, { at = "/socket.io/", port } = {}) {
  port ??= await freePort();
  const program = new Program(command, { PORT: String(port), ...env });
  program.port = port;
  program.url = `http://127.0.0.1:${port}`;
  return program.ready(10_000, async () => {
    const answer = await fetch(`${program.url}${at}?EIO=4&transport=polling`, { signal: AbortSignal.timeout(1000) });
    return answer.status === 200 && (await answer.text()).includes('"sid"');
  });
}

/** The server under test (SERVER_CMD) for all tests of a file; its `url` is known once the first test runs. */
export function serverUnderTest(env, options) {
  const server = {};
  before(async () => {
    server.program = await startServer(commandFrom("SERVER_CMD"), env, options);
    server.url = server.program.url;
  });
  after(async () => {
    if (!server.program) return;
    const { program } = server;
    const early = program.end;
    const end = await program.stop();
    if (early) throw new Error(`the server did not live to the end: ${early}; it printed:\n${program.output}`);
    if (!/ with (0|SIGTERM)$/.test(end)) throw new Error(`not a clean end: ${end}; it printed:\n${program.output}`);
  });
  return server;
}

/** A Redis (REDIS_SERVER names another server like it) of this suite's own, on a free port, without any file, unless there are `options`. */
export async function startRedis(port, options = ["--appendonly", "no", "--dir", "/tmp"]) {
  port ??= await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...options];
  const redis = new Program([process.env.REDIS_SERVER ?? "redis-server", ...args]);
  redis.name = "redis-server";
  redis.port = port;
  redis.url = `redis://127.0.0.1:${port}`;
  return redis.ready(10_000, () => within(500, "PONG", redisAnswers(port)));
}

async function redisAnswers(port) {
  const { default: net } = await import("node:net");
  const socket = net.connect(port, "127.0.0.1");
  try {
    return await new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.once("data", (bytes) => resolve(bytes.toString().startsWith("+PONG")));
      socket.write("PING\r\n");
    });
  } finally {
    socket.destroy();
  }
}

export { sleep };
