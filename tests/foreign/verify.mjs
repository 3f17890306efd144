// Verifies a delivery with the published libraries of Standard Webhooks and Svix, or as the guides of LokRoom and Powalyze say, and
// prints the names of those that take it. It reads {scheme, secret, headers, body} as JSON.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const { scheme, secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
const digest = createHmac("sha256", secret).update(body, "utf8").digest("hex");

function isEqual(header, expected) {
  const given = Buffer.from(headers[header] ?? "");
  return given.length === expected.length && timingSafeEqual(given, Buffer.from(expected));
}

const verifiers = {
  "standard-webhooks": {
    "standardwebhooks (Node)": () => new StandardWebhook(secret).verify(body, headers),
    "svix (Node)": () => new SvixWebhook(secret).verify(body, headers),
  },
  // The hex of the HMAC of the body.
  lokroom: { "LokRoom's guide": () => isEqual("x-lok-signature", digest) },
  // The same, behind the name of the algorithm.
  powalyze: { "Powalyze's guide": () => isEqual("x-powalyze-signature", `sha256=${digest}`) },
};
for (const [name, verify] of Object.entries(verifiers[scheme])) {
  try {
    if (verify()) console.log(name);
  } catch {
    // It is not authentic.
  }
}
