"""Ask a PACS how many images it holds of a study (C-FIND, Study Root, one answer a series)."""

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.config import Destination
from node.dicom.reading.attributes import Attributes
from node.dicom.sender import associated
from node.errors import DestinationUnavailable

FIND = str(StudyRootQueryRetrieveInformationModelFind)
TIMEOUT_S = 5.0
PENDING = frozenset({0xFF00, 0xFF01})


def count_images(address: str, calling_ae: str, study_uid: str) -> dict[str, int | None]:
    """Return the MR series a PACS holds of a study, each with its number of instances.

    Parameters
    ----------
    address : str
        ``AE@HOST:PORT``.
    calling_ae : str
        This node's AE title.
    study_uid : str

    Returns
    -------
    dict of series UID to int or None
        None where the PACS leaves Number of Series Related Instances out, which is optional
        (PS3.4 C.6.2.1.3). Empty when it does not know the study.

    Raises
    ------
    DestinationUnavailable
        When it does not answer, or answers with a failure.
    """
    title, _, place = address.partition("@")
    host, _, port = place.rpartition(":")
    peer = Destination(
        name="source", host=host, port=int(port), ae_title=title, timeout_s=TIMEOUT_S
    )
    model = StudyRootQueryRetrieveInformationModelFind
    found: dict[str, int | None] = {}
    with associated(peer, calling_ae, [build_context(model)]) as pacs:
        if not pacs.accepted_contexts:
            raise DestinationUnavailable(f"{address} does not answer queries (C-FIND)")
        for status, answer in pacs.send_c_find(_query(study_uid), model):
            if "Status" not in status:
                raise DestinationUnavailable(f"{address} broke off, or does not answer in time")
            if status.Status in PENDING and answer is not None:
                told = Attributes(answer)
                if told.text("Modality").upper() == "MR":
                    count = told.integer("NumberOfSeriesRelatedInstances")
                    found[told.text("SeriesInstanceUID")] = count
            elif status.Status not in PENDING | {0x0000}:
                raise DestinationUnavailable(f"{address} answers 0x{status.Status:04X} to a query")
    return found


def _query(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = ""
    query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    return query
