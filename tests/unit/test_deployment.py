"""The files a site deploys with agree with the code, and with the tools that will read them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from compose_spec import PyCompose
from helm_python.chart import Chart, lint

from node.cli import app
from node.config import PREFIX, Config, load
from orthanc import plugin

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
CHART = DEPLOY / "helm" / "lumbar-node"
PORTS = {Config().listen.port, Config().web.port}
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

#: Everything the chart can be asked for at once, and as little as possible.
EVERYTHING = {
    "pullSecrets": ["registry"],
    "filesSecret": "files",
    "storage": {"storageClass": "nfs"},
    "listener": {"service": {"type": "NodePort"}},
    "worker": {
        "replicas": 3,
        "gpus": 1,
        "nodeSelector": {"accelerator": "nvidia"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    },
    "web": {"ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"}},
}
LITTLE = {"storage": {"existingClaim": "images"}}
STORE = {
    "s3": {"url": "s3://images/node", "endpoint": "https://s3.example", "secret": "keys"},
    "listener": {"replicas": 2},
}


def is_setting(variable: str) -> bool:
    """Tell whether an environment variable of our prefix sets something."""
    section, _, name = variable.removeprefix(PREFIX).lower().partition("__")
    field = Config.model_fields.get(section)
    if field is None:
        return variable == "LUMBAR_CONFIG"
    return not name or name in getattr(field.annotation, "model_fields", {})


def compose() -> dict[str, Any]:
    """compose.yaml as it is without variables: ``${NAME:-default}`` is its default."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    text = re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", text)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def json_with_comments(path: Path) -> dict[str, Any]:
    """Orthanc's configuration; its comments have lines of their own."""
    text = path.read_text("utf-8")
    loaded: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return loaded


def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of values."""
    rendered = Chart.load(CHART).render(values, name="lumbar")
    return [o for text in rendered.values() for o in yaml.safe_load_all(text) if o]


def containers(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for found in objects(values):
        if found["kind"] == "Deployment":
            yield from found["spec"]["template"]["spec"]["containers"]


def test_the_dockerfile_satisfies_its_linter() -> None:
    """The linter has nothing to say, but for the one rule that hadolint.yaml explains."""
    hadolint = Path(sys.executable).with_name("hadolint")
    command: list[Path | str] = [hadolint, "-c", DEPLOY / "hadolint.yaml", DEPLOY / "Dockerfile"]

    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert found.stdout + found.stderr == ""


def test_the_image_sets_what_exists_and_exposes_what_listens() -> None:
    """Variables are settings, ports are the defaults, commands are commands, the base is pinned."""
    variables = set(re.findall(r"\b(LUMBAR_\w+)=", DOCKERFILE))

    assert variables
    assert {v for v in variables if not is_setting(v)} == set()
    node = DOCKERFILE.partition("AS node\n")[2].partition("\nFROM")[0]
    assert {int(p) for p in re.findall(r"\d+", re.findall(r"EXPOSE (.*)", node)[0])} == PORTS
    assert f":{Config().web.port}/healthz" in node
    assert set(re.findall(r'^CMD \["(\w+)"', node, re.MULTILINE)) <= COMMANDS
    assert set(re.findall(r"lumbar-node (\w+) /", DOCKERFILE)) <= COMMANDS
    assert re.search(r"^ARG DEBIAN=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert "USER 10001:10001" in node


def test_compose_is_valid_and_its_files_are_there() -> None:
    """The Compose specification accepts it, and it mounts and builds what the repository holds."""
    spec = PyCompose.from_yaml(yaml.safe_dump(compose()))  # it knows no <<
    assert set(spec.to_dict()["services"]) == {"node", "orthanc"}

    for service in compose()["services"].values():
        assert f"AS {service['build']['target']}\n" in DOCKERFILE
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose()["volumes"] or (DEPLOY / source).is_file()
    node = compose()["services"]["node"]
    assert {v for v in node["environment"] if not is_setting(v)} == set()
    assert {int(p.rpartition(":")[2]) for p in node["ports"]} == PORTS


def test_the_node_and_the_orthanc_of_compose_know_each_other() -> None:
    """Names, ports, secrets and metadata are the same on both sides."""
    node = load(DEPLOY / "compose" / "node.toml")
    orthanc = json_with_comments(DEPLOY / "compose" / "orthanc.json")
    token_file = orthanc["Lumbar"].pop("TokenFile")
    told = plugin.read_settings(orthanc)

    (peer,) = node.orthanc
    assert peer.name == told.peer
    assert told.node_url == f"http://node:{Config().web.port}"
    assert peer.url == f"http://orthanc:{orthanc['HttpPort']}"
    assert set(orthanc["RegisteredUsers"]) == {peer.user}
    assert str(node.web.token_file) == token_file
    for service in compose()["services"].values():
        mounted = {f"/run/secrets/{name}" for name in service["secrets"]}
        assert mounted == {token_file, str(peer.password_file)}
    sample = json_with_comments(DEPLOY.parent / "orthanc" / "orthanc.json")
    assert orthanc["UserMetadata"] == sample["UserMetadata"]


def test_the_unit_verifies_and_is_confined(tmp_path: Path) -> None:
    """No mistake in it, whatever role it runs, and systemd calls its exposure OK."""
    text = (DEPLOY / "systemd" / "lumbar-node@.service").read_text("utf-8")
    program = re.findall(r"^ExecStart=(\S+) %i ", text, re.MULTILINE)[0]
    for role in ("serve", "listen", "work", "web"):
        assert role in COMMANDS
        unit = tmp_path / f"lumbar-node@{role}.service"
        unit.write_text(text.replace(program, "/bin/true"))
        checked = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        )
        assert checked.stderr == ""
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert security.returncode == 0, security.stdout[-300:]


@pytest.mark.parametrize("values", [EVERYTHING, LITTLE, STORE], ids=["all", "little", "store"])
def test_helm_and_kubernetes_accept_the_chart(values: dict[str, Any]) -> None:
    """Helm's lint says nothing, and each object fits the strict schema of two versions."""
    told = [m for m in lint(CHART, values)["messages"] if "icon is recommended" not in m["error"]]
    assert told == []
    found = objects(values)
    assert {o["kind"] for o in found} >= {"ConfigMap", "Deployment", "Service"}
    for one in found:
        for version in ("1.27.0", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(one, version, strict=True)


def test_the_chart_runs_commands_with_settings_that_exist() -> None:
    """Roles, variables, ports and mounts of each pod are those of the image and of the code."""
    names = set()
    for container in containers(EVERYTHING):
        names.add(container["name"])
        assert set(container["args"]) <= COMMANDS
        assert {e["name"] for e in container["env"] if not is_setting(e["name"])} == set()
        assert {p["containerPort"] for p in container.get("ports", [])} <= PORTS
        assert "/data" in {m["mountPath"] for m in container["volumeMounts"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert (container["name"] == "worker") == ("nvidia.com/gpu" in str(container["resources"]))
    assert names == {"listener", "worker", "web"}


def test_the_chart_with_an_object_store_needs_no_shared_volume() -> None:
    """Each pod has a folder of its own and the store's address; keys come from a secret only."""
    assert "PersistentVolumeClaim" not in {o["kind"] for o in objects(STORE)}
    for container in containers(STORE):
        told = {one["name"]: one for one in container["env"]}
        assert {name for name in told if name.startswith(PREFIX) and not is_setting(name)} == set()
        assert told["LUMBAR_STORAGE__URL"]["value"] == "s3://images/node"
        assert told["LUMBAR_STORAGE__CACHE_MB"]["value"] == str(10 << 10)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert told[name]["valueFrom"]["secretKeyRef"]["name"] == "keys"
    for one in objects(STORE):
        if one["kind"] == "Deployment":
            volumes = {v["name"]: v for v in one["spec"]["template"]["spec"]["volumes"]}
            assert volumes["data"]["emptyDir"] == {"sizeLimit": "12Gi"}


def test_several_listeners_need_the_object_store() -> None:
    """On one volume two would enter what the other has just stored."""
    with pytest.raises(Exception, match=r"needs s3\.url"):
        objects({"listener": {"replicas": 2}})


def test_a_misspelt_value_of_the_chart_is_refused() -> None:
    """Helm itself names it, by the chart's schema."""
    with pytest.raises(Exception, match="replica"):
        Chart.load(CHART).validate_schema({"worker": {"replica": 2}})
