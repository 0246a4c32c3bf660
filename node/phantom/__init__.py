"""A synthetic lumbar spine with known findings, as volumes or as DICOM."""

from node.phantom.options import StudyOptions
from node.phantom.study import PhantomStudy, Truth, make_study

__all__ = ["PhantomStudy", "StudyOptions", "Truth", "make_study"]
