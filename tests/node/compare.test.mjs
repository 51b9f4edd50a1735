// The same requests to the reference server and to ours, and everything that comes back, byte for byte.
//
// `SERVER_CMD` is the compare-server; the other side is servers/compare.mjs. What may differ stands in
// cases/differences.mjs, with its reason; a difference that is no more has to go from there.

import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { DIFFERENCES } from "./cases/differences.mjs";
import { CASES } from "./cases/requests.mjs";
import { commandFrom, nodeServer, Program } from "./lib/process.mjs";
import { Wire } from "./lib/wire.mjs";

const page = new URL("../../docs/differences.md", import.meta.url);
const sides = {};

before(async () => {
  for (const [name, command] of [["reference", nodeServer("compare.mjs")], ["ours", commandFrom("SERVER_CMD")]]) {
    const program = new Program(command);
    await program.ready(10_000, () => program.output.includes("}"));
    sides[name] = { program, ports: JSON.parse(program.output.match(/\{.*\}/)[0]) };
  }
});
after(() => Promise.all(Object.values(sides).map(({ program }) => program.stop())));

const changes = new Map();
for (const { what, cases } of DIFFERENCES) {
  for (const [name, change] of Object.entries(cases)) {
    if (!CASES.some((one) => one.name === name)) throw new Error(`"${what}" is about "${name}", which is no case`);
    changes.set(name, [...(changes.get(name) ?? []), change]);
  }
}

test("each case has a name of its own", () => {
  assert.equal(new Set(CASES.map(({ name }) => name)).size, CASES.length);
});

test("docs/differences.md has the table", () => {
  const table = DIFFERENCES.map(({ what, reference, ours, why }) => `| ${[what, reference, ours, why].join(" | ")} |\n`).join("");
  const text = fs.readFileSync(page, "utf8");
  const [start, end] = [text.indexOf("|---|\n") + "|---|\n".length, text.indexOf("\n<!-- end")];
  if (process.env.WRITE) fs.writeFileSync(page, text.slice(0, start) + table + text.slice(end));
  else assert.equal(text.slice(start, end), table, "WRITE=1 brings it up to date");
});

describe("the same requests to both", { concurrency: 4 }, () => {
  for (const { set, name, run } of CASES) {
    test(name, async () => {
      const [reference, ours] = await Promise.all(["reference", "ours"].map(async (side) => {
        const wire = new Wire(sides[side].ports, set);
        return run(wire).finally(() => wire.close());
      }));
      if (process.env.SHOW && !isDeepStrictEqual(reference, ours)) {
        fs.appendFileSync(process.env.SHOW, `${JSON.stringify({ name, reference, ours })}\n`);
      }
      const expected = (changes.get(name) ?? []).reduce((transcript, change) => {
        const other = change(structuredClone(transcript));
        assert.notDeepEqual(other, transcript, "the reference has changed: this difference is none any more");
        return other;
      }, reference);
      assert.deepEqual(ours, expected);
    });
  }
});
