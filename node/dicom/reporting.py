"""Tell a peer the outcome of its storage commitment request, on an association of our own."""

from pynetdicom import build_context, build_role

from node.config import Destination, Tls
from node.dicom import commitment, sender, statuses
from node.dicom.commitment import Answer
from node.dicom.upper_layer import negotiation
from node.errors import DeliveryRefused, DestinationUnavailable


def report(answer: Answer, peer: Destination, calling_ae: str, tls: Tls | None = None) -> None:
    """Send an N-EVENT-REPORT (PS3.4 J.3.3), as the provider that this node is.

    Parameters
    ----------
    answer : Answer
    peer : config.Destination
        Where the peer listens.
    calling_ae : str
        This node's AE title.
    tls : config.Tls, optional
        The files for a peer that wants TLS.

    Raises
    ------
    DestinationUnavailable
        When it does not answer: the same again later is right.
    DeliveryRefused
        When it does not take such reports, or not this one.
    """
    contexts = [build_context(negotiation.PUSH_MODEL)]
    roles = [build_role(negotiation.PUSH_MODEL, scp_role=True)]
    with sender.associated(peer, calling_ae, contexts, tls, roles) as association:
        if not association.accepted_contexts:
            raise DeliveryRefused(f"{peer.ae_title} takes no storage commitment reports")
        try:
            status, _ = association.send_n_event_report(
                answer.report, answer.event_type, negotiation.PUSH_MODEL, commitment.INSTANCE
            )
        except ValueError as error:
            raise DeliveryRefused(
                f"{peer.ae_title} does not agree that this node is the provider of its "
                "storage commitment (role selection)"
            ) from error
    if "Status" not in status:
        raise DestinationUnavailable(f"{peer.ae_title} did not answer a storage commitment report")
    if status.Status != statuses.SUCCESS:
        raise DeliveryRefused(
            f"{peer.ae_title} answered a storage commitment report with 0x{status.Status:04X}, "
            f"{statuses.meaning(status.Status)}"
        )
