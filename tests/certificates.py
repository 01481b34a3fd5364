"""Certificates made for one test: an authority, and what it signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """Who signs; its certificate is ``ca_file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self._identity = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = self._begun(self._name, self._key, datetime.now(UTC) + DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(usage, critical=True).add_extension(self._identity, critical=False)
        self.ca_file = self._written(f"{name}.pem", made.sign(self._key, hashes.SHA256()))

    def signed(self, name: str, *, days: float = 1) -> tuple[str, str]:
        """Return the files of a certificate for a host name or an address, and of its key; it ends in ``days``."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._begun(_name(name), key, datetime.now(UTC) + days * DAY)
        try:
            names: list[x509.GeneralName] = [x509.IPAddress(ip_address(name))]
        except ValueError:
            names = [x509.DNSName(name)]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identity)
        made = made.add_extension(by, critical=False)
        path = f"{name}-{key.public_key().public_numbers().x:x}"[:60]
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self._folder / f"{path}.key").write_bytes(private)
        return self._written(f"{path}.pem", made.sign(self._key, hashes.SHA256())), str(self._folder / f"{path}.key")

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime) -> x509.CertificateBuilder:
        begin = min(datetime.now(UTC), end) - DAY
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(begin).not_valid_after(end)

    def _written(self, name: str, certificate: x509.Certificate) -> str:
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
