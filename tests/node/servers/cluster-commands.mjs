// What a cluster node does on a client's `cmd`, over any adapter: one op for each thing that suites ask for.

/** Serves `cmd`, `echo` and the server-side events in `nsp`. */
export function commands(nsp, { name, kind, recovery = false }) {
  const log = [];
  nsp.on("sse", (...args) => log.push(args));
  nsp.on("sse-ack", (...args) => {
    const answer = args.pop();
    answer({ node: name, got: args });
  });
  nsp.on("sse-echo", (value, answer) => answer(value));

  nsp.on("connection", (socket) => {
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("cmd", async (m, ack) => {
      const op = ops[m?.op];
      if (!op) return ack({ ok: false, error: `unsupported op ${m?.op}` });
      try {
        ack({ ok: true, ...(await op({ nsp, socket, m, name, kind, recovery, log })) });
      } catch (error) {
        ack({ ok: false, error: error.message });
      }
    });
  });
}

/** The sockets that `m` means: from the namespace or the calling socket, rooms, exceptions, flags. */
function target({ nsp, socket, m }) {
  let sockets = m.fromSocket ? socket.broadcast : nsp.except([]);
  for (const room of m.to ?? []) sockets = sockets.to(room);
  if (m.except) sockets = sockets.except(m.except);
  if (m.local) sockets = sockets.local;
  if (m.volatile) sockets = sockets.volatile;
  if (m.compress !== undefined) sockets = sockets.compress(m.compress);
  return sockets;
}

const ops = {
  whoami: ({ socket, nsp, name, kind, recovery }) => ({
    node: name, adapter: kind, sid: socket.id, nsp: nsp.name, recovery, recovered: socket.recovered,
  }),
  join: async ({ socket, m }) => (await socket.join(m.rooms), rooms(socket)),
  leave: async ({ socket, m }) => (await socket.leave(m.room), rooms(socket)),
  rooms: ({ socket }) => rooms(socket),
  data: ({ socket }) => ({ data: socket.data }),
  setData: ({ socket, m }) => void (socket.data = m.data),

  broadcast: (call) => void target(call).emit(call.m.event, ...(call.m.args ?? [])),
  emitMany: (call) => {
    const sockets = target(call);
    for (let i = 0; i < call.m.count; i++) sockets.emit(call.m.event, i);
  },
  flood: async (call) => {
    const pad = "x".repeat(call.m.size);
    for (let i = 0; i < call.m.count; i++) {
      target(call).emit(call.m.event, i, pad);
      if (i % 100 === 99) await new Promise(setImmediate);
    }
  },
  broadcastAck: (call) => answers((done) => {
    target(call).timeout(call.m.timeout).emit(call.m.event, ...(call.m.args ?? []), done);
  }),

  fetchSockets: async (call) => ({
    sockets: (await target(call).fetchSockets()).map((socket) => ({
      id: socket.id, rooms: [...socket.rooms], data: socket.data, auth: socket.handshake.auth, query: socket.handshake.query,
      address: socket.handshake.address, hasHeaders: typeof socket.handshake.headers === "object",
    })),
  }),
  remoteSocket: async ({ nsp, m }) => {
    const [remote] = await nsp.in(m.sid).fetchSockets();
    return remote ? { found: true, ...(await remoteActions[m.action](remote, m)) } : { found: false };
  },
  socketsJoin: (call) => void target(call).socketsJoin(call.m.rooms),
  socketsLeave: (call) => void target(call).socketsLeave(call.m.rooms),
  disconnectSockets: (call) => void target(call).disconnectSockets(call.m.close),

  serverSideEmit: ({ nsp, m }) => void nsp.serverSideEmit(m.event, ...(m.args ?? [])),
  serverSideEmitAck: ({ nsp, m }) => answers((done) => nsp.serverSideEmit(m.event, ...(m.args ?? []), done)),
  serverSideLog: ({ log }) => ({ log: log.splice(0) }),
  serverCount: async ({ nsp }) => ({ count: await nsp.adapter.serverCount() }),
  allSockets: async ({ nsp }) => ({ sids: [...(await nsp.allSockets())] }),
  allRooms: async ({ nsp }) => (nsp.adapter.allRooms ? { rooms: [...(await nsp.adapter.allRooms())] } : { unsupported: true }),

  panic: () => void setImmediate(() => { throw new Error("a bug in a handler"); }),
  block: ({ m }) => {
    const end = Date.now() + m.ms;
    while (Date.now() < end);
  },
};

const remoteActions = {
  join: (remote, m) => void remote.join(m.rooms),
  leave: (remote, m) => void remote.leave(m.room),
  disconnect: (remote, m) => void remote.disconnect(m.close),
  emit: (remote, m) => void remote.emit(m.event, ...(m.args ?? [])),
  emitAck: (remote, m) => new Promise((resolve) => {
    remote.timeout(m.timeout).emit(m.event, ...(m.args ?? []), (error, response) => {
      resolve({ error: error?.message ?? null, response });
    });
  }),
};

/** The result of a question to many: the error's text and whatever came. */
function answers(ask) {
  return new Promise((resolve) => {
    ask((error, responses) => resolve({ error: error?.message ?? null, responses: responses ?? [] }));
  });
}

function rooms(socket) {
  return { rooms: [...socket.rooms] };
}
