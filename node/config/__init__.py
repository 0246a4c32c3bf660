"""One frozen configuration: defaults, then a TOML file, then the environment.

Environment variables are ``LUMBAR_`` plus the path with ``__`` between its parts, for example
``LUMBAR_LISTEN__PORT=11112``. Every mistake is reported at once, before anything starts.
The commented manual of all settings is ``deploy/node.toml``.
"""

from node.config.loading import PREFIX, Config, load
from node.config.receiving import BACKFILL, Complete, Listen, Source, source_of
from node.config.running import Retention, Web, Work
from node.config.sending import Deliver, Destination, OrthancPeer, Report
from node.config.storing import Storage
from node.config.trust import Audit, Quarantine, Tls
from node.config.web_peers import DicomwebPeer, WebPeer, WorklistPeer

__all__ = [
    "BACKFILL",
    "PREFIX",
    "Audit",
    "Complete",
    "Config",
    "Deliver",
    "Destination",
    "DicomwebPeer",
    "Listen",
    "OrthancPeer",
    "Quarantine",
    "Report",
    "Retention",
    "Source",
    "Storage",
    "Tls",
    "Web",
    "WebPeer",
    "Work",
    "WorklistPeer",
    "load",
    "source_of",
]
