"""Names in any script, also broken ones: every object is legal and says them as they came."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.results import read_report
from node.spine.findings import nothing_assessed
from tests.conformance.cases import saved
from tests.conformance.test_results import run, unexplained
from tests.results_study import SmallStudy, small_study

#: Specific Character Set, the name as it is encoded, and as it reads.
NAMES: dict[str, tuple[list[str], bytes, str]] = {
    "Latin 1": (["ISO_IR 100"], "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "Cyrillic": (["ISO_IR 144"], "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
    "ISO 2022 JP": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "ISO_IR 13": (["ISO_IR 13"], "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "ISO_IR 13 and ISO 2022 JP": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    ),
    "ISO 2022 KR": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "GB18030": (["GB18030"], "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "UTF-8": (["ISO_IR 192"], "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    "UTF-8 cut off": (["ISO_IR 192"], "Wang^X=王".encode()[:-1], "Wang^X="),
    "not UTF-8": (["ISO_IR 192"], b"M\xfcller^J\xfcrgen", "M"),
    "unknown set": (["ISO_IR 999"], b"Miller^\xe9\xff", "Miller^"),
    "no set": ([], "Müller".encode("latin-1"), "M"),
}


def reread(header: Dataset, sets: list[str], name: bytes) -> Dataset:
    """Return a header as it comes out of a file, with these bytes as the patient's name."""
    header.SpecificCharacterSet = sets
    header.PatientName = "x" * 60
    written = BytesIO()
    header.save_as(written, implicit_vr=True, little_endian=True)
    raw = written.getvalue().replace(b"x" * 60, name.ljust(60))
    return pydicom.dcmread(BytesIO(raw), force=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", NAMES)
def test_a_name_arrives_as_it_came(kind: str, tmp_path: Path) -> None:
    """No error in any object; DCMTK reads the name; what cannot be read does no harm."""
    sets, name, reads = NAMES[kind]
    plain = small_study()
    headers = {uid: reread(header, sets, name) for uid, header in plain.headers.items()}
    # Without findings there is one page to draw; the headings are the same.
    findings = replace(plain.findings, findings=nothing_assessed("no usable series"), models=())
    case = saved("nothing", SmallStudy(headers, {}, findings), tmp_path)
    shown = run("/usr/bin/dsr2xml", case.report, tmp_path / "report.xml")
    written = [pydicom.dcmread(path) for path in case.files]

    assert unexplained(case.files) == []
    assert shown.returncode == 0
    assert ET.parse(tmp_path / "report.xml").getroot().tag == "report"  # noqa: S314
    assert {w.SpecificCharacterSet for w in written} == {"ISO_IR 192"}
    assert len({str(w.PatientName) for w in written}) == 1
    assert str(written[0].PatientName).startswith(reads)
    is_legal = kind not in ("UTF-8 cut off", "not UTF-8", "unknown set", "no set")
    assert (str(written[0].PatientName) == reads) or not is_legal
    assert read_report(written[-1]) == findings.findings
