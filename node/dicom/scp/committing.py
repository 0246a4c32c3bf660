"""The storage commitment requests of one association: taken on, reported, confirmed.

Many peers release the association as soon as the request was accepted, and wait for the report on
another; some keep it open for the report. So a report is sent here only once the peer has been
quiet for a moment; `node.dicom.scp.books` hands what was not confirmed here to a job.
"""

from collections import deque
from typing import NamedTuple

from node.dicom import commitment, pledge, statuses
from node.dicom.commitment import Asked
from node.dicom.scp.line import Page
from node.dicom.upper_layer import command, negotiation
from node.dicom.upper_layer.command import Command
from node.errors import InvalidInstance

QUIET_S = 1.0


class Report(NamedTuple):
    """An N-EVENT-REPORT-RQ to be sent."""

    context: int
    message: bytes
    data_set: bytes


class Committing:
    """What one association has asked, and not been told yet.

    Parameters
    ----------
    page : Page
        Of the association.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._unreported: deque[tuple[Asked, int, str]] = deque()
        self._unconfirmed = ""  # transaction UID of the report that was sent

    @property
    def has_report(self) -> bool:
        """Whether there is one to send; one at a time."""
        return bool(self._unreported) and not self._unconfirmed

    def ask(self, request: Command, raw: bytes, context: int, syntax: str) -> int:
        """Take on an N-ACTION request, durably.

        Parameters
        ----------
        request : Command
        raw : bytes
            Its data set.
        context : int
            Its presentation context.
        syntax : str
            The transfer syntax of that.

        Returns
        -------
        int
            The status of the response (PS3.7 annex C).
        """
        if request.text(command.REQUESTED_INSTANCE) != commitment.INSTANCE:
            return statuses.NO_SUCH_INSTANCE
        if request.number(command.ACTION_TYPE) != commitment.REQUEST:
            return statuses.NO_SUCH_ACTION
        try:
            asked = commitment.parse(raw, syntax)
        except InvalidInstance:
            return statuses.INVALID_ARGUMENT
        if not self._page.commit(asked):
            return statuses.PROCESSING_FAILURE
        self._unreported.append((asked, context, syntax))
        return statuses.SUCCESS

    def reported(self, request: Command, raw: bytes, _context: int, syntax: str) -> int:
        """Take an N-EVENT-REPORT request about what this node has asked for, durably.

        The peer should have negotiated the role of the provider; many do not, and none is sent
        away for that: a report counts by its transaction UID.
        """
        if request.text(command.SOP_INSTANCE) != commitment.INSTANCE:
            return statuses.NO_SUCH_INSTANCE
        try:
            is_known = self._page.reported(pledge.report_of(raw, syntax))
        except InvalidInstance:
            return statuses.INVALID_ARGUMENT
        if is_known is None:
            return statuses.PROCESSING_FAILURE
        return statuses.SUCCESS if is_known else statuses.INVALID_ARGUMENT

    def next_report(self) -> Report | None:
        """Look at the disk for the oldest request; None when the index cannot be asked."""
        asked, context, syntax = self._unreported.popleft()
        held = self._page.holdings([one.sop_instance_uid for one in asked.references])
        if held is None:
            return None
        answer = commitment.answer(asked, lambda _: held)
        self._unconfirmed = asked.transaction_uid
        message = command.encode(
            {
                command.SOP_CLASS: negotiation.PUSH_MODEL,
                command.FIELD: command.N_EVENT_REPORT,
                command.MESSAGE_ID: 1,
                command.DATA_SET_TYPE: command.DATA_SET,
                command.SOP_INSTANCE: commitment.INSTANCE,
                command.EVENT_TYPE: answer.event_type,
            }
        )
        return Report(context, message, answer.encoded(syntax))

    def confirmed(self, response: Command) -> None:
        """Take the peer's answer to a report; what is no Success is told again by a job."""
        transaction, self._unconfirmed = self._unconfirmed, ""
        if transaction and response.number(command.STATUS) == statuses.SUCCESS:
            self._page.told(transaction)
