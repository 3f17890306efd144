"""Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with nothing but the standard library.

As a program: verify.py SECRET ID TIMESTAMP SIGNATURES < body, which ends with 0 when the delivery is authentic.
"""

import base64
import hashlib
import hmac
import sys
import time

TOLERANCE_SECONDS = 300


def key_of(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


def verify(secret: str, event_id: str, timestamp: str, signatures: str, body: bytes, now: float) -> bool:
    """body: the raw bytes, as they came. The last three headers are webhook-id, webhook-timestamp, webhook-signature."""
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    # Several signatures stand there while a secret is replaced: any of them will do.
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in signatures.split(" "))


if __name__ == "__main__":
    sys.exit(0 if verify(*sys.argv[1:5], sys.stdin.buffer.read(), time.time()) else 1)
