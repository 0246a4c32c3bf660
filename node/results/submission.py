"""``submission.csv``: the findings in the form of the RSNA 2024 tables."""

from node.spine.anatomy import GRADES
from node.spine.findings import StudyFindings

HEADER = "row_id,normal_mild,moderate,severe"


def submission(findings: StudyFindings) -> str:
    """Return the class probabilities as CSV, a row for each *assessed* finding.

    ``row_id`` is ``<study UID>_<condition>_<level>``. What was not assessed has no row: the
    challenge's metric needs a number in every row, and a made-up one would be a default grade.
    """
    rows = [HEADER]
    for finding in findings.findings:
        if finding.probabilities is not None:
            values = ",".join(f"{finding.probabilities[g]:.6f}" for g in GRADES)
            rows.append(f"{findings.study_uid}_{finding.condition}_{finding.level},{values}")
    return "\n".join(rows) + "\n"
