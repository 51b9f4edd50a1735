// Where we promise more than the reference does.

import { test } from "node:test";

const asserted = process.env.BETTER === "1";

/**
 * A test of something the reference server gets wrong: `fault` says what it does instead. Asserted with BETTER=1, which
 * the tests of our own servers set; told as skipped otherwise, so that the suites can be proven on the reference.
 */
export function better(name, fault, run) {
  test(name, { skip: asserted ? false : `the reference does not: ${fault}` }, run);
}

/** What is promised beyond the reference inside a test that the reference passes otherwise. */
better.asserted = asserted;
