"""The command line as a person meets it: results, refusals and exit codes, on the real program."""

import json
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate

from node.loopback import free_port
from node.phantom import PhantomStudy, StudyOptions, make_study
from node.results import read_report
from tests.node_process import NodeProcess, cli


def test_analyse_leaves_a_whole_result(
    phantom: PhantomStudy, phantom_folder: Path, tmp_path: Path
) -> None:
    """Findings, table, report, captures and pages; each of 25 is graded or has a reason."""
    out = tmp_path / "out"

    run = cli("analyse", phantom_folder, "--out", out, "--json")

    assert run.returncode in (0, 3), run.stderr
    told = json.loads(run.stdout)
    assert told == json.loads((out / "findings.json").read_text())
    assert told["study_uid"] == phantom.study_uid
    assert len(told["findings"]) == 25
    for finding in told["findings"]:
        assert (finding["grade"] is None) == (finding["reason"] is not None)
    assert (run.returncode == 0) == (told["status"] == "complete" and not told["reasons"])
    assert (out / "sr.dcm").is_file()
    assert len(list((out / "capture").glob("*.dcm"))) == 6
    assert len(list((out / "pages").glob("*.png"))) == 6
    rows = (out / "submission.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(f["grade"] is not None for f in told["findings"])


def test_the_same_study_analysed_twice_has_the_same_identities(
    phantom_folder: Path, tmp_path: Path
) -> None:
    """A resend is a duplicate, not a second result: every UID follows from input and models."""
    uids = []
    for name in ("one", "two"):
        cli("analyse", phantom_folder, "--out", tmp_path / name, "--json")
        objects = sorted((tmp_path / name).rglob("*.dcm"))
        uids.append([pydicom.dcmread(o).SOPInstanceUID for o in objects])

    assert uids[0] == uids[1]
    assert len(set(uids[0])) == len(uids[0])


def test_two_studies_in_a_folder_get_a_folder_each(phantom: PhantomStudy, tmp_path: Path) -> None:
    """Sub-folders are named by study UID."""
    for number, study in enumerate((phantom, make_study(8))):
        study.write(tmp_path / "in" / str(number))

    run = cli("analyse", tmp_path / "in", "--out", tmp_path / "out", "--json")

    assert len(json.loads(run.stdout)) == 2
    assert (tmp_path / "out" / phantom.study_uid / "sr.dcm").is_file()


def test_a_ct_is_refused_in_one_line(shared_data: Path, tmp_path: Path) -> None:
    """A lumbar CT is still no MR; the report says so too."""
    run = cli("analyse", shared_data / "dicom" / "GH1308.dcm", "--out", tmp_path / "out")

    assert run.returncode == 3
    assert len(run.stderr.strip().splitlines()) == 1
    assert "CT" in run.stderr
    told = read_report(pydicom.dcmread(tmp_path / "out" / "sr.dcm"))
    assert "only MR can be assessed" in (told[0].reason or "")


def test_a_lone_sagittal_t2_is_assessed_as_far_as_it_goes(
    shared_data: Path, tmp_path: Path
) -> None:
    """The canal is assessed; the other 20 say which series is missing; exit code 3."""
    case = shared_data / "real-sagittal" / "VB2-4"

    run = cli("analyse", case, "--out", tmp_path / "out", "--json")

    assert run.returncode == 3
    findings = json.loads(run.stdout)["findings"]
    canal = [f for f in findings if f["condition"] == "spinal_canal_stenosis"]
    assert all(f["status"] == "assessed" for f in canal)
    others = {f["reason"] for f in findings if f not in canal}
    assert others == {"no sagittal T1 series", "no axial T2 series"}


def test_a_real_study_gives_25_rows_and_pages(shared_data: Path, tmp_path: Path) -> None:
    """Real pixels, three series: every row assessed or with a reason."""
    run = cli("analyse", shared_data / "real-study", "--out", tmp_path / "out", "--json")

    assert run.returncode in (0, 3), run.stderr
    told = json.loads(run.stdout)
    assert all(told["series"].values())
    assert all(f["grade"] or f["reason"] for f in told["findings"])
    assert len(list((tmp_path / "out" / "pages").glob("*.png"))) == 6


def test_a_truncated_file_costs_only_itself(phantom: PhantomStudy, tmp_path: Path) -> None:
    """One cut file among good ones is named; the study is still analysed."""
    folder = tmp_path / "in"
    first, *_ = phantom.write(folder)
    first.write_bytes(first.read_bytes()[:3000])

    run = cli("analyse", folder, "--out", tmp_path / "out", "--json")

    assert run.returncode == 3
    told = json.loads(run.stdout)
    assert any(first.name in reason for reason in told["reasons"])


def test_an_image_that_cannot_be_decoded_costs_only_itself(tmp_path: Path) -> None:
    """One corrupt RLE image among good ones is named; the rest of its series is used."""
    folder = tmp_path / "in"
    bad = make_study(8, options=StudyOptions(transfer_syntax="rle")).write(folder)[3]
    image = pydicom.dcmread(bad)
    image.PixelData = encapsulate([bytes(64)])
    image.save_as(bad)

    run = cli("analyse", folder, "--out", tmp_path / "out", "--json")

    assert run.returncode == 3, run.stderr
    told = json.loads(run.stdout)
    assert all(told["series"].values())
    (unread,) = [r for r in told["reasons"] if r.startswith("not read")]
    assert bad.name in unread


@pytest.mark.parametrize("command", ["analyse", "demo"])
def test_a_folder_with_other_files_is_left_alone(
    command: str, phantom_folder: Path, tmp_path: Path
) -> None:
    """A result never takes the place of what somebody else put there."""
    mine = tmp_path / "thesis.txt"
    mine.write_text("three years of work")
    source = [phantom_folder] if command == "analyse" else []

    run = cli(command, *source, "--out", tmp_path)

    assert run.returncode == 2
    assert "choose a new or empty folder" in run.stderr
    assert mine.read_text() == "three years of work"
    assert list(tmp_path.iterdir()) == [mine]


def test_a_second_result_takes_the_place_of_the_first(phantom_folder: Path, tmp_path: Path) -> None:
    """An earlier result in the same folder is replaced whole."""
    for _ in range(2):
        assert cli("analyse", phantom_folder, "--out", tmp_path / "out").returncode in (0, 3)

    assert len(list((tmp_path / "out" / "capture").iterdir())) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_without_dicom_is_an_error_in_one_line(tmp_path: Path) -> None:
    """The message says what was wrong with the first file."""
    (tmp_path / "notes.txt").write_text("not DICOM")

    run = cli("analyse", tmp_path, "--out", tmp_path / "out")

    assert run.returncode == 1
    assert "notes.txt" in run.stderr


def test_every_mistake_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    """Exit code 2, before anything starts."""
    config = tmp_path / "node.toml"
    config.write_text('nonsense = 1\n[listen]\nport = 0\n[web]\nbind = "nowhere"\n')

    run = cli("serve", "--config", config)

    assert run.returncode == 2
    for name in ("nonsense", "listen.port", "web.bind"):
        assert name in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyse"], "Missing argument"),
        (["send", ".", "--to", "nonsense"], "AE@HOST:PORT"),
        (["show", "1.2.3"], "no study 1.2.3"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was wrong, and what would be right."""
    monkeypatch.setenv("LUMBAR_DATA_DIR", str(tmp_path))

    run = cli(*arguments)

    assert run.returncode == 2
    assert says in run.stderr


def test_send_and_echo_talk_to_a_running_node(tmp_path: Path, phantom_folder: Path) -> None:
    """The people's C-STORE and C-ECHO."""
    with NodeProcess(tmp_path / "node") as node:
        here = f"LUMBAR@127.0.0.1:{node.dicom_port}"
        assert cli("echo", here).returncode == 0
        run = cli("send", phantom_folder, "--to", here, "--json")
        assert run.returncode == 0
        assert json.loads(run.stdout)["stored"] == len(list(phantom_folder.rglob("*.dcm")))
    assert cli("echo", here).returncode == 1


def test_the_doctor_names_what_is_wrong(tmp_path: Path) -> None:
    """A dead destination is a fault; the phantom round trip and the models are well."""
    config = tmp_path / "node.toml"
    config.write_text(
        f'data_dir = "{tmp_path}"\n[listen]\nport = {free_port()}\nmin_free_mb = 1\n'
        f"[web]\nport = {free_port()}\n[[destinations]]\n"
        f'name = "gone"\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "GONE"\n'
    )

    run = cli("doctor", "--config", config, "--json")

    assert run.returncode == 1
    faults = [c["what"] for c in json.loads(run.stdout) if not c["ok"]]
    assert faults == ["gone: C-ECHO GONE"]


def test_the_demo_ends_well(tmp_path: Path) -> None:
    """Phantom in, results at a real PACS, 25 findings shown, files left."""
    run = cli("demo", "--out", tmp_path / "demo", timeout=180)

    assert run.returncode == 0, run.stderr
    assert "of 25 assessed" in run.stdout
    assert len(list((tmp_path / "demo/results/pages").glob("*.png"))) == 6
    assert (tmp_path / "demo/results/sr.dcm").is_file()
