"""lumbar-node: a radiology AI node for lumbar spinal stenosis, to stand beside a PACS."""

from importlib.metadata import version

__version__ = version("lumbar-node")
