// Parsers that nobody has but these tests: what the option `parser` of a client takes, and of the reference server.

import { EventEmitter } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const notepack = createRequire(require.resolve("socket.io-msgpack-parser"))("notepack.io");

const packet = ([type, nsp, id, data]) => ({ type, nsp, id: id ?? undefined, data: data ?? undefined });
const parts = ({ type, nsp, id, data }) => [type, nsp ?? "/", id ?? null, data ?? null];

class Decoder extends EventEmitter {
  destroy() {
    this.removeAllListeners();
  }
}

/** A text, `M` and `[type, nsp, id, data, attachments]`, and the attachments behind it. */
export const marked = {
  Encoder: class {
    encode(given) {
      const attachments = [];
      const head = JSON.stringify([...parts(given)], function (key, value) {
        const binary = this[key];
        if (!ArrayBuffer.isView(binary) && !(binary instanceof ArrayBuffer)) return value;
        return { _placeholder: true, num: attachments.push(binary) - 1 };
      });
      return [`M${head.slice(0, -1)},${attachments.length}]`, ...attachments];
    }
  },
  Decoder: class extends Decoder {
    add(message) {
      if (typeof message === "string") {
        if (message[0] !== "M") throw new Error("no mark");
        this.head = message.slice(1);
        this.attachments = [];
      } else {
        this.attachments.push(message);
      }
      if (this.attachments.length < JSON.parse(this.head)[4]) return;
      const revive = (_, value) => (value?._placeholder === true && this.attachments.length ? this.attachments[value.num] : value);
      this.emit("decoded", packet(JSON.parse(this.head, revive)));
    }
  },
};

/** A byte 0x99, and `[type, nsp, id, data]` as MessagePack. */
export const packed = {
  Encoder: class {
    encode(given) {
      return [Buffer.concat([Buffer.from([0x99]), notepack.encode(parts(given))])];
    }
  },
  Decoder: class extends Decoder {
    add(message) {
      const bytes = Buffer.from(message);
      if (bytes[0] !== 0x99) throw new Error("no mark");
      this.emit("decoded", packet(notepack.decode(bytes.subarray(1))));
    }
  },
};
