"""The DICOMweb service against tables read from PS3.18, over the node's own archive and index."""

import json
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from node.app import Node
from node.config import Config, Listen, Web
from node.web.app import create_app
from tests import builders
from tests.dicomweb_parts import MULTIPART, address, first, message, parts_of

DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def compressed(image: FileDataset) -> FileDataset:
    image.compress(RLELossless, generate_instance_uid=False)
    return image


@pytest.fixture(scope="module")
def images() -> list[FileDataset]:
    """A study of three series, two images each, and one compressed image in the last."""
    return [
        *builders.mr_study(slices=2),
        compressed(builders.mr_image(series="axial_t2", number=9)),
    ]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    own = Node(Config(data_dir=folder, listen=Listen(min_free_mb=1)))
    yield own
    own.stop()


@pytest.fixture(scope="module")
def client(node: Node, images: list[FileDataset]) -> TestClient:
    client = TestClient(create_app(node, Web()))
    assert stow(client, *map(builders.part10, images)).status_code == 200
    other = builders.mr_image("2", PatientName="Somebody^Else", PatientID="2", StudyDate="20250630")
    assert stow(client, builders.part10(other)).status_code == 200
    return client


def stow(client: TestClient, *files: bytes, path: str = "", **headers: str) -> httpx.Response:
    answer: httpx.Response = client.post(
        f"/dicom-web/studies{path}", content=b"".join(message(files)), headers=MULTIPART | headers
    )
    return answer


# -- STOW-RS --------------------------------------------------------------------------------------


def test_what_is_stored_is_durable_and_has_an_address(
    client: TestClient, node: Node, images: list[FileDataset]
) -> None:
    """PS3.18 annex I.2: each instance with its class and Retrieve URL; again is a success too."""
    told = stow(client, *map(builders.part10, images)).json()

    stored = {first(i, "00081155"): first(i, "00081190") for i in told["00081199"]["Value"]}
    assert set(stored) == {i.SOPInstanceUID for i in images}
    for image in images:
        assert stored[image.SOPInstanceUID] == f"http://testserver{address(image)}"
    rows = node.index.instances(images[0].StudyInstanceUID)
    assert {row.source for row in rows} == {"stow:testclient"}
    assert all(node.archive.path(row.sha256).is_file() for row in rows)
    assert first(told, "00081190") == f"http://testserver/dicom-web/studies/{rows[0].study_uid}"


@pytest.mark.parametrize(
    ("files", "status", "reasons"),
    [
        (["good", "cut"], 202, [0xC000]),
        (["good", "rubbish"], 202, [0xC000]),
        (["cut", "rubbish"], 409, [0xC000, 0xC000]),
        (["jpeg"], 409, [0xC122]),
        (["capture"], 200, []),
        (["good", "capture", "mismatch"], 202, [0xA900]),
    ],
)
def test_each_instance_gets_its_own_verdict(
    client: TestClient, files: list[str], status: int, reasons: list[int]
) -> None:
    """PS3.18 tables 10.5.3-1 and I.2-2: some failed is 202, all is 409, each with a reason."""
    good = builders.part10(builders.mr_image("verdict"))
    lossy = builders.mr_image("verdict", number=3)
    lossy.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    mismatch = builders.mr_image("verdict", number=4)
    kinds = {
        "good": good,
        "cut": builders.part10(builders.mr_image("verdict", number=2))[:-9],
        "rubbish": b"no DICOM at all",
        "capture": builders.part10(builders.capture("verdict")),
        "jpeg": _with_syntax(lossy),
        "mismatch": _with_class(mismatch, "1.2.840.10008.5.1.4.1.1.4.1"),
    }

    answer = stow(client, *(kinds[f] for f in files))

    told = answer.json()
    failed = told.get("00081198", {}).get("Value", []) + told.get("0008119A", {}).get("Value", [])
    assert (answer.status_code, sorted(first(f, "00081197") for f in failed)) == (status, reasons)
    assert ("warning" in answer.headers) == bool(reasons)


def _with_syntax(image: FileDataset) -> bytes:
    """Return a file that says it is JPEG; its pixels are fragments of nothing."""
    image.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    image["PixelData"].is_undefined_length = True
    return builders.part10(image)


def _with_class(image: FileDataset, sop_class: str) -> bytes:
    """Return a file whose meta information names another class than its data set."""
    raw = builders.part10(image)
    image.SOPClassUID = sop_class
    image.file_meta.MediaStorageSOPClassUID = sop_class
    other = builders.part10(image)
    return raw[: _end(raw)] + other[_end(other) :]


def _end(part10: bytes) -> int:
    """Return where the data set begins."""
    return 144 + int.from_bytes(part10[140:144], "little")


def test_an_instance_of_another_study_is_refused(client: TestClient) -> None:
    """What is posted to a study has to belong to it."""
    one, other = builders.mr_image("11"), builders.mr_image("12")

    answer = stow(
        client, builders.part10(one), builders.part10(other), path=f"/{one.StudyInstanceUID}"
    )

    assert answer.status_code == 202
    (refused,) = answer.json()["00081198"]["Value"]
    assert first(refused, "00081155") == other.SOPInstanceUID
    assert client.get(f"/dicom-web/studies/{other.StudyInstanceUID}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/dicom", b"x", 415),
        ("multipart/form-data; boundary=b", b"--b--", 415),
        ('multipart/related; type="application/dicom"', b"", 415),
        ('multipart/related; type="application/dicom+json"; boundary=b', b"--b--", 415),
        ("multipart/related; boundary=b", b"nothing of the kind", 400),
        ("multipart/related; boundary=b", b"", 400),
        ("multipart/related; boundary=b", b"--b--", 400),
        (
            "multipart/related; boundary=b",
            b"--b\r\nContent-Type: application/dicom\r\n\r\nhalf",
            400,
        ),
    ],
)
def test_a_message_that_is_none_is_refused(
    client: TestClient, kind: str, body: bytes, status: int
) -> None:
    """415 for what is no multipart of DICOM, 400 for what is not well-formed or empty."""
    answer = client.post("/dicom-web/studies", content=body, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert answer.json()["detail"]


def test_what_came_before_a_message_broke_off_is_kept(client: TestClient, node: Node) -> None:
    """Each instance is durable on its own; the client learns that the message was not whole."""
    image = builders.mr_image("13")
    body = b"".join(message([builders.part10(image), builders.part10(builders.mr_image("14"))]))

    answer = client.post("/dicom-web/studies", content=body[:-2000], headers=MULTIPART)

    assert answer.status_code == 400
    assert len(node.index.instances(image.StudyInstanceUID)) == 1
    assert not list((node.config.data_dir / "archive" / "incoming").iterdir())


def test_without_room_the_client_is_told_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After; the failure reason says out of resources."""
    full = Node(Config(data_dir=tmp_path, listen=Listen(min_free_mb=10**9)))

    answer = stow(TestClient(create_app(full, Web())), builders.part10(builders.mr_image()))

    full.stop()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert first(answer.json()["00081198"]["Value"][0], "00081197") == 0xA700


# -- QIDO-RS --------------------------------------------------------------------------------------

STUDY = builders.uid("study", "1")


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ("studies?PatientID=TEST-0001&StudyInstanceUID=" + STUDY, 1),
        (f"studies?StudyInstanceUID={STUDY},{builders.uid('study', '2')}", 2),
        (f"studies?0020000D={STUDY}\\{builders.uid('study', '2')}", 2),
        ("studies?PatientName=somebody*", 1),
        ("studies?PatientName=SOMEBODY^EL?E", 1),
        ("studies?PatientName=somebody", 0),
        ("studies?PatientID=[2]", 0),
        ("studies?StudyDate=20250630", 1),
        ("studies?StudyDate=20250101-20251231", 1),
        ("studies?StudyDate=-20250630", 1),
        ("studies?StudyDate=20270101-", 0),
        ("studies?PatientID=2&StudyTime=1100-1200", 1),
        ("studies?PatientID=2&StudyTime=120001-", 0),
        ("studies?PatientID=2&ModalitiesInStudy=MR", 1),
        ("studies?PatientID=2&ModalitiesInStudy=SR", 0),
        ("studies?PatientID=2&ModalitiesInStudy=CT,MR", 1),
        ("studies?PatientID=", 99),
        (f"studies/{STUDY}/series", 3),
        (f"studies/{STUDY}/series?Modality=MR", 3),
        (f"studies/{STUDY}/series?Modality=CT", 0),
        (f"studies/{STUDY}/series?SeriesNumber=1&SeriesDescription=T2*", 2),
        ("series?PatientID=2", 1),
        (f"studies/{STUDY}/instances", 7),
        (f"studies/{STUDY}/instances?limit=4", 4),
        (f"studies/{STUDY}/instances?limit=4&offset=4", 3),
        (f"studies/{STUDY}/instances?offset=7", 0),
        (f"studies/{STUDY}/instances?InstanceNumber=2", 3),
        (f"instances?StudyInstanceUID={STUDY}&InstanceNumber=9", 1),
        ("studies/1.2.3/series", 0),
    ],
)
def test_a_search_finds_what_matches(client: TestClient, search: str, count: int) -> None:
    """PS3.4 C.2.2.2 and PS3.18 8.3.4: lists of UIDs, wildcards, ranges, paging; none is []."""
    answer = client.get(f"/dicom-web/{search}")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    found = answer.json()
    assert len(found) == count or (count == 99 and len(found) >= 2)


@pytest.mark.parametrize(
    "search",
    [
        "studies?limit=-1", "studies?limit=x", "studies?offset=1.5", "studies?fuzzymatching=maybe",
        "studies?NoSuchAttribute=1", "studies?Modality=MR", "series?SOPInstanceUID=1.2",
        "studies?StudyDate=yesterday", "studies?PatientWeight=70", "studies?includefield=Nothing",
        "studies?PatientID=1&00100020=2", "studies?RetrieveURL=x",
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_answered_truly_is_refused(client: TestClient, search: str) -> None:
    """400 with a reason: leaving a key aside would return what was not asked for."""
    answer = client.get(f"/dicom-web/{search}")

    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_what_is_told_of_each_level(client: TestClient) -> None:
    """PS3.18 tables 10.6.3-3 to -5: what is required is there, also without a value."""
    (study,) = client.get(f"/dicom-web/studies?StudyInstanceUID={STUDY}").json()
    series = client.get(f"/dicom-web/studies/{STUDY}/series").json()
    instances = client.get(f"/dicom-web/studies/{STUDY}/instances").json()

    required = {
        "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00100010",
        "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
    }  # fmt: skip
    assert required <= set(study)
    assert (first(study, "00201206"), first(study, "00201208")) == (3, 7)
    assert "Value" not in study["00080050"]
    for one in series:
        assert {"00080060", "0020000E", "00200011", "00201209", "00081190"} <= set(one)
    assert sum(first(s, "00201209") for s in series) == 7
    for one in instances:
        assert {"00080016", "00080018", "00200013", "00280010", "00280011", "00280100"} <= set(one)


def test_more_may_be_asked_for(client: TestClient) -> None:
    """By keyword, tag or all; what belongs to one image is not told of a study."""
    path = f"/dicom-web/studies/{STUDY}/instances?limit=1&includefield"
    assert first(client.get(f"{path}=EchoTime").json()[0], "00180081") == 10.0
    assert first(client.get(f"{path}=00180080,EchoTime").json()[0], "00180080") == 600.0
    assert "00200037" in client.get(f"{path}=all").json()[0]
    told = client.get("/dicom-web/studies?limit=1&includefield=all").json()[0]
    assert "00180081" not in told


def test_what_is_left_aside_is_said(client: TestClient) -> None:
    """PS3.18 8.3.4.2: fuzzy matching is not done, and a warning says so."""
    answer = client.get("/dicom-web/studies?fuzzymatching=true&PatientName=Sombody*")

    assert answer.json() == []
    assert answer.headers["warning"].startswith("299 http://testserver/dicom-web: ")
    assert "fuzzymatching parameter is not supported" in answer.headers["warning"]


# -- WADO-RS --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "accept", "status", "kind"),
    [
        ("{study}", "*/*", 200, DICOM),
        ("{study}", DICOM, 200, DICOM),
        ("{study}", "multipart/related", 200, DICOM),
        ("{study}", "multipart/related; type=application/dicom; transfer-syntax=*", 200, DICOM),
        ("{study}", f"{DICOM}; transfer-syntax={EXPLICIT}", 200, DICOM),
        ("{study}", f"{DICOM}; transfer-syntax={IMPLICIT}", 406, ""),
        ("{study}", "application/dicom", 406, ""),
        ("{study}", "application/zip", 406, ""),
        ("{study}", f"application/zip, {DICOM}; q=0.5", 200, DICOM),
        ("{study}?accept=multipart/related", "application/zip", 200, DICOM),
        ("{series}", DICOM, 200, DICOM),
        ("{instance}", DICOM, 200, DICOM),
        ("{instance}", "application/dicom", 200, "application/dicom"),
        ("{study}/metadata", "application/dicom+json", 200, "application/dicom+json"),
        ("{series}/metadata", "application/json", 200, "application/dicom+json"),
        ("{instance}/metadata", "*/*", 200, "application/dicom+json"),
        ("{instance}/metadata", "multipart/related; type=application/dicom+xml", 406, ""),
        ("{instance}/frames/1", "*/*", 200, OCTETS),
        ("{instance}/frames/1", OCTETS, 200, OCTETS),
        ("{instance}/frames/1", 'multipart/related; type="*/*"', 200, OCTETS),
        ("{instance}/frames/1", "application/octet-stream", 200, "application/octet-stream"),
        ("{instance}/frames/1", "image/jp2", 406, ""),
        ("{instance}/frames/2", "*/*", 404, ""),
        ("{instance}/frames/0", "*/*", 404, ""),
        ("{instance}/frames/x", "*/*", 404, ""),
        ("{instance}/rendered", "*/*", 200, "image/jpeg"),
        ("{instance}/rendered", "image/png", 200, "image/png"),
        ("{instance}/rendered", "image/*", 200, "image/jpeg"),
        ("{instance}/rendered", "image/gif", 406, ""),
        ("{instance}/frames/1/rendered", "image/png", 200, "image/png"),
        ("{instance}/bulkdata/7FE00010", OCTETS, 200, OCTETS),
        ("{instance}/bulkdata/00100010", "*/*", 404, ""),
        ("{instance}/bulkdata/x/1/y", "*/*", 404, ""),
        ("/dicom-web/studies/1.2.3", DICOM, 404, ""),
        ("/dicom-web/studies/x%00/metadata", "*/*", 404, ""),
        ("{study}/series/1.2.3", DICOM, 404, ""),
        ("{series}/instances/1.2.3/metadata", "*/*", 404, ""),
    ],
)
def test_a_resource_is_had_in_the_form_that_is_accepted(  # noqa: PLR0917
    client: TestClient, images: list[FileDataset], path: str, accept: str, status: int, kind: str
) -> None:
    """PS3.18 tables 10.4.1-1 to -3 and section 8.7: the path, what is accepted, what comes."""
    instance = address(images[0])
    series = instance.rpartition("/instances")[0]
    study = series.rpartition("/series")[0]
    url = path.format(study=study, series=series, instance=instance)

    answer = client.get(url, headers={"Accept": accept})

    assert answer.status_code == status, answer.text[:200]
    if status == 200:
        assert answer.headers["content-type"].startswith(kind)
    else:
        assert answer.json()["detail"]


def test_files_come_as_they_are_stored_or_uncompressed(
    client: TestClient, images: list[FileDataset]
) -> None:
    """``*`` gives the stored bytes; where none is named, explicit VR little endian."""
    path = address(images[-1])
    raw = client.get(path, headers={"Accept": f"{DICOM}; transfer-syntax=*"})
    plain = client.get(path, headers={"Accept": DICOM})

    ((kind, stored),) = parts_of(raw.headers["content-type"], raw.content)
    assert kind == f"application/dicom; transfer-syntax={RLELossless}"
    assert dcmread(BytesIO(stored)).PixelData == images[-1].PixelData
    ((kind, decoded),) = parts_of(plain.headers["content-type"], plain.content)
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
    image = dcmread(BytesIO(decoded))
    assert image.file_meta.TransferSyntaxUID == EXPLICIT
    original = builders.mr_image(series="axial_t2", number=9)
    assert (image.PixelData, image.SOPInstanceUID) == (original.PixelData, original.SOPInstanceUID)


def test_compressed_frames_come_compressed_or_not(
    client: TestClient, images: list[FileDataset]
) -> None:
    """The media types of PS3.18 table 8.7.3-5; OHIF asks for octets of any syntax."""
    path = f"{address(images[-1])}/frames/1"
    pixels = builders.mr_image(series="axial_t2", number=9).PixelData
    forms = {
        "multipart/related; type=image/dicom-rle": ("image/dicom-rle", RLELossless),
        'multipart/related; type="*/*"': ("image/dicom-rle", RLELossless),
        f"{OCTETS}; transfer-syntax=*": ("application/octet-stream", RLELossless),
        OCTETS: ("application/octet-stream", EXPLICIT),
    }
    for accept, (kind, syntax) in forms.items():
        answer = client.get(path, headers={"Accept": accept})
        ((said, frame),) = parts_of(answer.headers["content-type"], answer.content)
        assert said == f"{kind}; transfer-syntax={syntax}"
        assert (frame == pixels) == (syntax == EXPLICIT)
        assert len(frame) < len(pixels) or syntax == EXPLICIT


def test_an_image_that_cannot_be_decoded_costs_only_itself(client: TestClient) -> None:
    """Alone it is gone (410), among others it is left out; as it is stored it comes."""
    good, bad = builders.mr_image("bad"), compressed(builders.mr_image("bad", number=2))
    raw = builders.part10(bad)
    fragment = bad.PixelData[24:56]
    stow(client, builders.part10(good), raw.replace(fragment, b"\xff" * len(fragment)))
    path = address(bad)

    for form in ("", "/frames/1", "/rendered"):
        accept = {"": DICOM, "/frames/1": OCTETS, "/rendered": "image/png"}[form]
        assert client.get(path + form, headers={"Accept": accept}).status_code == 410, form
    study = client.get(path.partition("/series")[0], headers={"Accept": DICOM})
    assert len(parts_of(study.headers["content-type"], study.content)) == 1
    stored = client.get(path, headers={"Accept": f"{DICOM}; transfer-syntax=*"})
    assert stored.status_code == 200


def test_metadata_is_the_whole_header_without_the_pixels(
    client: TestClient, images: list[FileDataset]
) -> None:
    """Every attribute; the pixels by address; the transfer syntax by its own attribute."""
    (told,) = client.get(f"{address(images[0])}/metadata").json()

    tags = {f"{e.tag:08X}" for e in images[0]}
    assert set(told) == tags | {"00083002"}
    assert told["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": builders.PATIENT_NAME}]}
    assert first(told, "00083002") == EXPLICIT
    where = told["7FE00010"]["BulkDataURI"].removeprefix("http://testserver")
    answer = client.get(where, headers={"Accept": "application/octet-stream"})
    assert answer.content == images[0].PixelData


def test_odd_headers_are_legal_json(client: TestClient) -> None:
    """Values that cannot be read are left out, and numbers that JSON lacks are text."""
    odd = builders.mr_image("odd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd.add_new(0x00189073, "FD", float("nan"))  # AcquisitionDuration
        odd.add_new(0x00091010, "OB", b"x" * 4000)
        odd.SliceThickness = "4"
        raw = builders.part10(odd).replace(b"DS\x02\x004 ", b"DS\x02\x00?!")
    assert stow(client, raw).status_code == 200

    answer = client.get(f"{address(odd)}/metadata")

    (told,) = json.loads(answer.content, parse_constant=pytest.fail)
    assert told["00189073"]["Value"] == ["nan"]
    assert "00180050" not in told
    bulk = told["00091010"]["BulkDataURI"].removeprefix("http://testserver")
    assert client.get(bulk, headers={"Accept": "application/octet-stream"}).content == b"x" * 4000


def test_a_picture_is_windowed_as_the_header_says(client: TestClient) -> None:
    """PS3.3 C.11.2.1.2.1: black below the window, white above; MONOCHROME1 the other way."""
    for polarity, dark in (("MONOCHROME2", 0), ("MONOCHROME1", 255)):
        image = builders.mr_image(polarity, PhotometricInterpretation=polarity)
        image.WindowCenter, image.WindowWidth = 1000, 200
        values = np.full((64, 64), 500, "<u2")
        values[:, 32:], values[:, 48:] = 1000, 2000
        image.PixelData = values.tobytes()
        stow(client, builders.part10(image))
        png = client.get(f"{address(image)}/rendered", headers={"Accept": "image/png"}).content
        shown = np.asarray(Image.open(BytesIO(png)))
        assert shown[5, 5] == dark
        assert abs(int(shown[5, 40]) - 128) <= 2
        assert shown[5, 60] == 255 - dark


def test_images_that_were_released_after_delivery_are_not_offered(
    client: TestClient, node: Node
) -> None:
    """Their rows stay in the index; who asks is not promised a file that is gone."""
    image = builders.mr_image("released")
    stow(client, builders.part10(image))
    assert client.get(f"{address(image)}/metadata").status_code == 200

    node.index.release(image.StudyInstanceUID)

    assert client.get(f"{address(image)}/metadata").status_code == 404
    search = f"/dicom-web/studies?StudyInstanceUID={image.StudyInstanceUID}"
    assert client.get(search).json() == []


# -- access ---------------------------------------------------------------------------------------


def test_with_a_token_everything_asks_for_it(node: Node, tmp_path: Path) -> None:
    """Programs show the bearer token; a browser signs in once and may then read, not write."""
    secret = tmp_path / "token"
    secret.write_text("right\n")
    app = create_app(node, Web(token_file=secret))
    browser = TestClient(app, base_url="https://testserver")
    bearer = {"Authorization": "Bearer right"}

    for path in ("studies", f"studies/{STUDY}", f"studies/{STUDY}/metadata"):
        assert browser.get(f"/dicom-web/{path}").status_code == 401
        assert browser.get(f"/dicom-web/{path}", headers=bearer).status_code == 200
    part10 = builders.part10(builders.mr_image())
    assert stow(browser, part10).status_code == 401
    assert stow(browser, part10, Authorization="Bearer wrong").status_code == 401
    assert stow(browser, part10, **bearer).status_code == 200

    assert "Sign in" in browser.get("/sign-in").text
    assert browser.post("/sign-in", data={"token": "wrong"}).status_code == 403
    entered = browser.post("/sign-in", data={"token": "right"}, follow_redirects=False)
    assert entered.status_code == 303
    cookie = entered.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "secure"))
    assert "right" not in cookie
    assert browser.get("/dicom-web/studies").status_code == 200
    assert stow(browser, part10).status_code == 401
