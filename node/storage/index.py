"""What the node knows about instances, studies and deliveries, in SQLite or PostgreSQL.

Instances are derived data: `Index.rebuild` recreates them from the archive. States, reasons and
deliveries are the node's own memory and live only here.
"""

from node.storage.deliveries import Deliveries
from node.storage.instances import Instances
from node.storage.releases import Releases
from node.storage.studies import Studies


class Index(Instances, Studies, Deliveries, Releases):
    """All of it in one database; safe to use from several threads and processes."""
