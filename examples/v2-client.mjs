// A chat in the terminal with a client of Socket.IO 2 (Engine.IO 3), which servers of ours let in unless told otherwise.
//
//     npm install socket.io-client@2
//     node v2-client.mjs http://localhost:3000 Ana        (the server: cargo run -p socketio-server --example chat)

import readline from "node:readline";
import io from "socket.io-client";

const [url = "http://localhost:3000", name = "Ana"] = process.argv.slice(2);
const socket = io(url, { transports: ["polling", "websocket"] });

// Clients of version 2 have neither `emitWithAck` nor `onAny`: answers come to a function.
socket.on("connect", () => {
  socket.emit("enter", name, (answer) => console.log(answer.error ?? `${name}, you are one of ${answer}`));
});
socket.on("said", ({ name, text }) => console.log(`${name}: ${text}`));
socket.on("entered", (who) => console.log(`${who} is here`));
socket.on("left", (who) => console.log(`${who} has left`));
socket.on("disconnect", (reason) => console.log(`disconnected: ${reason}`));

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (text) => socket.emit("say", text, (answer) => answer.error && console.log(answer.error)));
lines.on("close", () => socket.close());
