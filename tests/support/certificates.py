"""An authority that is made for now, and certificates that it signs: each in one file with its key."""

import subprocess
from pathlib import Path

NAMES = "DNS:localhost,IP:127.0.0.1"  # where servers of tests are


class Authority:
    """Signs certificates.

    certificate: the file of its own certificate, for those who trust it
    """

    def __init__(self, folder: Path) -> None:
        """Make it, in a folder of its own."""
        folder.mkdir(parents=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._made = 0
        self._make(self.certificate, self._key, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")

    def signed(self, names: str = NAMES) -> Path:
        """A certificate of whoever has these names, as OpenSSL writes them, with its key behind it."""
        self._made += 1
        path, key = self._folder / f"{self._made}.pem", self._folder / f"{self._made}.key"
        by = ("-CA", str(self.certificate), "-CAkey", str(self._key))
        self._make(path, key, "basicConstraints=critical,CA:FALSE", f"subjectAltName={names}", by=by)
        path.write_bytes(path.read_bytes() + key.read_bytes())
        return path

    def _make(self, path: Path, key: Path, *extensions: str, by: tuple[str, ...] = ()) -> None:
        added = [word for extension in extensions for word in ("-addext", extension)]
        subprocess.run(
            ["openssl", "req", "-x509", *by, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", f"/CN={self._folder.name} {path.stem}", *added, "-keyout", key, "-out", path],
            check=True, capture_output=True,
        )  # fmt: skip
