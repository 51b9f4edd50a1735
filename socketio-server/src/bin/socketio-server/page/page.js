// The page of socketio-server: shows every event that arrives, joins rooms, chats.
//
// What the two say to each other is described in chat.rs. Everything that came from outside is put
// into the page as text, never as HTML.

"use strict";

const MAX_EVENTS = 300;
const MAX_MESSAGES = 300;
const MAX_PAST = 50;
const MAX_SAMPLES = 40;
const SHORT = 300;
const LONG = 20000;

const element = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const socket = io();
const rooms = new Set();

// Connection: state, transport and its change, and what happened to it.

const TRANSPORTS = { polling: "HTTP long-polling", websocket: "WebSocket", webtransport: "WebTransport" };
const REASONS = {
  "io server disconnect": "the server closed the connection",
  "io client disconnect": "",
  "ping timeout": "the server went silent",
  "transport close": "the connection was lost",
  "transport error": "the connection was lost",
  "forced close": "the connection was broken here",
};
/** When the connection was lost, until it is back. */
let lostAt = null;
/** How many of the events that were missed have come: the client hands them over before it says that it is connected. */
let caughtUp = 0;

function showState(state, text, detail = "") {
  element("state").dataset.state = state;
  element("state").textContent = text;
  element("detail").textContent = detail;
  element("toggle").textContent = socket.active || state === "connected" ? "Disconnect" : "Connect";
  element("cut").disabled = state !== "connected";
  if (state === "connected") return;
  element("count").textContent = "–";
  element("latency").textContent = "–";
  element("track").dataset.change = "";
  showTransport(null, "–");
}

function showTransport(name, text) {
  for (const stop of element("track").querySelectorAll(".stop")) {
    stop.classList.toggle("here", stop.dataset.transport === name);
  }
  element("transport").textContent = text;
}

/** Adds a line to what happened. */
function note(text, kind = "") {
  const item = make("li", kind);
  item.append(make("time", "", clock(new Date(), false, true)), make("span", "", text));
  element("past").prepend(item);
  while (element("past").childElementCount > MAX_PAST) element("past").lastElementChild.remove();
}

const seconds = (ms) => (ms < 950 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);

socket.io.on("open", () => {
  const { engine } = socket.io;
  const opened = performance.now();
  const { name } = engine.transport;
  element("track").dataset.change = "";
  showTransport(name, `opened over ${TRANSPORTS[name] ?? name}`);
  engine.on("upgrading", ({ name: next }) => {
    element("track").dataset.change = "under way";
    element("transport").textContent = `trying ${TRANSPORTS[next] ?? next} …`;
  });
  engine.on("upgrade", ({ name: next }) => {
    const after = seconds(performance.now() - opened);
    element("track").dataset.change = "done";
    showTransport(next, `upgraded after ${after}`);
    note(`upgraded to ${TRANSPORTS[next] ?? next} after ${after}`, "good");
  });
});
socket.on("connect", () => {
  showState("connected", "Connected");
  const { name } = socket.io.engine.transport;
  if (element("transport").textContent === "–") showTransport(name, `over ${TRANSPORTS[name] ?? name}`);
  const over = TRANSPORTS[name] ?? name;
  if (lostAt === null) {
    note(`connected over ${over}`, "good");
  } else {
    const missed = `the same session, ${caughtUp === 1 ? "1 missed event" : `${caughtUp || "no"} missed events`}`;
    note(`back after ${seconds(performance.now() - lostAt)}: ${socket.recovered ? missed : "a new session"}`, "good");
  }
  lostAt = null;
  caughtUp = 0;
  setTimeout(measure, 300); // Not beside the upgrade.
  if (!socket.recovered) for (const room of rooms) ask("join", room);
});
socket.io.on("reconnect_attempt", () => showState("connecting", "Reconnecting"));
socket.on("connect_error", (error) => {
  const detail = error.message === "xhr poll error" ? "the server cannot be reached" : error.message;
  showState(socket.active ? "connecting" : "disconnected", socket.active ? "Reconnecting" : "Refused", detail);
  if (!socket.active) note(`refused: ${detail}`, "bad");
});
socket.on("disconnect", (reason) => {
  const detail = REASONS[reason] ?? reason;
  if (socket.active) lostAt = performance.now();
  showState(socket.active ? "connecting" : "disconnected", socket.active ? "Reconnecting" : "Disconnected", detail);
  note(detail || "disconnected", "bad");
});
element("toggle").addEventListener("click", () => {
  if (socket.active) {
    socket.disconnect();
    lostAt = null;
    showState("disconnected", "Disconnected");
  } else {
    showState("connecting", "Connecting");
    socket.connect();
  }
});
element("cut").addEventListener("click", () => socket.io.engine.close());

// Round trip: an acknowledgement of the server, every two seconds.

const samples = [];

async function measure() {
  if (!socket.connected || document.hidden) return;
  const sent = performance.now();
  try {
    await socket.timeout(5000).emitWithAck("latency");
  } catch {
    return; // Lost, or too late: the state says so.
  }
  samples.push(performance.now() - sent);
  if (samples.length > MAX_SAMPLES) samples.shift();
  const figure = (ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
  const sorted = [...samples].sort((a, b) => a - b);
  element("latency").textContent = `${figure(samples.at(-1))} ms`;
  element("latency-range").textContent = `${figure(sorted[0])} to ${figure(sorted.at(-1))} ms, median ${figure(sorted[sorted.length >> 1])}`;
  const step = 120 / (MAX_SAMPLES - 1);
  const point = (ms, n) => `${(n * step).toFixed(1)},${(30 - (28 * ms) / Math.max(sorted.at(-1), 1)).toFixed(1)}`;
  element("spark").firstElementChild.setAttribute("points", samples.map(point).join(" "));
}
setInterval(measure, 2000);

// Events: whatever arrives, newest first. A burst is drawn once per frame.

let total = 0;
let paused = false;
let waiting = [];
let drawing = false;

socket.onAny((name, ...args) => {
  const wantsAnswer = typeof args.at(-1) === "function";
  if (wantsAnswer) args.pop()("seen");
  // A server with connection state recovery gives each event its place in the history as the last argument. The stock
  // client, which takes it from there, says by `_pid` alone that this is one.
  else if (socket._pid && typeof args.at(-1) === "string") args.pop();
  total += 1;
  const missed = lostAt !== null;
  if (missed) caughtUp += 1;
  waiting.push({ name, args, wantsAnswer, missed, at: new Date() });
  if (waiting.length > MAX_EVENTS) waiting.shift();
  if (!drawing) {
    drawing = true;
    // A page in the background gets no frames; a timer keeps it up to date there.
    document.hidden ? setTimeout(drawEvents, 250) : requestAnimationFrame(drawEvents);
  }
});

function drawEvents() {
  drawing = false;
  element("total").textContent = total === 1 ? "1 so far" : total ? `${total.toLocaleString("en")} so far` : "none yet";
  if (paused) return;
  const list = element("events");
  for (const event of waiting) {
    const newest = list.firstElementChild;
    // How many are connected may change often: one line is enough for a row of such changes.
    if (event.name === "count" && newest?.dataset.name === "count") newest.remove();
    list.prepend(eventRow(event));
  }
  waiting = [];
  while (list.childElementCount > MAX_EVENTS) list.lastElementChild.remove();
  showEmpty();
}

function showEmpty() {
  const list = element("events");
  const empty = list.querySelector(".empty");
  if (list.childElementCount === 0) list.append(make("li", "empty", "Events appear here as they arrive."));
  else if (empty && list.childElementCount > 1) empty.remove();
}

function eventRow({ name, args, wantsAnswer, missed, at }) {
  const row = make("li", "event");
  row.dataset.name = name;
  const what = make("div", "what");
  const text = args.map(show).join(", ");
  const shown = document.createTextNode(cut(text, SHORT));
  what.append(make("b", "", name), shown);
  if (text.length > SHORT) {
    const more = make("button", "more", "Show more");
    more.type = "button";
    more.addEventListener("click", () => {
      shown.data = cut(text, LONG);
      more.remove();
    });
    what.append(more);
  }
  if (wantsAnswer) what.append(make("span", "note", "answered"));
  if (missed) what.append(make("span", "note", "missed, and caught up"));
  row.append(make("time", "", clock(at, true)), what);
  return row;
}

const cut = (text, length) => (text.length > length ? `${text.slice(0, length)} …` : text);

function show(value) {
  return JSON.stringify(value, (_, inner) => (inner instanceof ArrayBuffer ? bytes(inner) : inner)) ?? "undefined";
}

function bytes(buffer) {
  const head = [...new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 16))];
  const hex = head.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `<${buffer.byteLength} bytes: ${hex}${buffer.byteLength > 16 ? " …" : ""}>`;
}

function clock(date, exact, withSeconds = exact) {
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (exact) return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return withSeconds ? time : time.slice(0, 5);
}

element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").setAttribute("aria-pressed", String(paused));
  element("pause").textContent = paused ? "Resume" : "Pause";
  drawEvents();
});
element("clear").addEventListener("click", () => {
  total = 0;
  waiting = [];
  element("events").replaceChildren();
  drawEvents();
  showEmpty();
});

socket.on("count", (count) => {
  if (Number.isInteger(count)) element("count").textContent = count.toLocaleString("en");
});

// Where emitters reach this server.

const HINTS = {
  bus: "Send one from another terminal:",
  redis: "Send one from a terminal whose REDIS_URL is this server's Redis:",
  nothing: "This server is on no bus, so emitters cannot reach it. Once it is (--redis URL, or --bus ADDR), send one with:",
};
const quoted = (text) => (/^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

socket.on("welcome", (about) => {
  if (!Object.hasOwn(HINTS, about?.joined)) return;
  const url = about.url && about.url !== "redis://127.0.0.1:6379" ? ` --url ${quoted(about.url)}` : "";
  const key = about.key === "socket.io" ? "" : ` --key ${quoted(String(about.key))}`;
  element("hint").textContent = HINTS[about.joined];
  element("command").textContent = `cargo run --release -p emitter-cli -- emit${url}${key} time "$(date -Is)"`;
});
element("copy").addEventListener("click", async () => {
  const text = element("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
    element("copy").textContent = "Copied";
  } catch {
    // Without https or localhost there is no clipboard: the text is marked, to be copied by hand.
    getSelection().selectAllChildren(element("command"));
    element("copy").textContent = "Marked";
  }
  setTimeout(() => (element("copy").textContent = "Copy"), 1500);
});

// Rooms and chat. The server answers each request: an error, or what came of it.

function problem(event, text) {
  const place = element(event === "chat" ? "chat-problem" : "room-problem");
  place.textContent = text;
  place.hidden = !text;
}

async function ask(event, argument) {
  try {
    const answer = await socket.timeout(5000).emitWithAck(event, argument);
    if (answer?.error) throw new Error(answer.error);
    problem(event, "");
    if (event !== "chat") showRooms(answer);
    return true;
  } catch (error) {
    problem(event, error.message === "operation has timed out" ? "The server did not answer." : error.message);
    return false;
  }
}

function showRooms(names) {
  rooms.clear();
  for (const name of names) rooms.add(name);
  element("rooms").replaceChildren(
    ...names.map((name) => {
      const chip = make("li", "chip");
      const leave = make("button", "", "×");
      leave.type = "button";
      leave.title = `Leave ${name}`;
      leave.setAttribute("aria-label", `Leave ${name}`);
      leave.addEventListener("click", () => ask("leave", name));
      chip.append(make("span", "", name), leave);
      return chip;
    }),
  );
  const to = element("to");
  const chosen = to.value;
  to.replaceChildren(new Option("Everyone", ""), ...names.map((name) => new Option(name, name)));
  to.value = rooms.has(chosen) ? chosen : "";
}

element("join").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const room = element("room").value.trim();
  if (room && (await ask("join", room))) {
    element("room").value = "";
    element("to").value = room;
  }
});

element("chat").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const text = element("text").value.trim();
  const room = element("to").value;
  if (text && (await ask("chat", { name: element("name").value.trim(), text, ...(room && { room }) }))) {
    element("text").value = "";
  }
});

socket.on("chat", (message) => {
  if (typeof message?.text !== "string") return;
  const list = element("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = make("li", "message");
  item.append(make("b", "", message.name || "somebody"));
  if (message.room) item.append(make("span", "room", message.room));
  item.append(make("time", "", clock(new Date(), false)), make("p", "", message.text));
  list.append(item);
  while (list.childElementCount > MAX_MESSAGES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
});

// A name stays with the browser.

const stored = (() => {
  try {
    return localStorage.getItem("name");
  } catch {
    return null;
  }
})();
element("name").value = stored || `guest ${Math.floor(100 + Math.random() * 900)}`;
element("name").addEventListener("change", () => {
  try {
    localStorage.setItem("name", element("name").value.trim());
  } catch {
    // Not allowed to store: the name lasts as long as the page.
  }
});

showEmpty();
