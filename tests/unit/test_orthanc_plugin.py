"""What the plugin decides, keeps and says, against a stand-in for Orthanc's Python module."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orthanc import plugin

MR, SC = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.34"
IMAGES = ("MR", MR)
STUDY = "ab-1"
SETTINGS: dict[str, Any] = {"Lumbar": {"NodeUrl": "http://node:8080", "Peer": "pacs"}}


class OrthancError(Exception):
    """Orthanc's exception: a number and a sentence."""


class FakeOrthanc:
    """The module ``orthanc``: its REST API is a dictionary, its database another."""

    ChangeType = SimpleNamespace(STABLE_STUDY=14, ORTHANC_STARTED=9, ORTHANC_STOPPED=10)
    ErrorCode = SimpleNamespace(UNKNOWN_RESOURCE=17)
    OrthancException = OrthancError

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "/changes?last": {"Last": 0},
            "/changes?since=0&limit=1000": {"Changes": [], "Last": 0, "Done": True},
        }
        self.properties: dict[int, str] = {}
        self.logged: list[str] = []
        self.configuration: dict[str, Any] = SETTINGS
        self.registered: list[Callable[..., None]] = []

    def RestApiGet(self, uri: str) -> bytes:  # noqa: N802 - the SDK's names, here and below
        if uri not in self.answers:
            raise OrthancError(17, "Unknown resource")
        answer = self.answers[uri]
        return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()

    def RestApiPut(self, uri: str, body: bytes) -> bytes:  # noqa: N802
        if "/".join(uri.split("/")[:3]) not in self.answers:
            raise OrthancError(17, "Unknown resource")
        self.answers[uri] = body.decode()
        return b""

    def GetConfiguration(self) -> str:  # noqa: N802
        return json.dumps(self.configuration)

    def GetGlobalProperty(self, number: int, default: str) -> str:  # noqa: N802
        return self.properties.get(number, default)

    def SetGlobalProperty(self, number: int, value: str) -> None:  # noqa: N802
        self.properties[number] = value

    def LogError(self, message: str) -> None:  # noqa: N802
        self.logged.append(message)

    LogWarning = LogError

    def RegisterOnChangeCallback(self, callback: Callable[..., None]) -> None:  # noqa: N802
        self.registered.append(callback)

    def RegisterRestCallback(self, _: str, callback: Callable[..., None]) -> None:  # noqa: N802
        self.registered.append(callback)

    def ExtendOrthancExplorer(self, javascript: str) -> None:  # noqa: N802
        """Take the button; what it does is tested in a browser."""

    def hold(
        self, series: Mapping[str, tuple[str, str]], study: str = STUDY, *, stable: bool = True
    ) -> None:
        """Store a study: for each series its Modality and SOP class, and two images."""
        self.answers[f"/studies/{study}"] = {
            "ID": study,
            "IsStable": stable,
            "MainDicomTags": {"StudyDescription": "MR Lumbar Spine"},
        }
        self.answers[f"/studies/{study}/series"] = [
            {
                "MainDicomTags": {"Modality": modality, "SeriesDescription": name},
                "Instances": [f"{name}-1", f"{name}-2"],
            }
            for name, (modality, _) in series.items()
        ]
        for name, (_, sop_class) in series.items():
            self.answers[f"/instances/{name}-1/metadata/SopClassUid"] = sop_class

    def state(self, study: str = STUDY) -> str:
        return str(self.answers.get(f"/studies/{study}/metadata/{plugin.STATE_METADATA}", ""))


class FakeNode:
    """Takes what it is told, unless it is to raise or to refuse."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.trouble: Exception | None = None
        self.refusal = ""

    def __call__(self, study: str) -> str:
        if self.trouble:
            raise self.trouble
        self.told.append(study)
        return self.refusal


@pytest.fixture
def sdk() -> FakeOrthanc:
    return FakeOrthanc()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def trigger(sdk: FakeOrthanc, node: FakeNode) -> plugin.Trigger:
    return started(sdk, node)


def started(sdk: FakeOrthanc, node: FakeNode, **section: Any) -> plugin.Trigger:
    """A plugin as it is after Orthanc has started, without its thread: the test takes the steps."""
    settings = plugin.read_settings({"Lumbar": SETTINGS["Lumbar"] | section})
    trigger = plugin.Trigger(sdk, settings, node)
    trigger.catch_up()
    return trigger


def becomes_stable(trigger: plugin.Trigger, study: str = STUDY) -> bool:
    trigger.on_change(FakeOrthanc.ChangeType.STABLE_STUDY, 1, study)
    return trigger.step()


def ask(trigger: plugin.Trigger, method: str, study: str = STUDY) -> Any:
    """Call the REST callback; return its JSON answer, or the HTTP status it sent."""
    sent: list[Any] = []
    output = SimpleNamespace(
        AnswerBuffer=lambda text, _mime: sent.append(json.loads(text)),
        SendHttpStatusCode=sent.append,
        SendMethodNotAllowed=sent.append,
    )
    trigger.on_request(output, "/lumbar", method=method, groups=(study,))
    return sent[0]


def test_a_stable_mr_study_is_told_of_once(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """The same set of images is not news, however often the study becomes stable."""
    sdk.hold({"t1": IMAGES, "t2": IMAGES})

    assert becomes_stable(trigger)
    assert becomes_stable(trigger)

    assert node.told == [STUDY]
    assert sdk.state() == "sent"


@pytest.mark.parametrize(("modality", "sop_class"), [("SR", SR), ("OT", SC), ("MR", SC)])
def test_results_that_come_back_do_not_trigger(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger, modality: str, sop_class: str
) -> None:
    """A new series of ours makes the study stable again; even a capture that says MR is no news."""
    sdk.hold({"t1": IMAGES})
    becomes_stable(trigger)

    sdk.hold({"t1": IMAGES, "ours": (modality, sop_class)})
    becomes_stable(trigger)

    assert node.told == [STUDY]


def test_late_images_are_told_of_again(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """A larger set of images is a new set."""
    sdk.hold({"t1": IMAGES})
    becomes_stable(trigger)
    sdk.hold({"t1": IMAGES, "t2": IMAGES})

    becomes_stable(trigger)

    assert node.told == [STUDY, STUDY]


@pytest.mark.parametrize("series", [{}, {"ct": ("CT", CT)}])
def test_a_study_without_mr_images_is_left_alone(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger, series: dict[str, tuple[str, str]]
) -> None:
    """A CT study is not told of and gets no state."""
    sdk.hold(series)

    assert becomes_stable(trigger)

    assert (node.told, sdk.state()) == ([], "")


@pytest.mark.parametrize(("modality", "told"), [("MR", [STUDY]), ("CT", [])])
def test_an_image_without_a_stored_class_counts_by_its_modality(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger, modality: str, told: list[str]
) -> None:
    """Images from a very old Orthanc have no SopClassUid metadata; MR is not lost for that."""
    sdk.hold({"t1": (modality, MR)})
    del sdk.answers["/instances/t1-1/metadata/SopClassUid"]

    becomes_stable(trigger)

    assert node.told == told


def test_images_that_arrive_while_the_node_is_told_are_not_forgotten(
    sdk: FakeOrthanc, node: FakeNode
) -> None:
    """The answer was for the smaller set: the larger one still stands in the ledger."""
    plugged: plugin.Trigger

    def tell(study: str) -> str:
        sdk.hold({"t1": IMAGES, "t2": IMAGES})
        ask(plugged, "POST", study)
        return ""

    plugged = plugin.Trigger(sdk, plugin.read_settings(SETTINGS), tell)
    plugged.catch_up()
    sdk.hold({"t1": IMAGES})

    assert not becomes_stable(plugged)

    assert list(plugged.ledger.pending) == [STUDY]
    assert started(sdk, node).step()
    assert node.told == [STUDY]


def test_the_position_follows_behind_everything_that_may_not_be_stable(sdk: FakeOrthanc) -> None:
    """It moves to a change only when that change's study has had time to become stable."""
    now = 1000.0
    settings = plugin.read_settings({"StableAge": 60})
    trigger = plugin.Trigger(sdk, settings, FakeNode(), clock=lambda: now)
    trigger.catch_up()
    for seconds, last, expected in ((0, 5, 0), (130, 8, 0), (131, 9, 5), (200, 9, 5), (270, 9, 9)):
        now = 1000.0 + seconds
        sdk.answers["/changes?last"] = {"Last": last}

        trigger.step()

        assert trigger.ledger.position == expected, seconds


def test_a_silent_node_is_told_later_even_by_another_orthanc_process(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """What is pending stands in Orthanc's database, with the reason in the study's state."""
    sdk.hold({"t1": IMAGES})
    node.trouble = plugin.NodeSilent("the node does not answer")
    assert not becomes_stable(trigger)
    assert sdk.state() == "queued: the node does not answer, will be told again"

    node.trouble = None
    assert started(sdk, node).step()

    assert node.told == [STUDY]
    assert sdk.state() == "sent"


@pytest.mark.parametrize(("trouble", "tries"), [(plugin.NotTold, 2), (plugin.NodeSilent, 1)])
def test_one_studys_trouble_does_not_hold_up_the_others(
    sdk: FakeOrthanc, trouble: type[plugin.NotTold], tries: int
) -> None:
    """After an error answer the next study is told of; a silent node is not asked again at once."""
    tried: list[str] = []

    def tell(study: str) -> str:
        tried.append(study)
        raise trouble("the reason")

    trigger = plugin.Trigger(sdk, plugin.read_settings(SETTINGS), tell)
    for study in ("a", "b"):
        sdk.hold({f"{study}-t1": IMAGES}, study)
        trigger.on_change(sdk.ChangeType.STABLE_STUDY, 1, study)

    assert not trigger.step()
    assert len(tried) == tries
    assert set(trigger.ledger.pending) == {"a", "b"}


def test_a_refusal_is_shown_and_final(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """The reason stands in the study's state, and the same images are not told of again."""
    sdk.hold({"t1": IMAGES})
    node.refusal = "not a lumbar spine"

    assert becomes_stable(trigger)
    assert becomes_stable(trigger)

    assert (node.told, sdk.state()) == ([STUDY], "rejected: not a lumbar spine")


def test_a_study_deleted_while_it_waits_is_forgotten(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """There is nothing left to tell of, and nothing waits forever."""
    sdk.hold({"t1": IMAGES})
    node.trouble = plugin.NodeSilent("the node does not answer")
    becomes_stable(trigger)
    del sdk.answers[f"/studies/{STUDY}"]

    assert trigger.step()
    assert trigger.ledger.pending == {}


def test_other_troubles_of_orthanc_forget_nothing(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """Only *unknown resource* means deleted; after a database error the study is still there."""
    sdk.hold({"t1": IMAGES})

    def broken(uri: str) -> bytes:
        raise OrthancError(11, "Error with the database engine")

    trigger.on_change(sdk.ChangeType.STABLE_STUDY, 1, STUDY)
    healthy, sdk.RestApiGet = sdk.RestApiGet, broken  # type: ignore[method-assign]
    with pytest.raises(OrthancError):
        trigger.step()
    sdk.RestApiGet = healthy  # type: ignore[method-assign]

    assert trigger.step()
    assert node.told == [STUDY]


def test_studies_not_yet_stable_at_a_stop_are_found_again(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """The log of changes knows what came in; deleted images and answered studies are passed by."""
    sdk.hold({"t1": IMAGES})
    sdk.hold({"a": IMAGES}, "answered")
    becomes_stable(trigger, "answered")
    sdk.hold({"r": IMAGES}, "receiving", stable=False)
    sdk.answers |= {
        "/changes?since=0&limit=1000": {
            "Changes": [
                {"ChangeType": "NewInstance", "ID": "deleted"},
                {"ChangeType": "NewStudy", "ID": STUDY},
                {"ChangeType": "NewInstance", "ID": "t1-1"},
                {"ChangeType": "StableStudy", "ID": "answered"},
            ],
            "Last": 4,
            "Done": False,
        },
        "/changes?since=4&limit=1000": {
            "Changes": [{"ChangeType": "NewInstance", "ID": "r-1"}],
            "Last": 5,
            "Done": True,
        },
        "/instances/t1-1/study": {"ID": STUDY},
        "/instances/r-1/study": {"ID": "receiving"},
    }
    node.told.clear()

    assert started(sdk, node).step()

    assert node.told == [STUDY]


def test_the_first_start_tells_of_nothing_old(sdk: FakeOrthanc, node: FakeNode) -> None:
    """Installing the plugin on a full archive does not flood the node."""
    sdk.answers["/changes?last"] = {"Last": 123_456}

    trigger = started(sdk, node)

    assert trigger.ledger.position == 123_456
    assert trigger.step()
    assert node.told == []


def test_by_hand_a_study_is_told_of_again(
    sdk: FakeOrthanc, node: FakeNode, trigger: plugin.Trigger
) -> None:
    """``POST`` queues it before it answers, even when its images were told of before."""
    sdk.hold({"t1": IMAGES})
    becomes_stable(trigger)

    asked = {"study": STUDY, "mr_images": 2, "state": "queued", "review": ""}
    assert ask(trigger, "POST") == asked
    assert list(trigger.ledger.pending) == [STUDY]
    assert trigger.step()

    assert node.told == [STUDY, STUDY]
    assert ask(trigger, "GET") == asked | {"state": "sent"}


@pytest.mark.parametrize(
    ("candidates", "misfit"),
    [
        ({"StudyDescription": "lumbar|lws"}, ""),
        ({"StudyDescription": "lumbar", "SeriesDescription": "^T2"}, ""),
        ({"SeriesDescription": "dwi"}, "SeriesDescription"),
        ({"StudyDescription": "lumbar", "BodyPartExamined": "spine"}, "BodyPartExamined"),
    ],
)
def test_a_site_says_which_studies_are_candidates(
    sdk: FakeOrthanc, node: FakeNode, candidates: dict[str, str], misfit: str
) -> None:
    """Each expression has to fit the study or one of its MR series; who asks by hand is heard."""
    sdk.hold({"t1 sag": IMAGES, "t2 sag": IMAGES})
    trigger = started(sdk, node, Candidates=candidates)

    becomes_stable(trigger)

    told = f"no candidate: {misfit} does not fit Lumbar.Candidates" if misfit else "sent"
    assert sdk.state() == told
    assert node.told == ([] if misfit else [STUDY])
    ask(trigger, "POST")
    trigger.step()
    assert node.told[-1:] == [STUDY]


def test_a_site_may_ask_only_by_hand(sdk: FakeOrthanc, node: FakeNode) -> None:
    """Without ``Automatic`` a stable study waits for the button."""
    sdk.hold({"t1": IMAGES})
    trigger = started(sdk, node, Automatic=False)

    becomes_stable(trigger)
    assert (node.told, sdk.state()) == ([], "")
    ask(trigger, "POST")
    trigger.step()

    assert node.told == [STUDY]


def test_the_review_page_is_told_with_the_state(sdk: FakeOrthanc, trigger: plugin.Trigger) -> None:
    """The node wrote its address into the study; the button's page links to it."""
    sdk.hold({"t1": IMAGES})
    sdk.answers[f"/studies/{STUDY}/metadata/{plugin.REVIEW_METADATA}"] = "http://node/studies/1"

    assert ask(trigger, "GET")["review"] == "http://node/studies/1"


def test_by_hand_what_cannot_be_told_of_is_said(sdk: FakeOrthanc, trigger: plugin.Trigger) -> None:
    """No such study is 404, a study without MR images is not queued, others are refused."""
    sdk.hold({"ct": ("CT", CT)}, "ct")

    assert ask(trigger, "POST", "none") == 404
    assert ask(trigger, "POST", "ct") == {
        "study": "ct", "mr_images": 0, "state": "", "review": "",
    }  # fmt: skip
    assert ask(trigger, "DELETE") == "GET,POST"
    assert trigger.ledger.pending == {}


def test_a_wrong_configuration_switches_the_plugin_off_and_orthanc_lives(sdk: FakeOrthanc) -> None:
    """All mistakes are in the log at once, nothing is registered, nothing is raised."""
    sdk.configuration = {
        "Lumbar": {
            "NodeUrl": "node:8080", "Peer": "My PACS", "TokenFile": "/nowhere/token",
            "RetrySeconds": 0, "NodeURL": "http://node",
            "Automatic": "yes", "Candidates": {"StudyDescription": "("},
        }
    }  # fmt: skip

    assert plugin.install(sdk) is None

    (said,) = sdk.logged
    for key in ("NodeUrl", "Peer", "TokenFile", "RetrySeconds", "NodeURL", "Automatic",
                "Candidates"):  # fmt: skip
        assert f"Lumbar.{key} " in said
    assert sdk.registered == []


def test_a_right_configuration_connects_the_plugin(sdk: FakeOrthanc) -> None:
    """Both callbacks are registered, and loading touches no database, which is not open yet."""
    assert plugin.install(sdk) is not None
    assert len(sdk.registered) == 2
    assert sdk.properties == {}


def test_the_sample_configuration_is_the_manual_of_the_defaults() -> None:
    """It holds every setting of the section with its default, and names the plugin's metadata."""
    text = (Path(plugin.__file__).parent / "orthanc.json").read_text("utf-8")
    sample = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))

    assert plugin.read_settings(sample) == plugin.read_settings({})
    assert set(sample["Lumbar"]) == {
        "NodeUrl", "Peer", "TokenFile", "Automatic", "Candidates", "RetrySeconds",
        "TimeoutSeconds",
    }  # fmt: skip
    assert sample["UserMetadata"] == {
        "lumbar-state": plugin.STATE_METADATA,
        "lumbar-answered": plugin.ANSWERED_METADATA,
        "lumbar-review": plugin.REVIEW_METADATA,
    }


def test_the_nodes_address_is_built_from_the_settings() -> None:
    """A trailing slash does not double, and the default peer is ``orthanc``."""
    settings = plugin.read_settings({"Lumbar": {"NodeUrl": "http://node:8080/"}})

    assert settings.url("ab-1") == "http://node:8080/api/orthanc/orthanc/studies/ab-1"
