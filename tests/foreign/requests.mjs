// Signs requests with the published libraries of other senders, as of the Unix seconds of the first argument, and prints them
// as one JSON array of {library, scheme, secret, headers, body}.

import { createRequire } from "node:module";
import { sign } from "@octokit/webhooks-methods";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import Stripe from "stripe";

const seconds = Number(process.argv[2]);
const at = new Date(seconds * 1000);
const secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const requests = [];

const event = JSON.stringify({ type: "invoice.paid", timestamp: at.toISOString(), data: { name: "Ålesund – 東京" } });
for (const [library, webhook] of [
  ["standardwebhooks", new StandardWebhook(secret)],
  ["svix", new SvixWebhook(secret)],
]) {
  const id = `msg_${library}`;
  const headers = {
    "webhook-id": id,
    "webhook-timestamp": String(seconds),
    "webhook-signature": webhook.sign(id, at, event),
  };
  requests.push({ library, scheme: "standard-webhooks", secret, headers, body: event });
}

const invoice = JSON.stringify({ id: "evt_stripe", object: "event", type: "invoice.paid", created: seconds }, null, 2);
const stripe = new Stripe("sk_test_of_nobody");
const header = stripe.webhooks.generateTestHeaderString({ payload: invoice, secret, timestamp: seconds });
requests.push({ library: "stripe", scheme: "stripe", secret, headers: { "stripe-signature": header }, body: invoice });

// The examples are what GitHub sends, of every event.
const examples = createRequire(import.meta.url)("@octokit/webhooks-examples");
for (const { name, examples: bodies } of examples) {
  const body = JSON.stringify(bodies[0]);
  const headers = { "x-github-event": name, "x-hub-signature-256": await sign(secret, body) };
  requests.push({ library: "@octokit/webhooks-methods", scheme: "github", secret, headers, body });
}

console.log(JSON.stringify(requests));
