"""Which certificates of authorities are trusted for TLS: finds the bundle and tries to load it. Connects to nobody."""

from __future__ import annotations

import ssl
from pathlib import Path

from d4c_images.errors import UsageError

PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Where Debian's and Red Hat's administrators keep it."""


def bundle(named: Path | None = None) -> Path:
    """The one that a user has named, or that of this machine, or else that of certifi. Raises `UsageError` if it is not there."""
    found = named or _of_this_machine()
    if not found.is_file():
        raise UsageError(f"no such file of CA certificates: {found}")
    return found


def n_roots(path: Path) -> int:
    """How many certificates there are in a bundle. Raises `UsageError` if nothing could be verified by them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # an SSLError is one
        why = error.strerror if not isinstance(error, ssl.SSLError) else "there is no certificate in it, in PEM, that can be read"
        raise UsageError(f"the CA certificates of {path} cannot be loaded: {why}") from None
    return context.cert_store_stats()["x509"]


def _of_this_machine() -> Path:
    named = ssl.get_default_verify_paths().cafile
    found = next((Path(place) for place in (named, *PLACES) if place and Path(place).is_file()), None)
    if found is None:
        import certifi

        found = Path(certifi.where())
    return found
