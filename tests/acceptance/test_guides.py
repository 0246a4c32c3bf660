"""What the guides under docs/ tell people to type and to paste does what they say."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from node.loopback import free_port
from tests import builders
from tests.certificates import Authority
from tests.node_process import NodeProcess
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

DOCS = Path(__file__).resolve().parents[2] / "docs"
TOKEN = "a token of the house"  # noqa: S105


def blocks(guide: str, language: str) -> list[str]:
    """The code blocks of a guide in one language, without their indentation."""
    text = (DOCS / guide).read_text("utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node as step 2 of docs/proxy.md sets it up."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "token").write_text(TOKEN)
    with NodeProcess(folder, extra=f'token_file = "{folder / "token"}"\n') as process:
        yield process


def start_nginx(folder: Path, server: str, port: int) -> list[str]:
    """Put the server block of the guide into the smallest nginx.conf there is."""
    server = server.replace("listen 443", f"listen 127.0.0.1:{port}")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        "events {}\nhttp {\naccess_log off;\n"
        f"client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"{server}}}\n"
    )
    return ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def start_caddy(folder: Path, site: str, port: int) -> list[str]:
    """Let Caddy serve the site of the guide on another port."""
    site = site.replace("lumbar.hospital.example", f"https://127.0.0.1:{port}")
    (folder / "Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n default_bind 127.0.0.1\n"
        f" storage file_system {folder}\n}}\n{site}"
    )
    return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.mark.parametrize(
    ("language", "start"), [("nginx", start_nginx), ("caddy", start_caddy)], ids=["nginx", "caddy"]
)
def test_the_node_behind_a_reverse_proxy(
    language: str,
    start: Callable[[Path, str, int], list[str]],
    node: NodeProcess,
    tmp_path: Path,
) -> None:
    """Pages, a secure sign-in, a study in and its addresses out: all over the proxy's TLS."""
    authority = Authority(tmp_path / "ca")
    own = authority.issue("lumbar")
    port = free_port()
    (block,) = blocks("proxy.md", language)
    block = re.sub(r"/etc/\w+/(tls/)?lumbar\.pem", str(own.certificate), block)
    block = re.sub(r"/etc/\w+/(tls/)?lumbar\.key", str(own.key), block)
    command = start(tmp_path, block.replace("127.0.0.1:8080", f"127.0.0.1:{node.web_port}"), port)
    url = f"https://127.0.0.1:{port}"
    session = requests.Session()
    session.verify, session.trust_env = str(authority.file), False

    def answers() -> bool:
        try:
            return session.get(f"{url}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    with ExitStack() as stack:
        own_folders = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        proxy = stack.enter_context(subprocess.Popen(command, cwd=tmp_path, env=own_folders))
        stack.callback(proxy.terminate)
        wait_for(answers, what=language)

        signed_in = session.post(
            f"{url}/sign-in", data={"token": TOKEN}, timeout=10, allow_redirects=False
        )
        assert "secure" in signed_in.headers["Set-Cookie"].lower()

        session.headers["Authorization"] = f"Bearer {TOKEN}"
        client = DICOMwebClient(f"{url}/dicom-web", session=session)
        image = dcmread(DicomBytesIO(builders.part10(builders.mr_image(language))))
        client.store_instances([image])
        # Not with that client: it leaves the port out of its Host header.
        query = {"StudyInstanceUID": image.StudyInstanceUID}
        (found,) = session.get(f"{url}/dicom-web/studies", params=query, timeout=10).json()
        assert found["00081190"]["Value"][0].startswith(url)


def test_certificates_made_by_the_guide_let_the_pacs_in_and_nobody_else(tmp_path: Path) -> None:
    """Its openssl lines run as they stand; the node takes them; DCMTK answers as promised."""
    *making, trying = blocks("certificates.md", "sh")
    script = "set -e\n" + "".join(making).replace("IP:10.0.0.7", "IP:127.0.0.1")
    made = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "node.key").stat().st_mode & 0o077 == 0
    (settings,) = blocks("certificates.md", "toml")
    tls = settings.partition("[tls]")[2].partition("[[destinations]]")[0]
    node = NodeProcess(
        tmp_path / "node", extra="[tls]" + tls.replace("/etc/lumbar-node/tls", str(tmp_path))
    )
    said = []
    with node:
        for line in trying.splitlines():
            place = line.replace("lumbar.hospital.example 2762", f"127.0.0.1 {node.dicom_port}")
            command = ["/usr/bin/echoscu", *place.split()[1:]]
            said.append(subprocess.run(command, cwd=tmp_path, capture_output=True, check=False))
    assert [answer.returncode == 0 for answer in said] == [True, False]


def test_the_routing_script_for_orthanc_sends_mr_and_nothing_else(tmp_path: Path) -> None:
    """A stable study's MR images arrive at the AE title ``LUMBAR``; its capture stays."""
    (lua,) = blocks("routing.md", "lua")
    script = tmp_path / "route.lua"
    script.write_text(lua)
    images = list(builders.mr_study(slices=2))
    with NodeProcess(tmp_path / "node", quiet_s=60, incomplete_s=60) as node:
        lumbar = {"lumbar": ("LUMBAR", node.dicom_port)}
        with OrthancServer(
            tmp_path / "orthanc", stable_age=1, lua_scripts=[script], modalities=lumbar
        ) as orthanc:
            for one in [*images, builders.capture()]:
                orthanc.upload(builders.part10(one))
            uid = builders.uid("study", "1")
            wait_for(
                lambda: node.study(uid).get("instances") == len(images),
                seconds=30,
                what="the images",
            )
            jobs = orthanc.get("/jobs?expand")
    assert {job["State"] for job in jobs} == {"Success"}
    assert sum(job["Content"]["InstancesCount"] for job in jobs) == len(images)
