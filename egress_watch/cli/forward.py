"""Send alerts, and flows where wanted, to the sinks of the settings as they come: a service.

It reads what is committed in the database, beside the process that records, and remembers for each sink how far it
came: started again it goes on there. Each sink is served by itself; one that is down is tried again with growing pauses
and holds up nothing else. SIGTERM and Ctrl-C end it after the batch under way. Every event has an id of its own that
stays the same however often it is sent, so that a receiver can drop doubles. docs/sinks.md has examples.

In: a database and settings. Out: records at the receivers. Never: a record counted as delivered beyond what the sink
promises (`egress-watch sinks kinds`).
"""

from __future__ import annotations

import argparse
import os
import select
import signal
from typing import TYPE_CHECKING

from egress_watch.cli.log import Log
from egress_watch.cli.privacy import add_pseudonyms, covering
from egress_watch.config import Config, load
from egress_watch.errors import DATA_TROUBLE, UsageError

if TYPE_CHECKING:  # at run time it would load every format for --help
    from egress_watch.forward import Beside, Forwarder

HELP = "send alerts and flows to the sinks of the settings, as a service"
EXAMPLES = (
    "egress-watch forward egress.db --config egress-watch.toml",
    "egress-watch forward egress.db --config egress-watch.toml --once",
    "egress-watch forward egress.db --config egress-watch.toml --sink siem --from-now",
)
LOOK_S = 0.25


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from egress_watch.sinks.kinds import promises

    command.description = f"{command.description}\n\n{promises()}"
    command.add_argument("db", metavar="DB", help="a database that replay or watch writes")
    command.add_argument("--config", required=True, metavar="FILE", help="settings with the sinks (TOML)")
    command.add_argument("--sink", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    once = "send what is there and leave; 1 is the exit code where a sink is down"
    command.add_argument("--once", action="store_true", help=once)
    fresh = "a sink that was never served begins with what comes from now on, not with the oldest record"
    command.add_argument("--from-now", action="store_true", help=fresh)
    eof = "leave when standard input ends, for a program that starts this one"
    command.add_argument("--until-eof", action="store_true", help=eof)
    add_pseudonyms(command)


def run(options: argparse.Namespace) -> int:
    """Forward until told to stop, or until nothing is left."""
    from egress_watch.forward import LEAVE_S, forwarder

    config = load(options.config)
    _check(config, options)
    covering(options, config)  # a key that cannot be read is told before anything else
    log = Log("forward", config.watch.log)
    made = forwarder(
        config, options.db, cover=lambda known: covering(options, config, known), tell=log.say, names=options.sink
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: made.stop.set())
    made.start(once=options.once, from_now=options.from_now)
    _follow(made, options)
    gave_up = not (options.once or options.until_eof or made.stop.is_set())  # then whoever runs services starts it anew
    made.stop.set()
    made.wait(LEAVE_S)
    return DATA_TROUBLE if gave_up or (options.once and made.down()) else 0


def beside(config: Config, settings: str) -> Beside | None:
    """Return what runs this command beside a recorder, None where no sink is configured.

    Raises ConfigError for sinks that cannot work: a recorder does not begin with those. What needs a secret or a
    certificate shows in the forwarder only: the recorder reads none.
    """
    if not config.sink:
        return None
    from egress_watch.forward import Beside, check

    check(config.sink)
    return Beside(config.db, settings)


def _check(config: Config, options: argparse.Namespace) -> None:
    known = [row.name for row in config.sink]
    if not known:
        remedy = "add a [[sink]]; `egress-watch config` prints one, docs/sinks.md has more"
        raise UsageError("no sink is configured", where=options.config, remedy=remedy)
    for name in options.sink:
        if name not in known:
            raise UsageError(f"no sink is called {name!r}", where=options.config, remedy=f"one of: {', '.join(known)}")


def _follow(made: Forwarder, options: argparse.Namespace) -> None:
    """Wait until told to stop, all lanes are through, or standard input ends."""
    while not made.stop.is_set() and not made.wait(LOOK_S):
        if options.until_eof and _ended():
            return


def _ended() -> bool:
    """Return whether nobody holds the other end of standard input any more."""
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready) and not os.read(0, 4096)
