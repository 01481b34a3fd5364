"""IEEE 802.11 and the headers that capturing cards put in front of it.

In: a walk and the rows that stand at this header. Out: the walk moved on. Never: an exception, whatever the bytes.

Only data that is not encrypted can be read; what is encrypted is counted under that name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.decode.columns import Rows, Walk, gather, words
from egress_watch.decode.reasons import CUT_LINK, LLC, NO_DATA, WIFI_AGGREGATE, WIFI_ENCRYPTED
from egress_watch.model import Ints, Words

RADIO = np.dtype([("version", "u1"), ("pad", "u1"), ("length", "<u2"), ("present", "<u4")])  # radiotap.org
MORE_PRESENT = np.dtype("<u4")
AVS = np.dtype([("magic", ">u4"), ("length", ">u4")])
CONTROL = np.dtype([("kind", "u1"), ("flags", "u1"), ("duration", "V2"), ("first", "V6"), ("second", "V6"),
                    ("third", "V6"), ("sequence", "V2"), ("fourth", "V6"), ("qos_of_four", "u1")])  # fmt: skip
ADDRESS = np.dtype([("high", ">u2"), ("low", ">u4")])

HEADER_BYTES, ADDRESS_BYTES, QOS_BYTES, CONTROL_BYTES = 24, 6, 2, 4  # IEEE 802.11, clause 9.2.4
TO_SYSTEM, FROM_SYSTEM, PROTECTED, ORDERED = 1, 2, 0x40, 0x80
DATA, NULL, QOS = 0x08, 0x40, 0x80
AGGREGATE = 0x80
TIME_PRESENT, FLAGS_PRESENT, MORE = 1, 2, 1 << 31
MOST_PRESENT = 8
PADDED = 0x20
PRISM_BYTES = 144
AVS_MAGICS = (0x80211001, 0x80211002)


def wifi(walk: Walk, rows: Rows) -> None:
    """IEEE 802.11 (LINKTYPE_IEEE802_11): data that is in the clear leads on to IEEE 802.2."""
    _wifi(walk, rows, np.zeros(len(rows), np.bool_))


def swapped_wifi(walk: Walk, rows: Rows) -> None:
    """IEEE 802.11 whose first two bytes may have changed places, as some access points send it."""
    rows = walk.whole(rows, CONTROL.itemsize, CUT_LINK)
    header = walk.read(rows, CONTROL)
    swapped = (header["kind"] & 0x0F != DATA) & (header["flags"] & 0x0F == DATA)
    kind = np.where(swapped, header["flags"], header["kind"])
    flags = np.where(swapped, header["kind"], header["flags"])
    _data(walk, rows, kind, flags, np.zeros(len(rows), np.bool_))


def _wifi(walk: Walk, rows: Rows, padded: NDArray[np.bool_]) -> None:
    fits = walk.at[rows] + HEADER_BYTES + ADDRESS_BYTES + QOS_BYTES <= walk.end[rows]
    header = walk.read(rows, CONTROL)
    bare = fits | (walk.at[rows] + 2 > walk.end[rows]) | (header["kind"] & 0x0F == DATA)
    walk.skip(rows[~bare], NO_DATA)  # acknowledgements and the like are shorter than any data
    walk.skip(rows[bare & ~fits], CUT_LINK)
    _data(walk, rows[fits], header["kind"][fits], header["flags"][fits], padded[fits])


def _data(walk: Walk, rows: Rows, kind: NDArray[np.uint8], flags: NDArray[np.uint8], padded: NDArray[np.bool_]) -> None:
    """Step over the header of a frame whose first bytes are ``kind`` and ``flags``."""
    four = flags & (TO_SYSTEM | FROM_SYSTEM) == TO_SYSTEM | FROM_SYSTEM
    qos = kind & QOS > 0
    tail = walk.at[rows] + HEADER_BYTES + np.where(four, ADDRESS_BYTES, 0)
    length = HEADER_BYTES + np.where(four, ADDRESS_BYTES, 0) + np.where(qos, QOS_BYTES, 0)
    length += np.where(qos & (flags & ORDERED > 0), CONTROL_BYTES, 0)
    _ends(walk, rows, flags)
    joined = qos & (walk.data[tail] & AGGREGATE > 0)
    walk.at[rows] += np.where(padded, (length + 3) // 4 * 4, length)
    walk.next[rows] = LLC
    walk.skip(rows[joined], WIFI_AGGREGATE)
    walk.skip(rows[flags & PROTECTED > 0], WIFI_ENCRYPTED)
    walk.skip(rows[(kind & 0x0F != DATA) | (kind & NULL > 0)], NO_DATA)


def _ends(walk: Walk, rows: Rows, flags: NDArray[np.uint8]) -> None:
    """Set both MACs: which of the four addresses they are, the two direction bits say."""
    up, down = flags & TO_SYSTEM > 0, flags & FROM_SYSTEM > 0
    start = walk.at[rows]
    walk.dst_mac[rows] = _mac(walk, start + np.where(up, 16, 4))
    walk.src_mac[rows] = _mac(walk, start + np.where(down, np.where(up, 24, 16), 10))


def _mac(walk: Walk, at: Ints) -> Words:
    return words(gather(walk.data, at, ADDRESS), "high", "low")


def radiotap(walk: Walk, rows: Rows) -> None:
    """Radiotap before IEEE 802.11 (LINKTYPE_IEEE802_11_RADIOTAP): its flags tell of a padded header."""
    rows = walk.whole(rows, RADIO.itemsize, CUT_LINK)
    header = walk.read(rows, RADIO)
    place = _behind_present(walk, rows, header["present"])
    timed = header["present"] & TIME_PRESENT > 0
    place = np.where(timed, (place - walk.at[rows] + 7) // 8 * 8 + 8 + walk.at[rows], place)
    known = (header["present"] & FLAGS_PRESENT > 0) & (place < walk.end[rows])
    padded = known & (walk.data[np.where(known, place, 0)] & PADDED > 0)
    walk.at[rows] += np.maximum(header["length"].astype(np.int64), RADIO.itemsize)
    _standing(walk, rows, padded)


def _standing(walk: Walk, rows: Rows, padded: NDArray[np.bool_]) -> None:
    """Go on with the frame where the header before it does not lead out of the capture."""
    inside = walk.at[rows] <= walk.end[rows]
    walk.skip(rows[~inside], CUT_LINK)
    _wifi(walk, rows[inside], padded[inside])


def _behind_present(walk: Walk, rows: Rows, present: NDArray[np.uint32]) -> Ints:
    """Return where the fields begin: behind as many words of presence bits as say that one more follows."""
    place = walk.at[rows] + RADIO.itemsize
    more = present & MORE > 0
    for _ in range(MOST_PRESENT):
        if not more.any():
            break
        word = walk.data[np.minimum(place + 3, len(walk.data) - 1)]
        place = place + np.where(more, MORE_PRESENT.itemsize, 0)
        more = more & (word & 0x80 > 0)
    return place


def avs(walk: Walk, rows: Rows) -> None:
    """AVS header before IEEE 802.11 (LINKTYPE_IEEE802_11_AVS); it states its length."""
    rows = walk.whole(rows, AVS.itemsize, CUT_LINK)
    walk.at[rows] += np.maximum(walk.read(rows, AVS)["length"].astype(np.int64), AVS.itemsize)
    _standing(walk, rows, np.zeros(len(rows), np.bool_))


def prism(walk: Walk, rows: Rows) -> None:
    """Prism header before IEEE 802.11, or that of AVS in its place (LINKTYPE_IEEE802_11_PRISM)."""
    rows = walk.whole(rows, AVS.itemsize, CUT_LINK)
    newer = np.isin(walk.read(rows, AVS)["magic"], AVS_MAGICS)
    avs(walk, rows[newer])
    rows = rows[~newer]
    walk.at[rows] += PRISM_BYTES
    _standing(walk, rows, np.zeros(len(rows), np.bool_))
