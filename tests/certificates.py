"""Certificates for tests, made when asked for, with the faults that are asked for.

This module is a certificate authority that nobody should trust.
"""

import atexit
import functools
import ipaddress
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """Files: the authority's certificate, which clients trust, and the server's chain with its key."""

    ca: Path
    server: Path


@functools.cache
def make_certificate(kind: Literal["valid", "expired", "wrong_host"] = "valid") -> Certificate:
    """An authority and a server certificate for localhost and 127.0.0.1, or one with the fault that ``kind`` names."""
    folder = Path(mkdtemp(prefix="relay-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    now = datetime.now(UTC)
    end = now - timedelta(days=1) if kind == "expired" else now + timedelta(days=30)
    host = "other.example" if kind == "wrong_host" else "localhost"
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if kind != "wrong_host":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey, until: datetime) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = (
        build(ca_name, ca_key.public_key(), now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key.public_key(), end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = Certificate(folder / "ca.pem", folder / "server.pem")
    certificate.ca.write_bytes(authority.public_bytes(pem))
    certificate.server.write_bytes(server.public_bytes(pem) + private)
    return certificate
