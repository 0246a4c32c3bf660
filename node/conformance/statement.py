"""The conformance statement as a whole, for one configuration."""

from typing import cast

from node import __version__
from node.config import Config
from node.conformance.markdown import section, table
from node.conformance.network import acceptor, requestor, security
from node.conformance.objects import objects
from node.web.access import Access
from node.web.dicomweb.holdings import PATH
from node.web.dicomweb.service import create_service
from node.web.parts import WebParts


def statement(config: Config) -> str:
    """Return the DICOM conformance statement in Markdown (PS3.2, in brief).

    Parameters
    ----------
    config : Config
        Whose addresses, limits and options it names; no secret is among them.
    """
    return "\n\n".join(
        [
            _overview(),
            acceptor(config),
            requestor(config),
            _media_and_text(),
            _dicomweb(config),
            security(config),
            objects(config),
        ]
    )


def _overview() -> str:
    services = [
        ("Verification", "yes", "yes"),
        ("Storage (MR: received; results: sent)", "yes", "yes"),
        ("Storage Commitment, push model", "no", "yes"),
        ("Query, Study Root (C-FIND)", "yes", "no"),
        ("STOW-RS, QIDO-RS, WADO-RS", "yes", "yes"),
        ("UPS-RS: task performer, pull workflow", "yes", "no"),
    ]
    return section(
        "# DICOM conformance statement",
        f"lumbar-node {__version__}: a research node that grades lumbar spinal stenosis on MR "
        "studies. Its results are not verified and not for clinical use. This statement is made by "
        "`lumbar-node conformance` from the tables that the program itself works with.",
        "## 1. Overview",
        table(("service", "user (SCU)", "provider (SCP)"), services),
        "One application entity receives and sends, under one AE title. A study that is complete "
        "is analysed; the results are stored at the configured destinations. There is no modality "
        "worklist, no MPPS, no printing and no retrieval over DIMSE.",
    )


def _media_and_text() -> str:
    return section(
        "## 4. Media and character sets",
        "No media are written or read. Received character sets: all that the standard defines are "
        "kept as they are; header text is never needed for a decision. Created objects: "
        "`ISO_IR 192` (UTF-8).",
    )


def _dicomweb(config: Config) -> str:
    # The interface describes itself without a node behind it.
    paths = create_service(cast("WebParts", None), Access("")).openapi()["paths"]
    rows = [
        (", ".join(sorted(how["tags"])), method.upper(), f"`{path}`")
        for path, methods in paths.items()
        for method, how in methods.items()
    ]
    guard = "a bearer token is required" if config.web.token_file else "no token is configured"
    peers = [(f"`{p.name}`", "yes" if p.send_results else "no") for p in config.dicomweb]
    return section(
        "## 5. DICOMweb",
        f"Under `{PATH}` of the web port; {guard}.",
        table(("service", "method", "path"), sorted(rows)),
        table(("archive asked as a user", "results stored there"), peers)
        if peers
        else "As a user: WADO-RS and STOW-RS to configured archives; none is configured.",
        _worklists(config),
    )


def _worklists(config: Config) -> str:
    rows = [(f"`{p.name}`", ", ".join(f"`{c}`" for c in p.codes)) for p in config.worklist]
    return (
        table(("worklist polled as a task performer", "workitem codes"), rows)
        if rows
        else "As a task performer: UPS-RS at configured worklists; none is configured."
    )
