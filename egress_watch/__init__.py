"""egress-watch: what leaves the legal zone, whose hands it is in, and how sure we are.

In: nothing. Out: the version. Never: an import; every room is loaded by the one that needs it.
"""

__version__ = "0.1.0"
