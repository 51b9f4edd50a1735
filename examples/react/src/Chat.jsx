import { useCallback, useRef, useState } from "react";
import { useConnected, useEvent } from "./hooks.js";
import { ask, socket } from "./socket.js";

export function Chat() {
  const connected = useConnected();
  const [name, setName] = useState("");
  const [entered, setEntered] = useState(false);
  const [text, setText] = useState("");
  const [lines, setLines] = useState([]);
  const [problem, setProblem] = useState("");
  const here = useRef(null); // The name that was entered, for the next connection.

  const add = useCallback((line) => setLines((lines) => [...lines.slice(-99), { ...line, key: crypto.randomUUID() }]), []);
  useEvent("said", useCallback(({ name, text }) => add({ name, text }), [add]));
  useEvent("entered", useCallback((name) => add({ quiet: `${name} is here` }), [add]));
  useEvent("left", useCallback((name) => add({ quiet: `${name} has left` }), [add]));
  // A new connection is a new socket to the server, which knows nothing of the last one.
  useEvent("connect", useCallback(() => here.current && ask("enter", here.current).catch((error) => setProblem(error.message)), []));

  async function submit(event) {
    event.preventDefault();
    try {
      if (entered) {
        await ask("say", text);
        add({ name, text });
        setText("");
      } else {
        const count = await ask("enter", name);
        here.current = name;
        setEntered(true);
        add({ quiet: `you are here, ${count} in all` });
      }
      setProblem("");
    } catch (error) {
      setProblem(error.message);
    }
  }

  function change(event) {
    if (!entered) return setName(event.target.value);
    setText(event.target.value);
    socket.volatile.emit("writing");
  }

  return (
    <>
      <p className="quiet">{connected ? "connected" : "not connected"}</p>
      <ul>
        {lines.map(({ key, name, text, quiet }) => (
          <li key={key} className={quiet && "quiet"}>{quiet ?? `${name}: ${text}`}</li>
        ))}
      </ul>
      <form onSubmit={submit}>
        <input value={entered ? text : name} onChange={change} placeholder={entered ? "Message" : "Your name"} autoFocus />
        <button disabled={!connected}>{entered ? "Send" : "Enter"}</button>
      </form>
      {problem && <p role="alert">{problem}</p>}
    </>
  );
}
