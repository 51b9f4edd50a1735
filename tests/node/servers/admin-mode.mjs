// Mode `admin`: a server that the Admin UI may look at, from a page of the origin ADMIN_ORIGIN.

import { instrument } from "@socket.io/admin-ui";
import { socketServer } from "./attach.mjs";

const HASH = "$2a$04$e7BrVKn63VCWoqvfra.Yd.cmileEISqNSXlkmVlB5.eSpwGt2ZWX6";

export function serve(server, options) {
  const origin = process.env.ADMIN_ORIGIN ?? "https://admin.socket.io";
  const io = socketServer(server, "/socket.io", { ...options, cors: { origin, credentials: true } });
  for (const nsp of [io, io.of("/chat")]) {
    nsp.on("connection", (socket) => {
      socket.on("set-name", (name, done) => done((socket.data.name = name) !== undefined));
      socket.on("enter", (room, done) => {
        socket.join(room);
        done(true);
      });
      socket.on("say", (text, done) => {
        socket.emit("said", text, 1);
        done(true);
      });
    });
  }
  io.of(/^\/board-/).on("connection", () => {});
  instrument(io, { auth: { type: "basic", username: "ana", password: HASH }, serverId: "server-1", mode: "development" });
  io.of("/open").on("connection", () => {});
}
