"""Flows find their place: where the remote is, whose hands it is in, and the verdict under a zone.

In: flows with names; look-ups over the data files. Out: `Judged`. Never: a file, a clock, or a country code alone.
"""

from __future__ import annotations

from egress_watch.places.atlas import Atlas
from egress_watch.places.knowledge import NOTHING, Found, Knowledge, Override, Source, Special
from egress_watch.places.sheet import Evidence, Sheet

__all__ = ["NOTHING", "Atlas", "Evidence", "Found", "Knowledge", "Override", "Sheet", "Source", "Special"]
