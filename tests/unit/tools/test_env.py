"""What `eval "$(make env stack=NAME)"` sets, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import installed, parts, versions
from tools.env import as_shell, environment

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> installed.Tools:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith(("PULUMI_", "BASTIDE_"))]:
        monkeypatch.delenv(name)
    cache = tmp_path / "cache" / "bastide" / "tools"
    names = [part.name for part in parts.PARTS]
    programs, came = {name: f"/x/{name}" for name in names}, dict.fromkeys(names, "build")
    found = installed.Tools(str(cache / "sets" / "x" / "bin"), programs, came)
    monkeypatch.setattr(installed, "current", lambda: found)
    return found


def test_a_stack_of_its_own_folder(tmp_path: Path, tools: installed.Tools) -> None:
    values = environment("lab", tmp_path)
    build = tmp_path / "build" / "lab"
    assert values == {
        "BASTIDE_STACK": "lab",
        "PATH": f"{tmp_path}/.venv/bin:{tools.bin}:/usr/bin:/bin",
        "PULUMI_BACKEND_URL": f"file://{build}/state",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": f"{build}/pulumi-home",
        "PULUMI_OPTION_PRESERVE_CONFIG": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    assert (build / "state").stat().st_mode & 0o777 == 0o700
    assert (build / "pulumi-home" / "plugins" / f"resource-hcloud-v{versions.HCLOUD}").is_dir()


def test_the_passphrase_file_is_named_when_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "build" / "lab" / "passphrase"
    file.parent.mkdir(parents=True)
    file.write_text("secret")
    assert environment("lab", tmp_path)["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(file)
    assert "secret" not in str(environment("lab", tmp_path))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment("lab", tmp_path), "an empty passphrase is one"


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://company-state")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "own-home"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/own/passphrase")
    values = environment("prod", tmp_path)
    assert not values.keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE"}
    assert (tmp_path / "own-home" / "plugins").is_dir()
    assert not (tmp_path / "build" / "prod" / "state").exists()


def test_with_another_backend_pulumis_usual_home_holds_the_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://company-state")
    assert "PULUMI_HOME" not in environment("prod", tmp_path)
    assert (tmp_path / "home" / ".pulumi" / "plugins").is_dir()


def test_what_an_earlier_evaluation_set_is_not_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "build" / "lab" / "passphrase"
    file.parent.mkdir(parents=True)
    file.write_text("secret")
    for name, value in environment("lab", tmp_path).items():
        monkeypatch.setenv(name, value)
    again = environment("lab", tmp_path)
    assert again["PATH"] == os.environ["PATH"], "evaluating twice does not make PATH longer"
    other = environment("prod", tmp_path)
    assert other["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/build/prod/state"
    assert other["PULUMI_HOME"] == f"{tmp_path}/build/prod/pulumi-home"
    assert other["PULUMI_CONFIG_PASSPHRASE_FILE"] == "", "the lab's passphrase does not open another stack"


def test_a_published_pulumi_may_fetch_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: installed.Tools
) -> None:
    came = {**dict.fromkeys(tools.came, "path"), "minio-server": "build"}
    monkeypatch.setattr(installed, "current", lambda: replace(tools, came=came))
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in environment("lab", tmp_path)


@pytest.mark.parametrize("name", ["", "../etc", "a b", "-x", "a/b", "x" * 101])
def test_a_name_that_no_stack_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ToolError, match="cannot be the name of a stack"):
        environment(name, tmp_path)
    assert list(tmp_path.glob("build*")) == []


def test_the_shell_gets_exactly_these_values() -> None:
    values = {"A": 'it\'s $HOME `x`; "y"', "B": "", "C": "two\nlines"}
    shell = as_shell(values) + '\nprintf "%s\\0" "$A" "$B" "$C"'
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert said.split("\0")[:3] == list(values.values())


def test_a_failure_fails_the_evaluation_too(tmp_path: Path) -> None:
    command = f"set -e; eval \"$('{sys.executable}' -m tools env --stack ../x)\"; echo went on"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "cannot be the name of a stack" in done.stderr
