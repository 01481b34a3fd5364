"""Elasticsearch and OpenSearch: the bulk API, each record created under its own id.

In: messages. Out: the same as documents of an index or a data stream. Never: a document overwritten, or doubled: one
that is there already answers 409, which is as good as created.

Source: Elasticsearch, Bulk API. A bulk answers 200 whatever became of its items; each item has a status of its own.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.http import (
    CONTENT,
    JSON_FORMATS,
    SETTINGS,
    Answer,
    Http,
    authorised,
    narrowed,
    plain,
    spoken,
    taken,
)
from egress_watch.sinks.sink import RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt, SinkDown

ASKED = "?filter_path=errors,items.*._id,items.*.status,items.*.error.type,items.*.error.reason"
OURS = ("invalid_index_name_exception", "index_closed_exception", "invalid_alias_name_exception")
"""Errors of status 400 that the settings or the cluster are to blame for, not the record."""


class Elastic:
    """Sends bulks."""

    def __init__(self, settings: SinkSettings) -> None:
        if settings.format not in JSON_FORMATS:
            remedy = f"one of: {', '.join(JSON_FORMATS)}"
            raise ConfigError(f"format: {settings.format} is no JSON", where=f"sink {settings.name}", remedy=remedy)
        self._http = Http(settings, _authorization(settings))
        before, _, self._index = self._http.address.path.rpartition("/")
        if not self._index:
            remedy = "write elastic:https://es.example:9200/logs-egress_watch.{kind}-default"
            raise ConfigError("to: names no index or data stream", where=f"sink {settings.name}", remedy=remedy)
        self._path = f"{before}/_bulk{ASKED}"

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send one bulk; done is what stands before the first item that has to be sent again."""
        body = b"".join(b"%b\n%b\n" % (self._action(message), message.body) for message in messages)
        answer = self._http.post(self._path, body, {"Content-Type": "application/x-ndjson"})
        if not taken(answer):
            why = f"{answer.status} {_error(spoken(answer).get('error'))}".strip()
            return narrowed(self._http, self.deliver, messages, why)
        self._http.proved, said = True, spoken(answer)
        if said.get("errors") is False:  # no item failed, the API says; some that speak it list no more than one
            return Receipt(len(messages), said=f"{len(messages)} created")
        return _receipt(_items(said, messages), answer)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _action(self, message: Message) -> bytes:
        index = self._index.replace("{kind}", message.kind)
        return json.dumps({"create": {"_index": index, "_id": message.id}}, separators=(",", ":")).encode()


def _authorization(settings: SinkSettings) -> dict[str, str]:
    """Return basic authentication where a user is named, else an API key (its encoded form), else nothing."""
    found = authorised(settings)
    if settings.user:
        return {"Authorization": "Basic " + b64encode(f"{settings.user}:{found}".encode()).decode()}
    return {"Authorization": f"ApiKey {found}"} if found else {}


def _items(said: Mapping[str, Any], messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """Return what is said of each message; raises SinkDown for an answer that is none to this bulk."""
    try:
        items = [next(iter(item.values())) for item in said["items"]]
        ours = [item.get("_id", message.id) for item, message in zip(items, messages, strict=True)]
        if ours == [message.id for message in messages] and all(type(item["status"]) is int for item in items):
            return items
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration):
        pass
    raise SinkDown("answers, but not item by item as the bulk API does")


def _receipt(items: Sequence[Mapping[str, Any]], answer: Answer) -> Receipt:
    refused: dict[int, str] = {}
    for place, item in enumerate(items):
        status, cause = item["status"], _error(item.get("error"))
        if 200 <= status < 300 or status == 409:
            continue
        if status in CONTENT and not cause.startswith(OURS):
            refused[place] = f"{status} {cause}"
            continue
        said = f"an item answers {status} {cause.partition(':')[0]}"
        raise SinkDown(said, receipt=Receipt(place, refused), retry_s=answer.retry_s)
    doubles = sum(item["status"] == 409 for item in items)
    return Receipt(len(items), refused, f"{len(items) - doubles - len(refused)} created, {doubles} known already")


def _error(error: Any) -> str:
    """Return type and reason of an item's error; the type alone where the reason is to stay out."""
    if not isinstance(error, Mapping):
        return ""
    return f"{plain(error.get('type', ''), 60)}: {plain(error.get('reason', ''))}"


ELASTIC = Kind(
    "elastic", "elastic:https://es.example:9200/logs-egress_watch.{kind}-default",
    "Elasticsearch or OpenSearch: bulks, created under the event id, so doubles are dropped",
    RECEIVER_ACKNOWLEDGED, Elastic, (*SETTINGS, "user"), gaps=True,
)  # fmt: skip
