import { onScopeDispose, readonly, ref } from "vue";
import { socket } from "./socket.js";

/** Calls `listener` for each `event`, for as long as the component is there. */
export function useEvent(event, listener) {
  socket.on(event, listener);
  onScopeDispose(() => socket.off(event, listener));
}

/** Whether the socket is connected. */
export function useConnected() {
  const connected = ref(socket.connected);
  const look = () => (connected.value = socket.connected);
  useEvent("connect", look);
  useEvent("disconnect", look);
  return readonly(connected);
}
