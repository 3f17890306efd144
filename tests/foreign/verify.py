"""Verifies a delivery with the published libraries of Standard Webhooks and Svix, and prints the names of those that take it.

It reads {secret, headers, body} as JSON; the libraries stand in the folder `python` beside it.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "python"))

import standardwebhooks  # noqa: E402
import svix.webhooks  # noqa: E402

delivery = json.load(sys.stdin)
for name, webhook in [
    ("standardwebhooks (Python)", standardwebhooks.Webhook),
    ("svix (Python)", svix.webhooks.Webhook),
]:
    try:
        webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
    except Exception:
        continue
    print(name)
