"""Open what keeps images, where the configuration says: here, in a shared folder, or in a store."""

from node.config import Config
from node.storage.archive import Archive
from node.storage.cache import Cache
from node.storage.shared import SharedArchive
from node.storage.store import Store


def open_archive(config: Config) -> Archive:
    """Return the archive of received images."""
    storage = config.storage
    if not storage.is_store:
        return Archive(storage.folder(config.data_dir) / "archive", config.listen.min_free_mb)
    cache = Cache(config.data_dir / "cache", storage.cache_mb)
    return SharedArchive(cache, config.listen.min_free_mb, Store(storage))
