// The page's one connection. It is made here, and not by a component, which may come and go.

import { io } from "socket.io-client";

export const socket = io(import.meta.env.VITE_SERVER ?? "http://localhost:3000");

/** Asks the server; an `error` in its answer is thrown. */
export async function ask(event, ...args) {
  const answer = await socket.timeout(5000).emitWithAck(event, ...args);
  if (answer?.error) throw new Error(answer.error);
  return answer;
}
