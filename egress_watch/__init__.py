"""egress-watch: what leaves the legal zone, whose hands it is in, and how sure we are."""

__version__ = "0.1.0"
