"""Result objects and pages, made of findings: SR, Secondary Capture, GSPS, ``submission.csv``.

pydicom, highdicom and Pillow; no disk, no network. highdicom is imported here and nowhere else.
"""

from node.results.build import ResultSet, build
from node.results.ladder import LADDER, downgrade
from node.results.reading import read_report
from node.results.submission import submission

__all__ = ["LADDER", "ResultSet", "build", "downgrade", "read_report", "submission"]
