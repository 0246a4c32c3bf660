"""Settings of where images and results are kept: here, in a shared folder, or in a store."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from node.config.fields import Seconds, Section


def _place(text: str) -> str:
    # Names of buckets: Amazon S3's rules, which other stores follow.
    if text and not re.fullmatch(r"file:///.+|s3://[a-z0-9][a-z0-9.-]{2,62}(/[\w./-]+)?", text):
        raise ValueError(f"{text!r} is not s3://BUCKET, s3://BUCKET/PREFIX or file:///FOLDER")
    return text


def _endpoint(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+/?", text):
        raise ValueError(f"{text!r} is not https://HOST or https://HOST:PORT")
    return text


class Storage(Section):
    """Where received images and results are kept."""

    url: Annotated[str, AfterValidator(_place)] = ""
    endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    region: str = "us-east-1"
    credentials_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: Seconds = 20.0
    cache_mb: Annotated[int, Field(ge=1)] = 10240

    @property
    def is_store(self) -> bool:
        """Whether they are kept in an object store."""
        return self.url.startswith("s3://")

    @property
    def bucket(self) -> str:
        """The store's bucket."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What every key in the bucket begins with; without slashes at its ends."""
        return self.url.removeprefix("s3://").partition("/")[2].strip("/")

    def folder(self, data_dir: Path) -> Path:
        """Return the folder that holds archive and results, where that is not a store."""
        return Path(self.url.removeprefix("file://")) if self.url else data_dir
