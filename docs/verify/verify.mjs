// Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with nothing but Node's own modules.
//
// As a program: node verify.mjs SECRET ID TIMESTAMP SIGNATURES < body, which ends with 0 when the delivery is authentic.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const TOLERANCE_SECONDS = 300;

function keyOf(secret) {
  const prefix = "whsec_";
  return secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), "base64") : Buffer.from(secret);
}

// body: the raw bytes, as they came. The headers are webhook-id, webhook-timestamp and webhook-signature.
export function verify(secret, id, timestamp, signatures, body, nowSeconds) {
  if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const digest = createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  // Several signatures stand there while a secret is replaced: any of them will do.
  return signatures.split(" ").some((one) => {
    const given = Buffer.from(one);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [secret, id, timestamp, signatures] = process.argv.slice(2);
  process.exit(verify(secret, id, timestamp, signatures, readFileSync(0), Date.now() / 1000) ? 0 : 1);
}
