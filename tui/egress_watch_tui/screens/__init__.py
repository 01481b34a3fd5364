"""The screens, in the order of their numbers.

In: nothing. Out: one list. Never: a screen that is found by magic: to add one, write a file here and one line below.
"""

from __future__ import annotations

from egress_watch_tui.pane import Pane
from egress_watch_tui.screens.alerts import Alerts
from egress_watch_tui.screens.destinations import Destinations
from egress_watch_tui.screens.devices import Devices
from egress_watch_tui.screens.flows import Flows
from egress_watch_tui.screens.overview import Overview
from egress_watch_tui.screens.owners import Owners

SCREENS: tuple[type[Pane], ...] = (Overview, Alerts, Devices, Destinations, Owners, Flows)
