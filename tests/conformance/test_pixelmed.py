"""The report before PixelMed's SR validator (Debian's of 2022), which knows the templates."""

import subprocess
from pathlib import Path

from node.phantom import PhantomStudy
from tests.conformance.cases import make_case

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
    """It walks the whole report; what it says, and nothing else, is explained above."""
    report = make_case("default", phantom, tmp_path).report
    # Java 17 stops an XPath at 10 000 operators; this validator's have more.
    limits = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("TotalOp", "ExprGrp", "ExprOp")]
    jar = ["-cp", "/usr/share/java/pixelmed.jar", "com.pixelmed.validate.DicomSRValidator"]
    command = ["java", "-Xss16m", "-Xmx2g", *limits, *jar, str(report)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (told.stdout + told.stderr).splitlines()

    assert "Found Comprehensive3DSR IOD" in lines
    assert "Found Root Template TID_1500 (MeasurementReport)" in lines
    assert "IOD validation complete" in lines
    complaints = {s.rsplit("/", 1)[-1] for s in lines if s.startswith(("Error", "Warning"))}
    assert complaints == EXPLAINED
