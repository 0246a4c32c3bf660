"""OHIF on this machine: one pinned release, fetched once from the npm registry and checked.

OHIF is the DICOM viewer in which people review what this node found. Its npm package holds the
built viewer, so neither npm nor a build is needed.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from node.errors import LumbarError, Misconfigured, RetryLater

VERSION = "3.13.2"
URL = f"https://registry.npmjs.org/@ohif/app/-/app-{VERSION}.tgz"
#: Of the tarball, as the registry publishes it in ``dist.integrity`` (there in base 64).
SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)
#: In the package, the viewer; what it brings for segmentation is two thirds of it, and unused here.
BUILT, UNUSED = "package/dist/", "package/dist/ort/"


def cache_folder() -> Path:
    """Where the viewer of this user lies, or will lie (XDG Base Directory Specification)."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "lumbar-node" / f"ohif-{VERSION}"


def is_there(folder: Path) -> bool:
    """Tell whether a folder holds a viewer."""
    return (folder / "index.html").is_file()


def fetch(folder: Path, url: str = URL) -> None:
    """Download the viewer (50 MB) into a folder, unless it is there.

    Raises
    ------
    RetryLater
        When the registry does not answer.
    LumbarError
        When what came is not the pinned release, or the folder holds something else.
    """
    if is_there(folder):
        return
    with tempfile.NamedTemporaryFile(suffix=".tgz") as tarball:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - a constant
                shutil.copyfileobj(answer, tarball)
        except OSError as error:
            raise RetryLater(f"cannot fetch OHIF from {url}: {error}") from error
        tarball.flush()
        unpack(Path(tarball.name), folder)


def unpack(tarball: Path, folder: Path) -> None:
    """Check the pinned tarball and put the viewer in it into a folder, which is whole or absent.

    Raises
    ------
    LumbarError
        When the tarball is not the pinned release.
    Misconfigured
        When the folder holds something else.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Misconfigured(f"{folder} holds other files: choose a new or empty folder for OHIF")
    with tarball.open("rb") as file:
        found = hashlib.file_digest(file, "sha512").hexdigest()
    if found != SHA512:
        raise LumbarError(
            f"{tarball.name} is not OHIF {VERSION}: its SHA-512 is {found}, not {SHA512}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(tarball) as archive:
            wanted = (
                m
                for m in archive
                if m.name.startswith(BUILT) and not f"{m.name}/".startswith(UNUSED)
            )
            # Without a filter, which Debian 12's Python 3.11.2 does not know: the hash has vouched
            # for every name in it.
            archive.extractall(scratch, wanted)  # noqa: S202
        (Path(scratch) / BUILT).replace(folder)
