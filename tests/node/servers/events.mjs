// The events a conformance server answers, by namespace.

/** Section 2: `/` and `/custom` send back what comes; every other namespace is unknown. */
export function protocolNamespaces(io) {
  for (const name of ["/", "/custom"]) io.of(name).on("connection", (socket) => echo(socket));
}

/** Section 6: one event, default options. */
export function abuse(io) {
  io.on("connection", (socket) => {
    socket.on("echo", (...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      socket.emit("echo", ...args);
      ack?.(...args);
    });
  });
}

/** The `auth` greeting and the three `message` events, shared by sections 2 and 3. */
export function echo(socket) {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-uncompressed", (...args) => socket.compress(false).emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
  socket.on("emit-with-ack", (...args) => {
    socket.emit("emit-with-ack", ...args, (...answer) => socket.emit("emit-with-ack", ...answer));
  });
}

/** Why and in which rooms each socket of this process ended, over all servers, by socket id. */
export const ended = new Map();

/** Section 3: all events of `/` and `/custom`. */
export function everything(io, nsp, socket) {
  echo(socket);
  remember(socket);
  answers(socket);
  gifts(socket);
  questions(nsp, socket);
  rooms(io, nsp, socket);
  endings(nsp, socket);
  socket.use(([event], next) => (event === "forbidden" ? next(new Error("event not allowed")) : next()));
  socket.on("error", (error) => socket.emit("packet-error", error.message));
  socket.on("forbidden", () => socket.emit("forbidden-ran"));
}

function remember(socket) {
  let rooms;
  socket.on("disconnecting", () => (rooms = sorted(socket.rooms)));
  socket.on("disconnect", (reason) => {
    ended.set(socket.id, { reason, rooms, after: sorted(socket.rooms), nsp: socket.nsp.name });
  });
}

function answers(socket) {
  socket.on("whoami", (ack) => ack(whoami(socket)));
  socket.on("reason-of", (id, ack) => ack(ended.get(id) ?? null));
  socket.on("describe", (...args) => args.pop()(...args.map(described)));
  socket.on("types", (...args) => args.pop()(args.map(typeOf)));
  socket.on("ack-nothing", (ack) => ack());
  socket.on("ack-twice", (ack) => (ack(1), ack(2)));
  socket.on("ack-late", (ms, ack) => setTimeout(() => ack("late"), ms));
  socket.on("set-data", (value, ack) => ((socket.data = value), ack("ok")));
}

function whoami(socket) {
  const { query, auth, headers, url } = socket.handshake;
  return {
    id: socket.id, nsp: socket.nsp.name, rooms: sorted(socket.rooms), transport: socket.conn.transport.name,
    eio: socket.conn.protocol, recovered: socket.recovered, query, auth, header: headers["x-custom"] ?? null,
    url: url.split("?")[0], secure: false,
  };
}

function gifts(socket) {
  socket.on("give-binary", (n) => socket.emit("binary", bytes(n)));
  socket.on("give-nested", () => {
    const nested = { a: bytes(3), list: [bytes(1), "text", { deep: bytes(5) }], n: null };
    socket.emit("nested", nested, bytes(0), "end");
  });
  socket.on("give-text", (n) => socket.emit("text", "é".repeat(n)));
  socket.on("no-args", () => socket.emit("no-args"));
  socket.on("burst", (n) => {
    for (let i = 0; i < n; i++) socket.emit("burst", i);
  });
  socket.on("burst-mixed", (n) => {
    for (let i = 0; i < n; i++) socket.emit("burst-mixed", i, i % 2 ? bytes(i) : null);
  });
  socket.on("volatile", (event, ...args) => socket.volatile.emit(event, ...args));
  socket.on("volatile-then", (first, second) => (socket.volatile.emit(first), socket.emit(second)));
}

function questions(nsp, socket) {
  socket.on("ask", (value, ack) => socket.emit("question", value, (...answer) => ack(...answer)));
  socket.on("ask-timeout", (ms, ack) => {
    socket.timeout(ms).emit("question-timeout", (error, answer) => (error ? ack("timeout", null) : ack("answer", answer)));
  });
  socket.on("ask-room", (room, ms, value, ack) => {
    nsp.to(room).timeout(ms).emit("room-question", value, (error, answers) => ack(Boolean(error), [...answers].sort()));
  });
}

function rooms(io, nsp, socket) {
  socket.on("join", async (room, ack) => (await socket.join(room), ack(sorted(socket.rooms))));
  socket.on("leave", async (room, ack) => (await socket.leave(room), ack(sorted(socket.rooms))));
  socket.on("to-room", (room, ...event) => socket.to(room).emit(...event));
  socket.on("in-room", (room, ...event) => nsp.in(room).emit(...event));
  socket.on("in-room-uncompressed", (room, ...event) => nsp.in(room).compress(false).emit(...event));
  socket.on("to-rooms", (list, ...event) => nsp.to(list).emit(...event));
  socket.on("room-except", (room, except, ...event) => nsp.to(room).except(except).emit(...event));
  socket.on("broadcast", (...event) => socket.broadcast.emit(...event));
  socket.on("to-all", (...event) => nsp.emit(...event));
  socket.on("to-namespace", (other, ...event) => io.of(other).emit(...event));
  socket.on("sockets-in", async (room, ack) => ack((await nsp.in(room).fetchSockets()).map((s) => s.id).sort()));
  socket.on("data-of", async (id, ack) => ack((await nsp.in(id).fetchSockets())[0]?.data ?? null));
  socket.on("sockets-join", (room, more, ack) => (nsp.in(room).socketsJoin(more), ack("ok")));
  socket.on("sockets-leave", (room, less, ack) => (nsp.in(room).socketsLeave(less), ack("ok")));
}

function endings(nsp, socket) {
  socket.on("kick-room", (room, close) => nsp.in(room).disconnectSockets(close));
  socket.on("disconnect-me", (close) => socket.disconnect(close));
  socket.on("emit-and-disconnect", () => (socket.emit("last-words", "bye"), socket.disconnect()));
  socket.on("close-transport", () => socket.conn.close());
}

/** `n` bytes 0, 1, ... 255, 0, ... */
export function bytes(n) {
  return Buffer.from(Array.from({ length: n }, (_, i) => i % 256));
}

function sorted(names) {
  return [...names].sort();
}

function typeOf(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "binary";
  return typeof value;
}

function described(value) {
  if (typeOf(value) === "binary") return { $bin: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(described);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, described(part)]));
}
