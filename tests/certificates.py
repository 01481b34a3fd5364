"""Certificates for tests: an authority of our own, and what it says of servers and clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


class Authority:
    """One authority, whose certificate is ``ca.pem`` in its folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"egress-watch test {name}")])
        made = self._builder(self._name, self._key, DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), True
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *names: str, left: timedelta = DAY) -> Path:
        """Return a PEM file of a key and a certificate for DNS names or addresses, valid for so long from now on."""
        key, alternatives = ec.generate_private_key(ec.SECP256R1()), []
        for one in names or ("localhost", "127.0.0.1"):
            try:
                alternatives.append(x509.IPAddress(ip_address(one)))
            except ValueError:
                alternatives.append(x509.DNSName(one))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._builder(subject, key, left)
        made = made.add_extension(x509.SubjectAlternativeName(alternatives), False)
        made = made.add_extension(x509.ExtendedKeyUsage(uses), False).sign(self._key, hashes.SHA256())
        path = self._folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, left: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        return (
            made.serial_number(x509.random_serial_number()).not_valid_before(now - 30 * DAY).not_valid_after(now + left)
        )
