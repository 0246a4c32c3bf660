"""A small certificate authority made with openssl, for tests of TLS."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own; two of them do not know each other.

    Parameters
    ----------
    folder : Path
        Where its files go.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._own = Certificate(folder / "ca.pem", folder / "ca.key")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._own.key, "-out", self._own.certificate),
            *("-days", 2, "-subj", "/CN=tests"),
        )

    @property
    def file(self) -> Path:
        """What a peer has to trust."""
        return self._own.certificate

    def issue(self, name: str, *, days: int = 2, alternative: str = "IP:127.0.0.1") -> Certificate:
        """Sign a certificate for a name and an alternative name (loopback, unless said)."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extension = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", made.key, "-out", request),
            *("-subj", f"/CN={name}"),
        )
        self._openssl(
            *(
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self._own.certificate,
                "-CAkey",
                self._own.key,
            ),
            *("-CAcreateserial", "-days", days, "-extfile", extension, "-out", made.certificate),
        )
        made.key.chmod(0o600)
        return made

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
