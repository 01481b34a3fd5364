"""TLS towards a receiver: its certificate is checked against name and issuer, ours is shown where it asks.

In: settings. Out: a context. Never: a certificate that is not checked, or a version of TLS below 1.2 (RFC 9325).
"""

from __future__ import annotations

import ssl

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError

SETTINGS = ("ca_file", "cert_file", "key_file", "server_name")
"""Settings that every sink over TLS reads."""


def context(settings: SinkSettings) -> ssl.SSLContext:
    """Return what connections are made with; raises ConfigError for files that cannot be used."""
    try:
        made = ssl.create_default_context(cafile=settings.ca_file or None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file:
            made.load_cert_chain(settings.cert_file, settings.key_file or None, password=_no_password)
    except (OSError, ValueError) as error:
        what = f"ca_file, cert_file or key_file: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(what, where=f"sink {settings.name}", remedy="name PEM files that can be read") from None
    return made


def said(error: ssl.SSLError) -> str:
    """Return in words why TLS was not made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return f"no TLS: {error.reason or error}"


def _no_password() -> str:
    raise ValueError("the key has a password")
