// A headless Chromium, and pages in it with the stock client.
//
// The browser is the system's (CHROMIUM, else /usr/bin/chromium); playwright-core only steers it.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, afterEach, before } from "node:test";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** No sandbox, since tests may run as root; no calls home. */
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A stock client of npm, as a page loads it. */
const clientFile = (name) =>
  path.join(path.dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "dist/socket.io.js");
export const CLIENT = clientFile("socket.io-client");
export const CLIENT_2 = clientFile("socket.io-client-2");

/** With an icon of its own, so that none is asked for. */
const EMPTY = `<!doctype html><title>test</title><link rel="icon" href="data:,">`;

/** The browser for all tests of a file. */
export function browserUnderTest() {
  let browser;
  const contexts = new Set();

  before(async () => {
    if (!fs.existsSync(executablePath)) {
      throw new Error(`${executablePath} is missing: apt-get install chromium, or scripts/test.sh --setup-only`);
    }
    browser = chromium.launch({ executablePath, args });
    await browser;
  });
  after(async () => (await browser)?.close());
  afterEach(async () => {
    await Promise.all([...contexts].map((context) => context.close()));
    contexts.clear();
  });

  return {
    /**
     * A page of its own session (cookies, storage) at `url`, closed after the test. What it throws or logs as an error
     * is in `page.errors`. With `html` the page is that, whatever the server has there.
     */
    async page(url, { html } = {}) {
      // Without it, only a page that came over the network may talk to 127.0.0.1.
      const context = await (await browser).newContext({ permissions: ["local-network-access"] });
      contexts.add(context);
      const page = await context.newPage();
      page.errors = [];
      page.on("pageerror", (error) => page.errors.push(String(error)));
      page.on("console", (message) => message.type() === "error" && page.errors.push(message.text()));
      if (html) await page.route(url, (route) => route.fulfill({ contentType: "text/html", body: html }));
      await page.goto(url);
      return page;
    },

    /**
     * An empty page of the server at `url` with the stock client and, as functions of the page, `connect(options)`,
     * `next(socket, event)` and `ask(socket, event, ...args)`: promises that give up after five seconds.
     */
    async client(url, options = {}, script = CLIENT) {
      const page = await this.page(`${url}/test-page`, { html: EMPTY });
      await page.addScriptTag({ path: script });
      await page.evaluate(inPage, options);
      return page;
    },
  };
}

/** Runs in the page. `defaults` are options of each client there; `certificate` is the hash that it accepts. */
function inPage({ certificate, ...defaults }) {
  const soon = (what, start) =>
    new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(`not within 5000 ms: ${what}`)), 5000);
      start(resolve, reject);
    });
  if (certificate) {
    const hash = { algorithm: "sha-256", value: new Uint8Array(certificate) };
    window.webtransportOptions = { serverCertificateHashes: [hash] };
    defaults.transportOptions = { webtransport: window.webtransportOptions };
  }
  window.soon = soon;
  window.next = (socket, event) => soon(event, (resolve) => socket.once(event, (...args) => resolve(args)));
  window.ask = (socket, ...args) => soon(`the answer to ${args[0]}`, (resolve) => socket.emit(...args, (...answer) => resolve(answer)));
  // `early` is given the socket before it is connected.
  window.connect = (options = {}, early = () => {}) =>
    soon("connect", (resolve, reject) => {
      const socket = window.io(options.nsp ?? "/", { forceNew: true, reconnection: false, ...defaults, ...options });
      early(socket);
      // Asked when the socket is connected it may be another one already.
      socket.io.once("open", () => (socket.firstTransport = socket.io.engine.transport.name));
      socket.once("connect", () => resolve(socket));
      socket.once("connect_error", (error) => reject(new Error(`refused: ${error.message}`)));
    });
  window.upgraded = (socket, ...transports) =>
    soon(`the upgrade to ${transports.join(" or ")}`, (resolve) => {
      const look = () => (transports.includes(socket.io.engine.transport.name) ? resolve() : setTimeout(look, 10));
      look();
    });
}
