"""Studies out of an Orthanc and results back into it, over its REST API (orthanc-api-client).

The Orthanc side of the same conversation is ``orthanc/plugin.py``.
"""

from node.dicom.orthanc.fetching import Fetched, images, pull, search
from node.dicom.orthanc.session import ping
from node.dicom.orthanc.storing import note, push, say

__all__ = ["Fetched", "images", "note", "ping", "pull", "push", "say", "search"]
