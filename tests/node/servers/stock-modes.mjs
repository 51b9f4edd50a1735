// Modes `eio-client` and `sio-client`: what the stock test suites of the two client libraries talk to.

import { engineServer, socketServer } from "./attach.mjs";

/** Mode `eio-client`: what the tests of engine.io-client expect. */
export function engineClient(server, options) {
  const engine = engineServer(server, "/engine.io", {
    ...options,
    allowRequest: (request, done) => done(null, !new URL(request.url, "http://x").searchParams.has("deny")),
  });
  engine.on("initial_headers", (headers) => {
    headers["Set-Cookie"] = [
      "1=1; Max-Age=86400",
      "2=2; Path=/; HttpOnly; Secure; SameSite=Strict",
      "3=3; Max-Age=0",
      `4=4; Expires=${new Date().toUTCString()}`,
    ];
  });
  engine.on("connection", (session) => {
    session.send("hi");
    session.on("message", (message) => {
      if (message === "give binary") session.send(Buffer.from([0, 1, 2, 3, 4]));
      else if (message === "give utf8") session.send("пойду спать всем спокойной ночи");
      else if (message === "sendHeaders") session.send(JSON.stringify(session.transport.dataReq?.headers ?? {}));
      else session.send(message);
    });
  });
}

/** Mode `sio-client`: what the tests of socket.io-client expect. */
export function socketClient(server, options) {
  const io = socketServer(server, "/socket.io", {
    ...options,
    connectionStateRecovery: {},
    allowRequest: (request, done) => setTimeout(() => done(null, true), 10),
  });
  io.use((socket, next) => next(socket.handshake.query.fail ? new Error("Auth failed (main namespace)") : undefined));
  io.on("connection", mainEvents);
  io.of("/foo").on("connection", (socket) => socket.on("getId", (ack) => ack(socket.id)));
  io.of("/abc").on("connection", (socket) => {
    const { query, auth } = socket.handshake;
    socket.emit("handshake", { query, auth });
  });
  io.of("/no").use((socket, next) => next(new Error("Auth failed (custom namespace)")));
  for (const name of ["/asd", "/valid", "/timeout_socket"]) io.of(name);
}

function mainEvents(socket) {
  const asdf = Buffer.from("asdfasdf");
  socket.on("hi", () => socket.emit("hi"));
  socket.on("echo", (value, ack) => ack?.(value));
  socket.on("getId", (ack) => ack(socket.id));
  socket.on("getHandshake", (ack) => ack({ query: socket.handshake.query, auth: socket.handshake.auth }));
  socket.on("ack", () => {
    socket.emit("ack", (a, b) => {
      if (a === 5 && b?.test === true) socket.emit("got it");
    });
  });
  socket.on("getAckDate", (value, ack) => ack(new Date().toISOString()));
  socket.on("getDate", () => socket.emit("takeDate", new Date().toISOString()));
  socket.on("getDateObj", () => socket.emit("takeDateObj", { date: new Date().toISOString() }));
  socket.on("getUtf8", () => {
    const texts = ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"];
    for (const text of texts) socket.emit("takeUtf8", text);
  });
  socket.on("false", () => socket.emit("false", false));
  socket.on("doge", () => socket.emit("doge", asdf));
  socket.on("getbin", () => socket.emit("takebin", asdf));
  socket.on("buffa", (value) => Buffer.isBuffer(value) && socket.emit("buffack"));
  socket.on("jsonbuff", (value) => {
    const { hello, message, goodbye } = value ?? {};
    if (hello === "lol" && Buffer.isBuffer(message) && goodbye === "gotcha") socket.emit("jsonbuff-ack");
  });
  let firstCame = false;
  socket.on("abuff1", (value) => (firstCame = Buffer.isBuffer(value)));
  socket.on("abuff2", () => firstCame && socket.emit("abuff2-ack"));
}
