import { useEffect, useSyncExternalStore } from "react";
import { socket } from "./socket.js";

/** Whether the socket is connected. */
export const useConnected = () => useSyncExternalStore(subscribe, () => socket.connected);

function subscribe(changed) {
  socket.on("connect", changed).on("disconnect", changed);
  return () => socket.off("connect", changed).off("disconnect", changed);
}

/** Calls `listener` for each `event`, for as long as the component is there. StrictMode adds, removes and adds it again. */
export function useEvent(event, listener) {
  useEffect(() => {
    socket.on(event, listener);
    return () => socket.off(event, listener);
  }, [event, listener]);
}
