"""The DICOM conformance statement (PS3.2), written from the code's own tables."""

from node.conformance.statement import statement

__all__ = ["statement"]
