// Several Engine.IO and Socket.IO servers on the paths of one HTTP server.

import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";

/** An Engine.IO server of its own on `path` of `server`. */
export function engineServer(server, path, options) {
  const engine = new EngineServer(options);
  engine.attach(server, { path, destroyUpgrade: false });
  return engine;
}

/** A Socket.IO server of its own on `path` of `server`. */
export function socketServer(server, path, options) {
  return new Server(server, { path, serveClient: false, destroyUpgrade: false, ...options });
}
