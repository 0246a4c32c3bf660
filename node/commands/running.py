"""``serve``, ``listen``, ``work``, ``web``: the roles of a node."""

import signal
import threading

import structlog
import uvicorn

from node import __version__
from node.app import Node
from node.commands.shell import ConfigFile, app, start_logging
from node.config import Config, load
from node.web.app import create_app


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Run the whole node: listener, worker and review pages."""
    _run(load(config), listen=True, work=True, web=True)


@app.command()
def listen(config: ConfigFile = None) -> None:
    """Run only the DICOM listener (for several machines)."""
    _run(load(config), listen=True, work=False, web=False)


@app.command()
def work(config: ConfigFile = None) -> None:
    """Run only a worker (for several machines)."""
    _run(load(config), listen=False, work=True, web=False)


@app.command()
def web(config: ConfigFile = None) -> None:
    """Run only the review pages (for several machines)."""
    _run(load(config), listen=False, work=False, web=True)


def _run(settings: Config, *, listen: bool, work: bool, web: bool) -> None:
    start_logging(service=True)
    log = structlog.get_logger()
    node = Node(settings)
    node.start(listen=listen, work=work)
    log.info(
        "node started",
        version=__version__,
        roles=[n for n, on in (("listen", listen), ("work", work), ("web", web)) if on],
        dicom=f"{settings.listen.ae_title}@{settings.listen.bind}:{settings.listen.port}",
        web=f"http://{settings.web.bind}:{settings.web.port}",
    )
    try:
        if web:
            # uvicorn stops at a signal and then raises it once more: without a handler here that
            # would end the process before the node has stopped.
            signal.signal(signal.SIGTERM, lambda *_: None)
            uvicorn.run(
                create_app(node, settings.web, node.trail.note),
                host=settings.web.bind,
                port=settings.web.port,
                log_config=None,
                server_header=False,
            )
        else:
            _until_told_to_stop()
    finally:
        node.stop()
        log.info("node stopped")


def _until_told_to_stop() -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    told.wait()
