"""DICOM over HTTP, as its client (PS3.18); the service is in ``node/web/dicomweb``."""

from node.dicom.dicomweb.archive import (
    count_images,
    described,
    images,
    instances_of,
    ping,
    pull,
    search,
)

__all__ = ["count_images", "described", "images", "instances_of", "ping", "pull", "search"]
