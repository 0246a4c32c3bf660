"""Fixtures that every tier shares."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from pynetdicom import ALL_TRANSFER_SYNTAXES

from node.dicom.receiver import Receiver
from node.loopback import free_port as find_free_port
from tests.certificates import Authority
from tests.orthanc_server import OrthancServer
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server

if TYPE_CHECKING:
    from node.phantom import PhantomStudy

# A machine that is busy with other things is no fault of a test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def free_port() -> int:
    """A loopback TCP port that nothing listens on."""
    return find_free_port()


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """One Orthanc without plugins for a whole session: stopping one takes seconds."""
    with OrthancServer(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(running_orthanc: OrthancServer) -> OrthancServer:
    """It, empty."""
    running_orthanc.empty()
    return running_orthanc


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The hospital's certificate authority."""
    return Authority(tmp_path_factory.mktemp("tls") / "hospital")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests of a session; each takes a database of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiving PACS with an empty folder."""
    made = Receiver(tmp_path / "received", transfer_syntaxes=ALL_TRANSFER_SYNTAXES)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store for all tests of a session; each takes a prefix of its own."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a SQLite file, and one in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/database.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the checkout; the test is skipped by name where there is none."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("LUMBAR_SHARED", root.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data (or LUMBAR_SHARED)")
    return folder


@pytest.fixture(scope="session")
def phantom() -> "PhantomStudy":
    """One phantom study with its truth, made once."""
    from node.phantom import make_study

    return make_study(7)


@pytest.fixture(scope="session")
def phantom_folder(phantom: "PhantomStudy", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study as DICOM files."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom.write(folder)
    return folder
