"""UIDs follow from what went in, and from nothing else."""

from dataclasses import replace

from pydicom.uid import UID

from node.results.identity import Identity, model_device_uid
from node.spine.anatomy import ALL_FINDINGS
from tests.results_study import MODELS

ONE = Identity("1.2.3", ("1.2.3.1", "1.2.3.2"), MODELS, "0.1.0", "{}")


def every_uid(identity: Identity) -> set[str]:
    return {
        identity.object_uid("report"),
        identity.object_uid("capture", 1),
        identity.object_uid("capture", 2),
        identity.series_uid("capture"),
        identity.series_uid("overlay"),
        *(identity.tracking_uid(key) for key in ALL_FINDINGS),
    }


def test_uids_are_legal_and_all_different() -> None:
    """2.25 and a decimal integer, at most 64 characters (PS3.5 B.2)."""
    made = every_uid(ONE)

    assert len(made) == 5 + 25
    assert all(UID(u).is_valid and u.startswith("2.25.") for u in made)


def test_the_same_input_gives_the_same_uids() -> None:
    """A resend is a duplicate."""
    assert every_uid(replace(ONE)) == every_uid(ONE)


def test_another_input_model_version_or_setting_gives_other_objects() -> None:
    """A different result is a different object."""
    retrained = (replace(MODELS[0], sha256="f" * 64), *MODELS[1:])
    others = [
        replace(ONE, study_uid="1.2.4"),
        replace(ONE, instances=("1.2.3.1",)),
        replace(ONE, models=retrained),
        replace(ONE, node_version="0.2.0"),
        replace(ONE, settings='{"groups": "abnormal"}'),
    ]

    reports = {identity.object_uid("report") for identity in (ONE, *others)}

    assert len(reports) == 6


def test_all_reports_of_a_study_share_a_series() -> None:
    """A re-run's report lands beside the one it replaces."""
    rerun = replace(ONE, instances=("1.2.3.9",), node_version="0.2.0")

    assert rerun.series_uid("report") == ONE.series_uid("report")
    assert rerun.series_uid("capture") != ONE.series_uid("capture")


def test_a_provider_is_not_part_of_the_identity() -> None:
    """The same study on a GPU is the same result."""
    on_gpu = tuple(replace(m, provider="CUDAExecutionProvider") for m in MODELS)

    assert every_uid(replace(ONE, models=on_gpu)) == every_uid(ONE)


def test_a_retrained_model_is_another_device() -> None:
    """Its Device UID changes with its file."""
    assert model_device_uid(MODELS[0]) != model_device_uid(
        replace(MODELS[0], sha256="0" * 64 + "1")
    )
    assert ONE.serial_number() != replace(ONE, models=MODELS[1:]).serial_number()
