"""A webhook: records in the body of a request to an address of your own, signed where there is a secret.

In: messages. Out: a JSON array, or a line a record. Never: a batch sent again under another id.

Source: Standard Webhooks 1.0 for ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature`` (HMAC-SHA256 over
id, time and body), for which verifiers exist in most languages; Idempotency-Key as drafted by the IETF HTTPAPI group.
"""

from __future__ import annotations

import binascii
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.http import JSON_FORMATS, SETTINGS, Http, authorised, narrowed, taken
from egress_watch.sinks.sink import RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt

BODIES = ("array", "lines")
AUTHS = ("signature", "bearer")


class Webhook:
    """Posts batches."""

    def __init__(self, settings: SinkSettings) -> None:
        _check(settings)
        found = authorised(settings)
        signs = found and settings.auth == "signature"
        self._key = _key(found, settings) if signs else b""
        self._http = Http(settings, {"Authorization": f"Bearer {found}"} if found and not signs else {})
        self._path = self._http.address.path or "/"
        self._json, self._lines = settings.format in JSON_FORMATS, settings.body == "lines"

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Post one batch; any status of 2xx says it was taken, 409 that it had been."""
        body = self._body(messages)
        answer = self._http.post(self._path, body, self._headers(messages, body))
        if answer.status == 409 or taken(answer):
            self._http.proved = True
            return Receipt(len(messages), said=f"answers {answer.status}")
        return narrowed(self._http, self.deliver, messages, f"{answer.status}")

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _body(self, messages: Sequence[Message]) -> bytes:
        if self._lines:
            return b"".join(message.body + b"\n" for message in messages)
        values = (one.body if self._json else json.dumps(one.body.decode("utf-8", "replace")).encode()
                  for one in messages)  # fmt: skip
        return b"[" + b",".join(values) + b"]"

    def _headers(self, messages: Sequence[Message], body: bytes) -> dict[str, str]:
        batch = sha256("\n".join(message.id for message in messages).encode()).hexdigest()[:32]
        now = str(int(time.time()))
        kind = ("application/x-ndjson" if self._json else "text/plain") if self._lines else "application/json"
        headers = {"Content-Type": kind, "webhook-id": batch, "webhook-timestamp": now, "Idempotency-Key": f'"{batch}"'}
        if self._key:
            mac = hmac.digest(self._key, f"{batch}.{now}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{b64encode(mac).decode()}"
        return headers


def _check(settings: SinkSettings) -> None:
    for key, value, known in (("body", settings.body, BODIES), ("auth", settings.auth, AUTHS)):
        if value not in known:
            remedy = f"one of: {', '.join(known)}"
            raise ConfigError(f"{key}: {value!r} is none", where=f"sink {settings.name}", remedy=remedy)


def _key(found: str, settings: SinkSettings) -> bytes:
    """Return the key: of ``whsec_`` and base64, as Standard Webhooks writes it, what that is; else the text itself."""
    if not found.startswith("whsec_"):
        return found.encode()
    try:
        return b64decode(found.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        what, remedy = "the secret begins with whsec_ but is no base64", "copy it anew"
        raise ConfigError(what, where=f"sink {settings.name}", remedy=remedy) from None


WEBHOOK = Kind(
    "webhook", "webhook:https://hooks.example/egress",
    "an address of your own: a JSON array or lines, signed as Standard Webhooks says",
    RECEIVER_ACKNOWLEDGED, Webhook, (*SETTINGS, "body", "auth"),
)  # fmt: skip
