"""Tells a lumbar node about the MR studies of this Orthanc, and shows what became of each.

Orthanc's Python plugin imports this file (``"PythonScript": "/path/to/plugin.py"``) with a Python
of its own, so only the standard library is used, and everything Orthanc offers comes in as an
argument (its shape: ``sdk.py``). The settings are the section ``Lumbar`` of ``orthanc.json``.

What is promised, and by what:

- *No study is forgotten.* A study to be told of stands in Orthanc's own database (`Ledger`) until
  the node has said yes or no. Studies that were not yet stable when Orthanc stopped are found
  again in its log of changes.
- *No loop.* A study is told of when its set of MR images has changed since the last time. Results
  are reports, captures and overlays, never MR images, so they change nothing.
- *A person sees it.* The study's metadata 4200 says queued, sent or rejected, and why; the node
  writes there what happens next, and where its review page is (4202). The study's page in Orthanc
  Explorer shows both, with a button that tells the node now.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import json
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from orthanc.sdk import RestOutput, Sdk

#: User-defined metadata of a study (Orthanc: 1024 to 65535): the state in words, the digest of
#: the set of MR images that the node has answered for, and the address of the review page.
STATE_METADATA = 4200
ANSWERED_METADATA = 4201
REVIEW_METADATA = 4202
#: Global property that holds the `Ledger` (the same range).
LEDGER_PROPERTY = 4200

#: Image storage classes that the node reads (PS3.4 B.5): MR, Enhanced MR, Legacy Converted.
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
MR_IMAGE_CLASSES = frozenset(
    {MR_IMAGE_STORAGE, "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"}
)
FIRST_RETRY_S = 1.0
CHANGES_PER_PAGE = 1000
UNPROCESSABLE = 422


@dataclass(frozen=True)
class Settings:
    """The section ``Lumbar`` of ``orthanc.json``; its keys stand in `read_settings`.

    Attributes
    ----------
    node_url : str
        Where the node's web interface answers.
    peer : str
        The name of this Orthanc in the node's configuration.
    token : str
        The bearer token that the node asks for; empty for none.
    retry_s, timeout_s : float
        The longest wait before the node is told again; how long it may take to answer.
    stable_age_s : float
        Orthanc's own ``StableAge``.
    is_automatic : bool
        Whether stable studies are told of, or only those a person asks for.
    candidates : mapping of str to compiled expression
        DICOM keywords to what their values have to say; see `Library.unfit`.
    """

    node_url: str
    peer: str
    token: str
    retry_s: float
    timeout_s: float
    stable_age_s: float
    is_automatic: bool = True
    candidates: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def url(self, study: str) -> str:
        """Return the address at which the node is told of one study."""
        return f"{self.node_url.rstrip('/')}/api/orthanc/{self.peer}/studies/{study}"


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Read the settings out of Orthanc's configuration.

    Raises
    ------
    ValueError
        With every mistake, a line each.
    """
    section: dict[str, Any] = {
        "NodeUrl": "http://127.0.0.1:8080",
        "Peer": "orthanc",
        "TokenFile": "",
        "Automatic": True,
        "Candidates": {},
        "RetrySeconds": 60,
        "TimeoutSeconds": 10,
    }
    given = configuration.get("Lumbar", {})
    mistakes = [f"Lumbar.{key} is not a setting" for key in sorted(given.keys() - section.keys())]
    section |= given
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", str(section["NodeUrl"])):
        mistakes.append("Lumbar.NodeUrl is not an address such as http://127.0.0.1:8080")
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", str(section["Peer"])):
        mistakes.append("Lumbar.Peer has 1 to 32 of a-z, 0-9, - and _")
    mistakes += [
        f"Lumbar.{key} is not a number above 0"
        for key in ("RetrySeconds", "TimeoutSeconds")
        if not isinstance(section[key], int | float) or not section[key] > 0
    ]
    if not isinstance(section["Automatic"], bool):
        mistakes.append("Lumbar.Automatic is not true or false")
    candidates: dict[str, re.Pattern[str]] = {}
    try:
        for keyword, expression in section["Candidates"].items():
            candidates[keyword] = re.compile(expression, re.IGNORECASE)
    except (AttributeError, TypeError, re.error) as error:
        mistakes.append(f"Lumbar.Candidates is no map of keywords to expressions: {error}")
    token = ""
    if section["TokenFile"]:
        try:
            token = Path(section["TokenFile"]).read_text("utf-8").strip()
        except OSError as error:
            mistakes.append(f"Lumbar.TokenFile {section['TokenFile']}: {error.strerror}")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return Settings(
        node_url=section["NodeUrl"],
        peer=section["Peer"],
        token=token,
        retry_s=section["RetrySeconds"],
        timeout_s=section["TimeoutSeconds"],
        stable_age_s=configuration.get("StableAge", 60),
        is_automatic=section["Automatic"],
        candidates=candidates,
    )


class Ledger:
    """What is still to be told, in Orthanc's database: it survives Orthanc.

    One value holds all of it, so there is no moment at which half of it is kept.
    """

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._lock = threading.Lock()  # the worker and the threads of Orthanc's REST server

    @property
    def pending(self) -> dict[str, str]:
        """Orthanc's study identifier to the digest of its MR images."""
        return dict(self._read().get("pending", {}))

    @property
    def position(self) -> int | None:
        """The change up to which every study has been dealt with; None on the first start."""
        return self._read().get("position")

    def add(self, study: str, digest: str) -> None:
        """Keep a study until it has been answered for."""
        with self._lock:
            self._write(pending=self.pending | {study: digest})

    def remove(self, study: str, digest: str) -> None:
        """Forget a study, unless its images have changed meanwhile."""
        with self._lock:
            kept = self.pending
            if kept.get(study) == digest:
                del kept[study]
                self._write(pending=kept)

    def move_to(self, position: int) -> None:
        """Move the position in Orthanc's log of changes forward."""
        with self._lock:
            self._write(position=position)

    def _read(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self._sdk.GetGlobalProperty(LEDGER_PROPERTY, "{}"))
        return kept

    def _write(self, **changed: Any) -> None:
        self._sdk.SetGlobalProperty(LEDGER_PROPERTY, json.dumps(self._read() | changed))


class Library:
    """What this plugin reads and writes about studies, through Orthanc's REST API.

    Everything raises LookupError for what Orthanc does not have (any more).
    """

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    def mr_images(self, study: str) -> list[str]:
        """Return Orthanc's identifiers of the MR images of a study."""
        return [image for series in self._mr_series(study) for image in series["Instances"]]

    def unfit(self, study: str, candidates: Mapping[str, re.Pattern[str]]) -> str:
        """Return the keyword by which a study is no candidate, empty when it is one.

        The expression is searched for in the values that Orthanc keeps of the study and of its MR
        series: one that fits is enough.
        """
        described = [self._read(f"/studies/{study}"), *self._mr_series(study)]
        for keyword, expression in candidates.items():
            values = [d["MainDicomTags"].get(keyword, "") for d in described]
            if not any(expression.search(value) for value in values):
                return keyword
        return ""

    def is_stable(self, study: str) -> bool:
        """Tell whether Orthanc waits for no more images of a study."""
        return bool(self._read(f"/studies/{study}")["IsStable"])

    def metadata(self, study: str, number: int) -> str:
        """Return a metadata of a study, empty when it has none."""
        return self._text(f"/studies/{study}/metadata/{number}", default="")

    def note(self, study: str, number: int, text: str) -> None:
        """Write a metadata of a study."""
        with self._lookup(study):
            self._sdk.RestApiPut(f"/studies/{study}/metadata/{number}", text.encode("utf-8"))

    def last_change(self) -> int:
        """Return the number of the newest entry in Orthanc's log of changes."""
        return int(self._read("/changes?last")["Last"])

    def studies_changed_since(self, position: int) -> Iterator[str]:
        """Yield studies that got images or became stable after an entry of the log."""
        done = False
        while not done:
            page = self._read(f"/changes?since={position}&limit={CHANGES_PER_PAGE}")
            for change in page["Changes"]:
                if change["ChangeType"] == "StableStudy":
                    yield change["ID"]
                elif change["ChangeType"] == "NewInstance":
                    with suppress(LookupError):  # deleted since
                        yield self._read(f"/instances/{change['ID']}/study")["ID"]
            position, done = page["Last"], page["Done"]

    def _mr_series(self, study: str) -> list[Any]:
        # The modality alone is no guard: a capture may be configured to say MR.
        return [
            series
            for series in self._read(f"/studies/{study}/series")
            if series["MainDicomTags"].get("Modality") == "MR"
            and self._is_mr(series["Instances"][0])
        ]

    def _is_mr(self, instance: str) -> bool:
        # An image stored by a very old Orthanc has no such metadata; a result of ours always has.
        uid = self._text(f"/instances/{instance}/metadata/SopClassUid", default=MR_IMAGE_STORAGE)
        return uid.rstrip("\0 ") in MR_IMAGE_CLASSES

    def _text(self, uri: str, *, default: str) -> str:
        try:
            with self._lookup(uri):
                return self._sdk.RestApiGet(uri).decode("utf-8")
        except LookupError:
            return default

    def _read(self, uri: str) -> Any:
        with self._lookup(uri):
            return json.loads(self._sdk.RestApiGet(uri))

    @contextmanager
    def _lookup(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._sdk.OrthancException as error:
            if error.args[0] != self._sdk.ErrorCode.UNKNOWN_RESOURCE:
                raise
            raise LookupError(f"Orthanc has no {what}") from error


class NotTold(Exception):  # noqa: N818
    """The node has not answered for a study; it is told again later."""


class NodeSilent(NotTold):
    """The node does not answer at all: no use in telling it of other studies now."""


def tell(settings: Settings, study: str) -> str:
    """Tell the node of one study; return why it refuses it for good, empty when it accepts.

    Raises
    ------
    NotTold
        Try again later; the message says why, for a person.
    """
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    request = urllib.request.Request(  # noqa: S310 - read_settings accepts http and https only
        settings.url(study), data=b"", headers=headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=settings.timeout_s):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        reason = _reason(error)
        if error.code == UNPROCESSABLE:
            return reason
        raise NotTold(f"the node answers {error.code}: {reason}") from error
    except (OSError, http.client.HTTPException) as error:  # OSError: URLError and timeouts too
        cause = getattr(error, "reason", error)
        raise NodeSilent(f"the node at {settings.node_url} does not answer: {cause}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the sentence in the node's answer, else HTTP's own."""
    try:
        return str(json.loads(error.read(4096))["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)


class Trigger:
    """The plugin at work: one thread that decides, tells and retries; callbacks only wake it."""

    def __init__(
        self,
        sdk: Sdk,
        settings: Settings,
        tell: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sdk = sdk
        self._settings = settings
        self._tell_node = tell
        self._clock = clock
        self._library = Library(sdk)
        self.ledger = Ledger(sdk)
        self._stable: set[str] = set()
        self._seen: tuple[int, float] | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self.run, name="lumbar", daemon=True)

    def on_change(self, change: int, level: int, resource: str) -> None:  # noqa: ARG002
        """Orthanc's callback for all changes; it has to be quick."""
        kinds = self._sdk.ChangeType
        if change == kinds.STABLE_STUDY:
            self._stable.add(resource)
            self._wake.set()
        elif change == kinds.ORTHANC_STARTED:
            self._thread.start()
        elif change == kinds.ORTHANC_STOPPED:
            self._stopped.set()
            self._wake.set()
            self._thread.join(timeout=5)

    def on_request(self, output: RestOutput, uri: str, **request: Any) -> None:  # noqa: ARG002
        """``POST /lumbar/studies/{id}`` tells the node, again if need be; GET only looks."""
        study, method = request["groups"][0], request["method"]
        if method not in {"GET", "POST"}:
            output.SendMethodNotAllowed("GET,POST")
            return
        try:
            images = self._library.mr_images(study)
            if method == "POST" and images:
                self._queue(study, _digest(images))
                self._wake.set()
            answer = {
                "study": study,
                "mr_images": len(images),
                "state": self._library.metadata(study, STATE_METADATA),
                "review": self._library.metadata(study, REVIEW_METADATA),
            }
        except LookupError:
            output.SendHttpStatusCode(404)
            return
        output.AnswerBuffer(json.dumps(answer), "application/json")

    def run(self) -> None:
        """Work until Orthanc stops."""
        delay = FIRST_RETRY_S
        caught_up = False
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                if not caught_up:
                    self.catch_up()
                    caught_up = True
                    told = self._settings
                    which = "stable MR studies" if told.is_automatic else "studies asked for"
                    self._sdk.LogWarning(f"lumbar: {which} are told to {told.node_url}")
                is_all_told = self.step()
            except Exception as error:  # noqa: BLE001 - the edge: this thread must go on
                self._sdk.LogError(f"lumbar: {type(error).__name__}: {error}")
                is_all_told = False
            delay = FIRST_RETRY_S if is_all_told else min(delay * 2, self._settings.retry_s)
            self._wake.wait(self._settings.retry_s if is_all_told else delay)

    def catch_up(self) -> None:
        """Find studies that were not yet stable, or not yet considered, when Orthanc stopped."""
        if self.ledger.position is None:  # the first start: what is there already stays untold
            self.ledger.move_to(self._library.last_change())
            return
        self._stable.update(self._library.studies_changed_since(self.ledger.position))

    def step(self) -> bool:
        """Consider what became stable and tell the node; False when something is left to retry."""
        while self._stable:
            study = self._stable.pop()
            try:
                self._consider(study)
            except Exception:
                self._stable.add(study)
                raise
        self._keep_position()
        for study, digest in self.ledger.pending.items():
            try:
                self._tell(study, digest)
            except LookupError:
                self._sdk.LogWarning(f"lumbar: study {study} was deleted before it was told of")
                self.ledger.remove(study, digest)
            except NodeSilent:
                break
        return not self.ledger.pending

    def _consider(self, study: str) -> None:
        try:
            # Found by `catch_up` while images still arrive: its stable event is yet to come.
            if not self._library.is_stable(study):
                return
            images = self._library.mr_images(study)
            digest = _digest(images)
            if not images or self._library.metadata(study, ANSWERED_METADATA) == digest:
                return
            keyword = self._library.unfit(study, self._settings.candidates)
            if keyword:
                why = f"no candidate: {keyword} does not fit Lumbar.Candidates"
                self._library.note(study, STATE_METADATA, why)
            elif self._settings.is_automatic:
                self._queue(study, digest)
        except LookupError:  # deleted since
            return

    def _queue(self, study: str, digest: str) -> None:
        # In this order: as soon as it stands in the ledger, the worker may say "sent".
        self._library.note(study, STATE_METADATA, "queued")
        self.ledger.add(study, digest)

    def _tell(self, study: str, digest: str) -> None:
        # Before the request: once it has the study, the node may write the state itself.
        self._library.note(study, STATE_METADATA, "sent")
        try:
            refusal = self._tell_node(study)
        except NotTold as error:
            self._library.note(study, STATE_METADATA, f"queued: {error}, will be told again")
            self._sdk.LogWarning(f"lumbar: study {study}: {error}, will be told again")
            if isinstance(error, NodeSilent):
                raise
            return
        if refusal:
            self._library.note(study, STATE_METADATA, f"rejected: {refusal}")
        self._library.note(study, ANSWERED_METADATA, digest)
        self.ledger.remove(study, digest)

    def _keep_position(self) -> None:
        """Move the ledger's position, but only past changes whose studies are stable by now.

        Orthanc forgets at a restart which studies were not; `catch_up` has to find them.
        """
        now = self._clock()
        if self._seen is None:
            self._seen = (self._library.last_change(), now)
        elif now - self._seen[1] > 2 * self._settings.stable_age_s + 10:
            self.ledger.move_to(self._seen[0])
            self._seen = (self._library.last_change(), now)


def _digest(instances: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(instances)).encode("ascii")).hexdigest()


def install(sdk: Sdk) -> Trigger | None:
    """Connect the plugin to Orthanc; with a wrong configuration, say so and let Orthanc be."""
    try:
        settings = read_settings(json.loads(sdk.GetConfiguration()))
    except ValueError as error:
        sdk.LogError(f"lumbar: switched off, the configuration is wrong:\n{error}")
        return None
    trigger = Trigger(sdk, settings, partial(tell, settings))
    sdk.RegisterOnChangeCallback(trigger.on_change)
    sdk.RegisterRestCallback("/lumbar/studies/([0-9a-f-]+)", trigger.on_request)
    sdk.ExtendOrthancExplorer(EXPLORER)
    return trigger


#: What Orthanc Explorer (jQuery Mobile) runs: a list on the study's page with the button, the state
#: and the link, asked for anew while the page is open.
EXPLORER = """
$('#study').live('pagecreate', function() {
  $('#study-access').before(
    '<ul id="lumbar" data-role="listview" data-inset="true" data-theme="d" data-divider-theme="c">'
    + '<li data-role="list-divider">AI, research only</li>'
    + '<li data-icon="search"><a href="#" id="lumbar-run">AI: lumbar stenosis</a></li>'
    + '<li id="lumbar-state" style="white-space: normal"></li></ul>');
  $('#lumbar-run').live('click', function() { lumbarAsk('POST'); return false; });
});
$('#study').live('pagebeforeshow', function() {
  clearInterval(window.lumbarTimer);
  window.lumbarTimer = setInterval(function() { lumbarAsk('GET'); }, 2000);
  lumbarAsk('GET');
});
$('#study').live('pagehide', function() { clearInterval(window.lumbarTimer); });
function lumbarAsk(method) {
  var study = $.mobile.pageData.uuid;
  $.ajax({ url: '../lumbar/studies/' + study, type: method, dataType: 'json',
    success: function(told) {
      if (study !== $.mobile.pageData.uuid) return;
      var state = told.mr_images === 0 ? 'no MR images' : told.state || 'not asked yet';
      $('#lumbar-state').text(state);
      if (/^https?:/.test(told.review))
        $('<a target="_blank" rel="noopener">').attr('href', told.review).text('Review')
          .appendTo($('#lumbar-state').append(' \\u00b7 '));
    },
    error: function() { $('#lumbar-state').text('the plugin does not answer'); } });
}
"""


# Inside Orthanc, and only there, `orthanc` is built into the interpreter.
if "orthanc" in sys.builtin_module_names:
    install(cast("Sdk", importlib.import_module("orthanc")))
