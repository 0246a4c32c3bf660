"""The report before PixelMed's SR validator (Debian's of 2022), which knows the templates."""

import subprocess
from dataclasses import replace
from pathlib import Path

from node.phantom import PhantomStudy
from node.spine.anatomy import Level
from tests.conformance.cases import of_phantom, saved

#: What it says of a right report, and why that stays.
EXPLAINED = {
    # Its own table has CID 100 as the baseline of this item ("B") and as extensible, so any code
    # may stand here; the tool checks as if it were defined. CID 100 has no lumbar spine, only "MRI
    # unspecified body region", and a reader of reports wants to know what was examined.
    'CODE (121058,DCM,"Procedure reported"): '
    'Code (24968-0,LN,"MR Lumbar spine") not found in context group 100',
    # TID 4019 has it since later than 2022.
    'TEXT (122405,DCM,"Algorithm Manufacturer"): Content Item not in template',
    # TID 1410 is extensible. Without the comment OHIF shows no grade; without the grade as a code
    # there is nothing for software.
    'TEXT (121106,DCM,"Comment"): Content Item not in template',
    'CODE (SCS_GRADE,99LSPINEAI,"Spinal canal stenosis grade"): Content Item not in template',
    'CODE (NFN_GRADE,99LSPINEAI,"Neural foraminal narrowing grade"): Content Item not in template',
    'CODE (SAS_GRADE,99LSPINEAI,"Subarticular stenosis grade"): Content Item not in template',
}


def test_pixelmed_finds_tid_1500_and_nothing_unexplained(
    phantom: PhantomStudy, tmp_path: Path
) -> None:
    """What it says, and nothing else, is explained above.

    One level only: the validator needs 3 GB for a report of 25 groups, and says the same.
    """
    study = of_phantom(phantom)
    others = [f for f in study.findings.findings if f.level is not Level.L4_L5]
    found = study.with_findings(*(f.not_assessed("left out") for f in others))
    report = saved("pixelmed", replace(study, findings=found), tmp_path).report
    # Java 17 stops an XPath at 10 000 operators; this validator's have more.
    limits = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("TotalOp", "ExprGrp", "ExprOp")]
    jar = ["-cp", "/usr/share/java/pixelmed.jar", "com.pixelmed.validate.DicomSRValidator"]
    command = ["java", "-Xss16m", "-Xmx1g", *limits, *jar, str(report)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (told.stdout + told.stderr).splitlines()

    assert "Found Comprehensive3DSR IOD" in lines
    assert "Found Root Template TID_1500 (MeasurementReport)" in lines
    assert "IOD validation complete" in lines
    complaints = {s.rsplit("/", 1)[-1] for s in lines if s.startswith(("Error", "Warning"))}
    assert complaints == EXPLAINED
