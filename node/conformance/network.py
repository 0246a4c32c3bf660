"""The networking part of the conformance statement: what is accepted, proposed and answered."""

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.config import Config
from node.conformance.markdown import named, section, table
from node.conformance.objects import CREATED
from node.dicom import statuses
from node.dicom.counting import FIND
from node.dicom.intake import IMPLEMENTATION_UID
from node.dicom.pledge import SAME_ASSOCIATION_S
from node.dicom.upper_layer import negotiation
from node.dicom.upper_layer.pdu import VERSION_NAME
from node.dicom.upper_layer.tls import CIPHERS
from node.dicom.upper_layer.wire import MAX_PDU
from node.exchange.proving import MOST_AGAIN

UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))

#: What a C-STORE is answered (`node.dicom.statuses`), and what a sender should do.
STORE_ANSWERS = (
    (statuses.SUCCESS, "the instance is durable on disk, or of a class that is not kept"),
    (statuses.OUT_OF_RESOURCES, "the disk is full or does not work: send again later"),
    (statuses.CLASS_MISMATCH, "the data set is of another SOP class than announced"),
    (statuses.CANNOT_UNDERSTAND, "damaged, hostile or beyond a limit: kept in quarantine"),
    (statuses.CLASS_NOT_SUPPORTED, "the SOP class was not negotiated for this context"),
    (statuses.PROCESSING_FAILURE, "a fault of this node; its log has the details"),
)

#: What a report of storage commitment is answered (`node.dicom.scp.committing`).
REPORT_ANSWERS = (
    (statuses.SUCCESS, "it is durable, and will be looked at"),
    (statuses.INVALID_ARGUMENT, "it is not readable, or this node has not asked for it"),
    (statuses.NO_SUCH_INSTANCE, "it is not about the well-known instance"),
    (statuses.PROCESSING_FAILURE, "a fault of this node: report again later"),
)


def accepted_contexts() -> list[tuple[str, str]]:
    """Return (SOP class, transfer syntax) of all that the listener always accepts."""
    kept = [(c, s) for c in negotiation.KEPT_CLASSES for s in negotiation.KEPT_SYNTAXES]
    return kept + [(c, s) for c, found in negotiation.OTHER_CLASSES.items() for s in found]


def acceptor(config: Config) -> str:
    """Return the section about the listener."""
    listen = config.listen
    only = ", ".join(f"`{title}`" for title in listen.calling_ae) or "any"
    ignored = (
        "Every other Storage SOP Class is accepted in the transfer syntax proposed first, answered "
        "with Success and **not kept**: this node is not an archive."
        if listen.accept_and_ignore
        else "Other Storage SOP Classes are refused."
    )
    rows = [(named(c), f"`{c}`", named(s), f"`{s}`") for c, s in accepted_contexts()]
    answers = [(f"0x{s:04X}", statuses.meaning(s), what) for s, what in STORE_ANSWERS]
    reports = [(f"0x{s:04X}", statuses.meaning(s), what) for s, what in REPORT_ANSWERS]
    return section(
        "## 2. Application entity as acceptor (SCP)",
        table(
            ("property", "value"),
            [
                ("AE title", f"`{listen.ae_title}`"),
                ("called AE title checked", "yes" if listen.require_called_ae else "no"),
                ("calling AE titles", only),
                ("port", listen.port),
                ("associations at once", listen.max_associations),
                ("maximum PDU received", f"{MAX_PDU} bytes"),
                ("asynchronous operations", "not supported (1, 1)"),
                (
                    "extended negotiation",
                    "role selection for Storage Commitment, as it is proposed; user identity and "
                    "all else is ignored",
                ),
                ("application context", "1.2.840.10008.3.1.1.1"),
                ("implementation class UID", f"`{IMPLEMENTATION_UID}`"),
                ("implementation version name", f"`{VERSION_NAME.decode()}`"),
                ("idle association given up after", f"{listen.network_timeout_s:g} s"),
            ],
        ),
        "### 2.1 Accepted presentation contexts",
        "Of several transfer syntaxes proposed in one context the first of this list is chosen.",
        table(("SOP class", "UID", "transfer syntax", "UID"), rows),
        f"{ignored} Lossy, deflated, big endian, referenced (JPIP) and video syntaxes are refused "
        "for the classes that are kept.",
        "### 2.2 C-STORE",
        "Success means that file and folder entry are flushed to the disk. The data set is kept as "
        f"it was sent, up to {listen.max_object_mb} MiB. A repeated instance is answered with "
        "Success; other contents under a known SOP Instance UID are kept aside and never used.",
        table(("status", "meaning", "when"), answers),
        "### 2.3 Storage commitment (push model)",
        "An instance counts as committed when its file is there and still has its hash. The report "
        "comes on the same association when the peer keeps it open and silent for a second, else "
        "on a new association to the address configured for the peer (`commit_to` in its "
        "`[[sources]]`, or the destination of its AE title), on which this node takes the SCP role "
        "by role selection; it is retried as deliveries are. Failure reasons: 0x0112 no such "
        "instance, 0x0119 another SOP class, 0x0110 damaged. Instances that are accepted and not "
        "kept are not committed. Committed instances stay for "
        f"{config.retention.images_h:g} h after the study's results are delivered "
        "(`retention.images_h`): a sender must not delete its only copy because of this node.",
        "As user it takes the N-EVENT-REPORT of a destination on any association with this "
        "context, also where the peer does not propose the role of the provider: a report counts "
        "by its Transaction UID, from whatever AE title.",
        table(("status", "meaning", "when"), reports),
    )


def requestor(config: Config) -> str:
    """Return the section about the sender."""
    stored = [
        (named(c), f"`{c}`", "; ".join(named(s) for s in UNCOMPRESSED), when) for c, when in CREATED
    ]
    others = [
        (negotiation.VERIFICATION, "SCU", "`doctor`, `echo`"),
        (FIND, "SCU", "how many images a study has (level SERIES)"),
        (FIND, "SCU", "whether a destination holds what it took (level IMAGE)"),
        (negotiation.PUSH_MODEL, "SCU", "N-ACTION: whether a destination vouches for it"),
        (negotiation.PUSH_MODEL, "SCP", "N-EVENT-REPORT on a new association"),
    ]
    peers = [
        (f"`{d.name}`", f"`{d.ae_title}`", d.host, d.port, "yes" if d.tls else "no", d.proof)
        for d in config.destinations
    ]
    return section(
        "## 3. Application entity as requestor (SCU)",
        f"The calling AE title is `{config.listen.ae_title}`. One association delivers one result "
        "set, one transfer syntax to a context. What a destination does not accept is left out and "
        "named; a report goes as the first class of the table that is accepted.",
        table(("SOP class", "UID", "transfer syntaxes", "sent"), stored),
        table(
            ("SOP class", "UID", "role", "for"),
            [(named(c), f"`{c}`", role, what) for c, role, what in others],
        ),
        "Answers of a destination: Success and warnings (0xB000-0xBFFF) count as stored; "
        "0xA700-0xA7FF and silence are tried again, from "
        f"{config.deliver.first_retry_s:g} s to {config.deliver.last_retry_s:g} s apart, for "
        f"{config.deliver.give_up_after_s / 86400:g} days; anything else is final until a person "
        "requeues the study.",
        "A delivery is then proven. Where Storage Commitment is negotiated, an N-ACTION names "
        "every object; the association stays open for "
        f"{SAME_ASSOCIATION_S:g} s, and the report may come on it or later on one that the "
        "destination opens to the AE title, host and port of this node's listener. Without a "
        f"report within {config.deliver.proof_within_s:g} s, or where it is not negotiated, a "
        "C-FIND (Study Root, level IMAGE) has to name every object; without that either, the "
        "status of the C-STORE stands. Objects that a report or a query does not name are sent "
        f"again, at most {MOST_AGAIN} times.",
        table(("destination", "AE title", "host", "port", "TLS", "proof"), peers)
        if peers
        else "No destination is configured.",
    )


def security(config: Config) -> str:
    """Return the section about security."""
    tls = config.tls
    state = "TLS only" if tls.listen else "plain TCP"
    required = "required" if tls.require_client_certificate else "not required"
    return section(
        "## 6. Security",
        "Secure transport connection profiles: *Non-Downgrading BCP 195 TLS* and *BCP 195 RFC 8996 "
        f"TLS* (PS3.15). The listener is configured for {state}; client certificates over TLS are "
        f"{required}. TLS 1.3, and TLS 1.2 with: " + ", ".join(f"`{c}`" for c in CIPHERS) + ".",
        "Association level: called and calling AE title, IP networks for each AE title, limits of "
        "associations and of their rate for each address.",
        "Audit: messages by the *Audit Trail Message Format Profile* (PS3.15 A.5), kept "
        f"{config.audit.keep_days} days; by syslog over TLS (A.6) when configured. Events: "
        "Application Activity, DICOM Instances Transferred, DICOM Instances Accessed, Security "
        "Alert. Deviation: the study is named by its UID, the patient is not named.",
    )
