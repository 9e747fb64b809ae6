"""A certificate authority of the server's own, and a certificate for each host name as it is asked for, good or bad."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TlsOf = Callable[[str], str | None]  # host name -> a tls_ behaviour, or None for a good certificate
LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
YEAR = datetime.timedelta(days=365)


class Certificates:
    """`tls_of` is asked at each handshake."""

    def __init__(self, tls_of: TlsOf) -> None:
        self._authority = Authority()
        self._stranger: Authority | None = None
        self._tls_of = tls_of
        self._contexts: dict[tuple[str, str | None], ssl.SSLContext] = {}
        self.context = self._context("127.0.0.1", None)
        self.context.sni_callback = self._choose

    def write_ca(self, path: Path) -> None:
        """The certificate that clients must trust, as PEM."""
        path.write_bytes(self._authority.pem)

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
            context.set_alpn_protocols(["http/1.1"])
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(self._leaf(host, fault))
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def _leaf(self, host: str, fault: str | None) -> bytes:
        match fault:
            case "tls_wrong_name":
                return self._authority.leaf("somebody-else.test")
            case "tls_expired":
                return self._authority.leaf(host, since=LONG_AGO)
            case "tls_unknown_ca":
                if self._stranger is None:
                    self._stranger = Authority()
                return self._stranger.leaf(host)
        return self._authority.leaf(host)


class Authority:
    """A CA with a fresh key. `pem` is its certificate."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Publishers of the tests")])
        builder = self._builder(self._name, self._key, _yesterday(), x509.BasicConstraints(ca=True, path_length=0))
        self._certificate = builder.add_extension(_usage(signs_certificates=True), critical=True).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def leaf(self, host: str, since: datetime.datetime | None = None) -> bytes:
        """Private key and certificate for a host name or an IP address, valid for a year from `since` (yesterday), as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key, since or _yesterday(), x509.BasicConstraints(ca=False, path_length=None))
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        unlocked = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
        return private + certificate.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime.datetime, basic: x509.BasicConstraints
    ) -> x509.CertificateBuilder:
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(since + YEAR)
            .add_extension(basic, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer_id, critical=False)
        )


def _yesterday() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
