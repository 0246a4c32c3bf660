"""Who made an object and which UID it gets: both follow from the input, never from the clock.

The same instances, model files, node version and settings give the same UIDs, so a resend is a
duplicate and not a second result (SR-34).
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID, uuid5

from node.spine.anatomy import FindingKey
from node.spine.facts import OWN_MANUFACTURER, OWN_MODEL
from node.spine.findings import ModelUse

MANUFACTURER = OWN_MANUFACTURER
MODEL_NAME = OWN_MODEL

_NAMESPACE = UUID("57205abf-bab3-519c-a9b9-7b694726f174")


def derived_uid(*parts: str) -> str:
    """Return ``2.25.<integer>`` of the version 5 UUID of the parts (PS3.5 B.2)."""
    return f"2.25.{uuid5(_NAMESPACE, '|'.join(parts)).int}"


def report_series_uid(study_uid: str) -> str:
    """Return the series of all reports of a study: one, so that a viewer shows the newest."""
    return derived_uid(study_uid, "report series")


@dataclass(frozen=True)
class Identity:
    """What the identity of one run's objects follows from.

    Attributes
    ----------
    study_uid : str
    instances : tuple of str
        SOP Instance UIDs that entered the run, sorted.
    models : tuple of ModelUse
    node_version : str
    settings : str
        The report settings, as text: another setting is another object.
    refusal : str
        Why nothing was run at all; empty when something was.
    """

    study_uid: str
    instances: tuple[str, ...]
    models: tuple[ModelUse, ...]
    node_version: str
    settings: str
    refusal: str = ""

    @property
    def _software(self) -> str:
        used = sorted(f"{m.name}={m.version}@{m.sha256}" for m in self.models)
        return ";".join([self.node_version, *used])

    def object_uid(self, kind: str, index: int = 1) -> str:
        """Return the SOP Instance UID of the ``index``-th object of a kind."""
        return self._of_this_run(kind, str(index))

    def series_uid(self, kind: str) -> str:
        """Return the Series Instance UID of this run's objects of a kind."""
        is_report = kind == "report"
        return report_series_uid(self.study_uid) if is_report else self._of_this_run(kind, "series")

    def tracking_uid(self, key: FindingKey) -> str:
        """Return the Tracking Unique Identifier of one finding."""
        condition, level = key
        return derived_uid(self.study_uid, level, condition, self._software)

    def device_uid(self) -> str:
        """Return the Device UID of this node's software."""
        return derived_uid("device", MODEL_NAME, self.node_version)

    def serial_number(self) -> str:
        """Return a serial number for software: it names the node and the exact models it runs."""
        return hashlib.sha256(self._software.encode()).hexdigest()[:16].upper()

    def _of_this_run(self, *parts: str) -> str:
        inputs = hashlib.sha256("\n".join(self.instances).encode()).hexdigest()
        told = [self.settings, self.refusal] if self.refusal else [self.settings]
        return derived_uid(self.study_uid, inputs, self._software, *told, *parts)


def model_device_uid(model: ModelUse) -> str:
    """Return a model's Device UID; it changes whenever the model file does (SR-07)."""
    return derived_uid("model", model.name, model.version, model.sha256)
