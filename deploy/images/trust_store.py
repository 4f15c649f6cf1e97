"""A trust store for Java, which reads no PEM: its own default one with more authorities in it.

Run by the entrypoint: ``python3 -m deploy.images.trust_store CA_FILE INTO``.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

from contracts.problems import LakemillError

_PASSWORD = "changeit"  # noqa: S105 - every Java's own; authorities are no secret


class TrustStoreError(LakemillError):
    """There are no certificates in the file, or no keytool of a Java that could take them."""


def make_trust_store(ca_file: Path, into: Path) -> None:
    """Write Java's default trust store to ``into``, and add every certificate of ``ca_file``, a PEM file.

    Raises TrustStoreError.
    """
    keytool = shutil.which("keytool")
    if keytool is None:
        raise TrustStoreError("there is no keytool on the PATH; it comes with Java")
    try:
        found = x509.load_pem_x509_certificates(ca_file.read_bytes())
    except (OSError, ValueError) as error:
        raise TrustStoreError(f"{ca_file} is not a readable PEM file of certificates: {error}") from error
    named = [PKCS12Certificate(each, f"lakemill-{number}".encode()) for number, each in enumerate(found)]
    shutil.copyfile(Path(keytool).resolve().parents[1] / "lib" / "security" / "cacerts", into)
    with tempfile.TemporaryDirectory() as scratch:
        # All at once: keytool takes only the first certificate of a PEM file, and half a second; a bundle may have 150.
        more = Path(scratch) / "more.p12"
        more.write_bytes(serialize_java_truststore(named, BestAvailableEncryption(_PASSWORD.encode())))
        source = ("-srckeystore", str(more), "-srcstorepass", _PASSWORD)
        target = ("-destkeystore", str(into), "-deststorepass", _PASSWORD)
        command = [keytool, "-J-XX:TieredStopAtLevel=1", "-importkeystore", "-noprompt", *source, *target]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise TrustStoreError(f"keytool does not take the certificates of {ca_file}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        make_trust_store(Path(sys.argv[1]), Path(sys.argv[2]))
    except TrustStoreError as error:
        sys.exit(str(error))
