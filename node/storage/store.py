"""The only file that knows obstore: files in an object store that speaks S3, by their keys."""

import configparser
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from node.config import Storage
from node.errors import Misconfigured, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import S3Store

#: Bytes of one request for a part of an object; what is larger is sent and fetched in parts.
PART = 8 << 20
_CONNECT_S = 5.0
_AT_ONCE = 8  # requests
#: What a store says about a request that it refuses; the rest of its answer may quote keys.
_SAID = re.compile(r"status code: (\d{3})|<Code>(\w{1,64})</Code>")

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class StoredObject:
    """One object of the store.

    Attributes
    ----------
    key : str
    bytes : int
        Its size.
    modified : datetime
        UTC, by the store's clock.
    """

    key: str
    bytes: int
    modified: datetime


class Store:
    """One bucket, or a part of one. Opened with the first request; safe to use from many threads.

    A request that fails because the store is away is repeated within ``timeout_s``. Payloads are
    signed with their SHA-256, so a store keeps what was sent or refuses it.

    Parameters
    ----------
    settings : config.Storage
    """

    def __init__(self, settings: Storage) -> None:
        self._settings = settings

    def __reduce__(self) -> tuple[type["Store"], tuple[Storage]]:
        return Store, (self._settings,)

    def put(self, key: str, contents: Path | bytes) -> None:
        """Store an object; when this returns, the store has it.

        Raises
        ------
        StoreUnavailable
            When the store does not answer, or refuses.
        """
        import obstore  # noqa: PLC0415 - 40 ms and an extra, which a node without a store lacks

        with _told(f"store {key}"):
            obstore.put(self._client, key, contents, chunk_size=PART, max_concurrency=4)

    def get(self, key: str) -> bytes | None:
        """Return a small object; None when there is none.

        Raises
        ------
        StoreUnavailable
        """
        import obstore  # noqa: PLC0415

        try:
            with _told(f"read {key}"):
                return bytes(obstore.get(self._client, key).bytes())
        except FileNotFoundError:
            return None

    def fetch(self, key: str, size: int, target: Path) -> bool:
        """Write an object of so many bytes to a new file; return False when there is none.

        Raises
        ------
        StoreUnavailable
        """
        import obstore  # noqa: PLC0415

        try:
            with target.open("xb") as file:
                for start in range(0, size, PART):
                    end = min(size, start + PART)
                    with _told(f"read {key}"):
                        part = obstore.get_range(self._client, key, start=start, end=end)
                    file.write(part)
        except FileNotFoundError:
            return False
        return True

    def objects(self, folder: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with the folder's, in the order of their keys.

        Raises
        ------
        StoreUnavailable
        """
        import obstore  # noqa: PLC0415

        with _told(f"list {folder}"):
            for page in obstore.list(self._client, folder, chunk_size=1000):
                for found in page:
                    yield StoredObject(found["path"], found["size"], found["last_modified"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is no mistake.

        Raises
        ------
        StoreUnavailable
        """
        import obstore  # noqa: PLC0415

        with _told(f"delete {len(keys)} objects"):
            for key in keys:  # each by itself: not every store knows the request for many
                try:
                    obstore.delete(self._client, key)
                except FileNotFoundError:
                    continue

    def probe(self) -> None:
        """Put, get and delete an object, as the node will.

        Raises
        ------
        StoreUnavailable
        """
        key, contents = f"probe/{token_hex(8)}", token_hex(16).encode()
        self.put(key, contents)
        if self.get(key) != contents:
            raise StoreUnavailable("the object store does not return what it was given")
        self.delete([key])

    def trouble(self) -> str:
        """Say why it does not answer within a moment; empty when it does."""
        quick = self._settings.model_copy(update={"timeout_s": min(2.0, self._settings.timeout_s)})
        try:
            Store(quick).get("probe")
        except (StoreUnavailable, Misconfigured) as error:
            return f"images are refused: {error}"
        return ""

    def __str__(self) -> str:
        return f"{self._settings.url} at {self._settings.endpoint or 'AWS'}"

    @cached_property
    def _client(self) -> "S3Store":
        try:
            from obstore.store import S3Store  # noqa: PLC0415
        except ImportError as error:
            raise Misconfigured(
                "[storage] url names an object store, and the library for it is not installed: "
                "pip install 'lumbar-node[s3]'"
            ) from error
        settings = self._settings
        options: dict[str, Any] = _credentials(settings.credentials_file)
        if settings.endpoint:
            options["endpoint"] = settings.endpoint.rstrip("/")
        client: dict[str, Any] = {
            "allow_http": settings.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(_CONNECT_S, settings.timeout_s)),
            "timeout": timedelta(seconds=settings.timeout_s),
        }
        if settings.ca_file is not None:
            client["root_certificate"] = _read(settings.ca_file, "storage.ca_file")
        return S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            region=settings.region,
            client_options=client,  # type: ignore[arg-type]
            retry_config={
                "max_retries": 3,
                "retry_timeout": timedelta(seconds=settings.timeout_s),
                "backoff": {"max_backoff": timedelta(seconds=2)},
            },
            **options,
        )


def several(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Call a function for all items, some at a time; the first error ends the rest."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)


def _credentials(path: Path | None) -> dict[str, str]:
    """Read a file like ``~/.aws/credentials``; none: obstore asks the environment, as AWS does."""
    if path is None:
        return {}
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
    }
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_read(path, "storage.credentials_file"))
        found = {name: parser["default"][said] for said, name in names.items()
                 if said in parser["default"]}  # fmt: skip
    except (configparser.Error, KeyError) as error:
        raise Misconfigured(_wrong_file(path)) from error
    if not {"access_key_id", "secret_access_key"} <= set(found):
        raise Misconfigured(_wrong_file(path))
    return found


def _wrong_file(path: Path) -> str:
    return (
        f"{path} (storage.credentials_file) needs the lines [default], aws_access_key_id = ... "
        "and aws_secret_access_key = ..."
    )


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"cannot read {path} ({setting})") from error


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what obstore raises into our errors; a missing object stays FileNotFoundError."""
    from obstore import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.NotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise StoreUnavailable(
                "the object store has no such bucket: create it, or set [storage] url"
            ) from None
        raise FileNotFoundError(what) from None
    except exceptions.BaseError as error:
        raise StoreUnavailable(f"the object store cannot {what}: {_in_words(error)}") from None


def _in_words(error: Exception) -> str:
    """Say what went wrong without the rest of the answer, which may quote credentials."""
    said = sorted({one for pair in _SAID.findall(str(error)) for one in pair if one})
    if said:
        return f"it answered {' '.join(said)}; look at its log, and at [storage] here"
    return "it does not answer"
