"""One configuration: defaults, TOML, environment, and every mistake at once."""

import os
from pathlib import Path

import pytest

from node.config import Config, Source, load, source_of
from node.errors import Misconfigured


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove LUMBAR_ variables that the person who runs the tests may have set."""
    for name in list(os.environ):
        if name.startswith("LUMBAR_"):
            monkeypatch.delenv(name)


def _toml(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, "utf-8")
    return path


def _mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(Misconfigured) as refusal:
        load(_toml(folder, text))
    first, *lines = str(refusal.value).splitlines()
    assert first.startswith(f"{len(lines)} mistake")
    return [line.strip() for line in lines]


def test_defaults_stand_without_any_file() -> None:
    """A node without a configuration listens on loopback only."""
    config = load()
    assert config.listen.bind == config.web.bind == "127.0.0.1"
    assert config.listen.port == 11112
    assert config.destinations == ()
    assert config.database.startswith("sqlite:////")


def test_toml_changes_what_it_names(tmp_path: Path) -> None:
    """Sections and lists of sections are read, the rest keeps its default."""
    config = load(
        _toml(
            tmp_path,
            """
            data_dir = "/srv/lumbar"
            [listen]
            ae_title = "LUMBAR2"
            calling_ae = ["PACS", "MR1"]
            [[destinations]]
            name = "pacs"
            host = "10.0.0.5"
            port = 104
            ae_title = "PACS"
            """,
        )
    )
    assert config.data_dir == Path("/srv/lumbar")
    assert config.listen.ae_title == "LUMBAR2"
    assert config.listen.calling_ae == ("PACS", "MR1")
    assert config.listen.port == 11112
    assert config.destinations[0].name == "pacs"
    assert config.database == "sqlite:////srv/lumbar/index.sqlite"


def test_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LUMBAR_ variables win, one setting at a time, and leave the section's others alone."""
    monkeypatch.setenv("LUMBAR_LISTEN__PORT", "4242")
    monkeypatch.setenv("LUMBAR_DATA_DIR", "/elsewhere")
    config = load(_toml(tmp_path, 'data_dir = "/srv"\n[listen]\nport = 104\nae_title = "FROMFILE"'))
    assert config.listen.port == 4242
    assert config.listen.ae_title == "FROMFILE"
    assert config.data_dir == Path("/elsewhere")


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can be configured without any file."""
    peer = '[{"name": "pacs", "host": "pacs", "port": 104, "ae_title": "PACS"}]'
    monkeypatch.setenv("LUMBAR_DESTINATIONS", peer)
    assert load().destinations[0].port == 104


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Wrong values, unknown settings and contradictions come in one list, each with its place."""
    mistakes = _mistakes(
        tmp_path,
        """
        colour = "blue"
        [listen]
        port = 0
        ae_title = "AN AE TITLE THAT IS TOO LONG"
        bind = "everywhere"
        [complete]
        quiet_s = 1000
        incomplete_s = 10
        [report]
        overlay = true
        [[destinations]]
        name = "Main PACS"
        host = "h"
        port = 104
        ae_title = "PACS"
        """,
    )
    places = [line.split(": ")[0] for line in mistakes]
    assert sorted(places) == [
        "colour",
        "complete",
        "destinations.0.name",
        "listen.ae_title",
        "listen.bind",
        "listen.port",
        "report.overlay",
    ]


def test_contradictions_between_legal_settings(tmp_path: Path) -> None:
    """Clashing names, times and ports are found although each value is legal."""
    peer = '\nname = "pacs"\nhost = "h"\nport = 104\nae_title = "A"\n'
    mistakes = _mistakes(
        tmp_path,
        f"""
        [[destinations]]{peer}
        [[destinations]]{peer}
        [[orthanc]]
        name = "pacs"
        url = "http://localhost:8042"
        [complete]
        quiet_s = 100
        incomplete_s = 50
        [deliver]
        first_retry_s = 100
        last_retry_s = 10
        [web]
        port = 11112
        """,
    )
    text = "\n".join(mistakes)
    assert len(mistakes) == 4
    assert "the name 'pacs' is used more than once" in text
    assert "quiet_s <= incomplete_s <= forced_s" in text
    assert "first_retry_s is larger than last_retry_s" in text
    assert "the same address and port" in text


def test_a_port_clashes_with_every_address_too(tmp_path: Path) -> None:
    """0.0.0.0 takes the port on loopback as well."""
    (mistake,) = _mistakes(tmp_path, '[web]\nport = 11112\n[listen]\nbind = "0.0.0.0"')
    assert "the same address and port" in mistake


def test_mistakes_in_the_environment_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the message names the environment, and the variable's place."""
    monkeypatch.setenv("LUMBAR_LISTEN__PORT", "many")
    monkeypatch.setenv("LUMBAR_WORK__PROVIDER", "tpu")
    with pytest.raises(Misconfigured) as refusal:
        load()
    text = str(refusal.value)
    assert text.startswith("2 mistakes in the configuration (the environment)")
    assert "listen.port" in text
    assert "work.provider" in text


def test_a_misspelt_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """LUMBAR_LISTEN__PROT and LUMBAR_DATADIR would otherwise be ignored in silence."""
    monkeypatch.setenv("LUMBAR_LISTEN__PROT", "104")
    monkeypatch.setenv("LUMBAR_DATADIR", "/srv")
    with pytest.raises(Misconfigured) as refusal:
        load()
    assert "listen.prot" in str(refusal.value)
    assert "LUMBAR_DATADIR" in str(refusal.value)


def test_variables_of_kubernetes_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service called lumbar sets LUMBAR_PORT and more in every pod; they mean nothing here."""
    monkeypatch.setenv("LUMBAR_PORT", "tcp://10.0.0.1:104")
    monkeypatch.setenv("LUMBAR_SERVICE_HOST", "10.0.0.1")
    assert load() == Config()


def test_a_variable_that_is_no_json_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is not JSON gives a line, not a traceback."""
    monkeypatch.setenv("LUMBAR_DESTINATIONS", "pacs:104")
    with pytest.raises(Misconfigured, match="LUMBAR_DESTINATIONS"):
        load()


@pytest.mark.parametrize("text", ["port = = 1", "\ufeff[", "[listen]\nport = 1\nport = 2"])
def test_what_is_not_toml_is_told(text: str, tmp_path: Path) -> None:
    """The line of the mistake is in the message."""
    with pytest.raises(Misconfigured, match="is not valid TOML"):
        load(_toml(tmp_path, text))


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    """Neither is read as an empty configuration."""
    with pytest.raises(Misconfigured, match=r"cannot read .*No such file"):
        load(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="is not valid TOML"):
        load(tmp_path / "binary.toml")


def test_the_configuration_cannot_be_changed() -> None:
    """Frozen, so that a worker and the listener see the same."""
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.data_dir = Path("/x")


@pytest.mark.parametrize("title", ["", "   ", "A" * 17, "A\\B", "ÄE", "A\nB"])
def test_illegal_ae_titles(title: str, tmp_path: Path) -> None:
    """PS3.5 6.2: 1 to 16 characters, no backslash, no control characters."""
    escaped = title.replace("\\", "\\\\").replace("\n", "\\n")
    (mistake,) = _mistakes(tmp_path, f'[listen]\nae_title = "{escaped}"')
    assert mistake.startswith("listen.ae_title")


def test_secrets_are_files_not_settings(tmp_path: Path) -> None:
    """A password in the configuration is refused as unknown, and never printed."""
    with pytest.raises(Misconfigured) as refusal:
        load(
            _toml(
                tmp_path,
                '[[orthanc]]\nname = "o"\nurl = "http://h"\npassword = "hunter2"',
            )
        )
    assert "orthanc.0.password" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_sender_has_its_rule_else_that_of_the_others(tmp_path: Path) -> None:
    """Its own times take the place of the usual ones; what it does not say stays."""
    config = load(
        _toml(
            tmp_path,
            '[complete]\nincomplete_s = 500.0\n[[sources]]\nae_title = "PACS"\nquiet_s = 300.0\n'
            '[[sources]]\nae_title = "*"\nignore = true',
        )
    )
    own = source_of("PACS", config.sources)
    times = own.times(config.complete)
    assert (times.quiet_s, times.incomplete_s, own.ignore) == (300.0, 500.0, False)
    assert source_of("orthanc:main", config.sources).ignore
    assert source_of("PACS", ()) == Source(ae_title="*")


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        ('ae_title = "PACS"\nquiet_s = 1000.0', "'PACS': quiet_s <= incomplete_s"),
        ('ae_title = "A\\\\B"', "no backslash"),
        ('ae_title = "PACS"\nask = "10.0.0.5:104"', "is not AE@HOST:PORT"),
        ('ae_title = "PACS"\n[[sources]]\nae_title = "PACS"', "'PACS' has more than one rule"),
    ],
)
def test_a_rule_that_makes_no_sense_is_told(rule: str, mistake: str, tmp_path: Path) -> None:
    """Before anything starts, and by the sender's name."""
    (line,) = _mistakes(tmp_path, f"[[sources]]\n{rule}")
    assert line.startswith("sources")
    assert mistake in line


def test_results_go_only_where_somebody_is(tmp_path: Path) -> None:
    """A rule names destinations that are configured, or none at all."""
    rule = '[[sources]]\nae_title = "backfill"\ndestinations = ["pacs", "orthanc:main"]\n'
    (line,) = _mistakes(tmp_path, rule)
    assert line.endswith("sources name 'orthanc:main', 'pacs', which is not here")
    stays = load(_toml(tmp_path, '[[sources]]\nae_title = "backfill"\ndestinations = []\n'))
    assert stays.sources[0].destinations == ()


def test_what_holds_for_anybody_does_not_hold_for_backfill() -> None:
    """A node that ignores strangers still takes what a person has it fetch, and takes it last."""
    sources = (Source(ae_title="*", ignore=True), Source(ae_title="PACS", priority="stat"))
    rule = source_of("backfill:orthanc:main", sources)
    assert not rule.ignore
    assert rule.priority == "backfill"


def test_a_source_that_is_asked_over_dicomweb_is_a_peer(tmp_path: Path) -> None:
    """A name that no [[dicomweb]] has is a mistake; one that is there is not."""
    rule = '[[sources]]\nae_title = "PACS"\nask = "dicomweb:archive"\n'
    (line,) = _mistakes(tmp_path, rule)
    assert line == "dicomweb: sources ask 'archive', which is not here"
    peer = '[[dicomweb]]\nname = "archive"\nurl = "http://127.0.0.1:8042/dicom-web"\n'
    assert load(_toml(tmp_path, rule + peer)).sources[0].ask == "dicomweb:archive"


def test_where_images_are_kept_is_one_of_three(tmp_path: Path) -> None:
    """The data folder, a folder that every host sees, or an object store; a mistake is named."""
    data, share = Path("/data"), Path("/mnt/share")
    assert Config().storage.folder(data) == data
    shared = load(_toml(tmp_path, '[storage]\nurl = "file:///mnt/share"')).storage
    assert (shared.is_store, shared.folder(data)) == (False, share)
    store = load(_toml(tmp_path, '[storage]\nurl = "s3://images/a/node/"')).storage
    assert (store.is_store, store.bucket, store.prefix) == (True, "images", "a/node")
    assert _mistakes(
        tmp_path, '[storage]\nurl = "https://host/bucket"\nendpoint = "host:9000"'
    ) == [
        "storage.url: 'https://host/bucket' is not s3://BUCKET, s3://BUCKET/PREFIX or file:///FOLDER",
        "storage.endpoint: 'host:9000' is not https://HOST or https://HOST:PORT",
    ]
