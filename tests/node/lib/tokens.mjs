// Tokens (JWT) as backends sign them.

import crypto from "node:crypto";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Seconds since 1970. */
export const now = () => Date.now() / 1000;

/** A token signed with `key`: text for HS256, a private key for RS256 and ES256. It lives a minute unless `claims` say otherwise. */
export function sign(claims, key, alg = "HS256", header = {}) {
  const message = `${part({ typ: "JWT", alg, ...header })}.${part({ exp: Math.floor(now()) + 60, ...claims })}`;
  const signature =
    alg === "HS256"
      ? crypto.createHmac("sha256", key).update(message).digest()
      : crypto.sign("sha256", Buffer.from(message), { key, dsaEncoding: "ieee-p1363" });
  return `${message}.${signature.toString("base64url")}`;
}

/** A pair of keys for RS256 or ES256, the public one as PEM and as JWK, too. */
export function keyPair(alg) {
  const pair =
    alg === "RS256"
      ? crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
      : crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    private: pair.privateKey,
    pem: pair.publicKey.export({ type: "spki", format: "pem" }),
    jwk: (kid) => ({ ...pair.publicKey.export({ format: "jwk" }), kid, alg, use: "sig" }),
  };
}
