"""A certificate authority of the server's own, and a certificate for each host name as it is asked for, good or bad."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import trustme

LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
TlsOf = Callable[[str], str | None]  # host name -> a tls_ behaviour, or None for a good certificate


class Certificates:
    """`tls_of` is asked at each handshake."""

    def __init__(self, tls_of: TlsOf) -> None:
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._stranger: trustme.CA | None = None
        self._tls_of = tls_of
        self._contexts: dict[tuple[str, str | None], ssl.SSLContext] = {}
        self.context = self._context("127.0.0.1", None)
        self.context.sni_callback = self._choose  # type: ignore[assignment]

    def write_ca(self, path: Path) -> None:
        """The certificate that clients must trust, as PEM."""
        self._ca.cert_pem.write_to_path(path)

    def _choose(self, connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> int | None:
        if host is None:
            return None
        fault = self._tls_of(host.lower())
        if fault == "tls_refused":
            return ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        connection.context = self._context(host.lower(), fault)
        return None

    def _context(self, host: str, fault: str | None) -> ssl.SSLContext:
        context = self._contexts.get((host, fault))
        if context is None:
            context = self._contexts[host, fault] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._certificate(host, fault).configure_cert(context)
            context.set_alpn_protocols(["http/1.1"])
        return context

    def _certificate(self, host: str, fault: str | None) -> trustme.LeafCert:
        key = trustme.KeyType.ECDSA
        match fault:
            case "tls_wrong_name":
                return self._ca.issue_cert("somebody-else.test", key_type=key)
            case "tls_expired":
                return self._ca.issue_cert(host, key_type=key, not_before=LONG_AGO, not_after=LONG_AGO.replace(year=2002))
            case "tls_unknown_ca":
                if self._stranger is None:
                    self._stranger = trustme.CA(key_type=key)
                return self._stranger.issue_cert(host, key_type=key)
        return self._ca.issue_cert(host, key_type=key)
