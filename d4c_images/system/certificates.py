"""Which CA certificates are trusted for TLS: finds the bundle and tries to load it. Connects to nobody."""

from __future__ import annotations

from pathlib import Path

from d4c_images.errors import UsageError

PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Debian's and Red Hat's paths."""


def bundle(named: Path | None = None) -> Path:
    """The bundle named by the user, else this machine's, else certifi's. Raises `UsageError` if it does not exist."""
    found = named or _of_this_machine()
    if not found.is_file():
        raise UsageError(f"no such file of CA certificates: {found}")
    return found


def n_roots(path: Path) -> int:
    """How many certificates a bundle has. Raises `UsageError` if it cannot be used for verification."""
    import ssl  # which most commands never need

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # an SSLError is one
        why = error.strerror if not isinstance(error, ssl.SSLError) else "there is no certificate in it, in PEM, that can be read"
        raise UsageError(f"the CA certificates of {path} cannot be loaded: {why}") from None
    return context.cert_store_stats()["x509"]


def _of_this_machine() -> Path:
    import ssl

    named = ssl.get_default_verify_paths().cafile
    found = next((Path(place) for place in (named, *PLACES) if place and Path(place).is_file()), None)
    if found is None:
        import certifi

        found = Path(certifi.where())
    return found
