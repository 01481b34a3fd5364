"""The option of every list and report to show pseudonyms in place of addresses, MACs and names.

In: parsed options and settings. Out: who covers rows, or nobody. Never: a row that goes out uncovered once a key is
named, be it on the command line or in the settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from egress_watch.config import Config
from egress_watch.errors import UsageError
from egress_watch.exports.pseudonyms import COVERS, Pseudonyms


def add_pseudonyms(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    words = "show keyed pseudonyms in place of addresses, MACs and names of devices; the key is in this file"
    command.add_argument("--pseudonyms", default="", metavar="KEYFILE", help=words)
    words = "what pseudonyms cover: devices, or all: remotes and their names too; default: as configured (devices)"
    command.add_argument("--cover", default="", choices=("", *COVERS), metavar="WHAT", help=words)


def covering(
    options: argparse.Namespace, config: Config, known: Callable[[str], bool] = lambda _: False
) -> Pseudonyms | None:
    """Return who covers rows as the options, else the settings, ask for; None where neither names a key.

    ``known`` tells whether an address is a device's. Raises ConfigError for a key that is none, UsageError.
    """
    path = options.pseudonyms or config.privacy.key_file
    if not path:
        if options.cover:
            raise UsageError("--cover needs a key", remedy="name one with --pseudonyms KEYFILE")
        return None
    from egress_watch.library.keys import key_of

    return Pseudonyms(key_of(path), options.cover or config.privacy.cover, known)
