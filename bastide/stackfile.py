"""From a stack file to settings: all mistakes at once, each with its place, before anything is touched.

`stacks/Pulumi.<stack>.yaml` is read by Pulumi and by this module; both see the same keys. `parse` is also what the
Pulumi program uses on the configuration that the engine hands it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from bastide.errors import SettingsError, StackError
from bastide.settings import Settings
from bastide.settings.common import Mistakes
from bastide.settings.placeholders import CHANGE, placeholders
from bastide.settings.servers import belongs_to_other

SETTINGS_KEY = "bastide:settings"
SECRETS_KEY = "bastide:secrets"

_KNOWN_KEYS = {SETTINGS_KEY, SECRETS_KEY}
# pulumi.com/registry/packages/hcloud, "Configuration"; a misspelt token would stand there as plain text
_HCLOUD_KEYS = {f"hcloud:{word}" for word in ("token", "endpoint", "endpointHetzner", "pollInterval", "pollFunction")}
# pydantic's error types, said as an expectation; the rest keeps pydantic's own words
_EXPECTATIONS = {
    "missing": "is required",
    "extra_forbidden": "is not a known key",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text (quote it)",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
}


def known_keys() -> set[str]:
    """Every key that may stand below `config`, besides `pulumi:...`."""
    return _KNOWN_KEYS | _HCLOUD_KEYS


def stack_path(stack: str, root: Path = Path()) -> Path:
    """Where the stack file of `stack` lies, below the project's root."""
    return root / "stacks" / f"Pulumi.{stack}.yaml"


def read(path: Path) -> Settings:
    """Parse a stack file.

    Raises `StackError` when there is no such file and `SettingsError` with every mistake in it otherwise.
    """
    document = load(path)
    config = document.get("config")
    if not isinstance(config, Mapping):
        raise SettingsError([f"{path}: config: must be a mapping of keys to values"], _see_example())
    mistakes = [
        f"{path}:{_line(config, key)}: {key}: is not a known key ({SETTINGS_KEY}, {SECRETS_KEY} and hcloud:... are)"
        for key in config
        if key not in _KNOWN_KEYS and key not in _HCLOUD_KEYS and not str(key).startswith("pulumi:")
    ]
    mistakes += [
        f"{path}:{_line(config, key)}: {key}: must be a secret, and stands here as plain text"
        for key, value in config.items()
        if (key == "hcloud:token" and isinstance(value, str)) or (key == SECRETS_KEY and _has_plain_text(value))
    ]
    if SETTINGS_KEY not in config:
        raise SettingsError([*mistakes, f"{path}: {SETTINGS_KEY}: is required"], _see_example())
    try:
        settings = parse(config[SETTINGS_KEY], str(path))
    except SettingsError as error:
        raise SettingsError([*mistakes, *error.mistakes], error.hint) from None
    if mistakes:
        raise SettingsError(mistakes, _see_example())
    return settings


def parse(data: Any, source: str) -> Settings:  # noqa: ANN401 - whatever a YAML or JSON parser returned
    """Turn parsed YAML or JSON into settings. `source` names where it came from.

    Raises `SettingsError` with one line a mistake: `<source>: settings.<path>: <expectation> (got <value>)`.
    """
    not_yours = dict(placeholders(_plain(data))) if isinstance(data, Mapping) and not data.get("lab") else {}
    mistakes = [_not_yours(source, data, *found) for found in not_yours.items()]
    try:
        settings = Settings.model_validate(_plain(data))
    except ValidationError as error:
        items = [dict(item) for item in error.errors(include_url=False)]
        # a value that is not the user's own is named as that, and not judged
        judged = [item for item in items if not _hangs_on(_path_of(item), not_yours)]
        mistakes += [sentence for item in judged for sentence in _sentences(source, data, item)]
        raise SettingsError(mistakes, _see_example()) from None
    if mistakes:
        raise SettingsError(mistakes, "write your own values there; see stacks/Pulumi.example.yaml for what each means")
    return settings


def load(path: Path) -> CommentedMap:
    """A YAML file with its places and comments. Raises `StackError` (no file) or `SettingsError` (not YAML)."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StackError(
            f"{path} does not exist",
            "copy stacks/Pulumi.example.yaml to it, or run `make up` for the local stack `lab`",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {error}", "mend the file's rights or encoding (UTF-8)") from None
    try:
        document = YAML().load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        raise SettingsError(
            [f"{path}:{mark.line + 1 if mark else '?'}: {str(error.problem).split(' with')[0]}: a key may stand once"],
            "remove or rename one of the two",
        ) from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "does not parse"
        raise SettingsError(
            [f"{path}{f':{place.line + 1}' if place else ''}: is not YAML: {reason}"],
            "mend the line, check its indentation",
        ) from None
    except ValueError as error:
        # a date that no calendar has, a number of thousands of digits
        raise SettingsError(
            [f"{path}: holds a value that cannot be read: {error}"], "quote it, if it is text"
        ) from None
    if not isinstance(document, CommentedMap):
        raise SettingsError([f"{path}: must be a mapping with the key config"], _see_example())
    return document


def dump(document: CommentedMap) -> str:
    """The YAML text of a loaded document, its comments kept."""
    stream = StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, stream)
    return stream.getvalue()


def _not_yours(source: str, data: Any, path: str, value: str) -> str:  # noqa: ANN401
    parts = [int(part) if part.isdigit() else part for part in path.split(".")]
    line = _line_of(data, parts)
    what = "is for you to write" if CHANGE in value else "is the example's, not yours"
    return f"{source}{f':{line}' if line else ''}: settings.{path}: {what} (got {_short(value)})"


def _plain(data: Any) -> Any:  # noqa: ANN401
    """Lists become tuples (the model is frozen and strict), ruamel's own types become Python's."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return tuple(_plain(item) for item in data)
    if isinstance(data, bool) or data is None:
        return data
    for kind in (int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data


def _has_plain_text(value: Any) -> bool:  # noqa: ANN401
    """Whether anything under a key for secrets is not encrypted ("secure: v1:...")."""
    if isinstance(value, Mapping):
        return set(value) != {"secure"} and any(_has_plain_text(item) for item in value.values())
    return True


def _sentences(source: str, data: Any, item: dict[str, Any]) -> list[str]:  # noqa: ANN401
    error = item.get("ctx", {}).get("error")
    if not isinstance(error, Mistakes):
        return [_sentence(source, data, item)]
    found = []
    for sentence in error.sentences:
        line = _line_of(data, sentence.split(maxsplit=1)[0].rstrip(":").split("."))
        found.append(f"{source}{f':{line}' if line else ''}: settings.{sentence}")
    return found


def _hangs_on(path: str, not_yours: Mapping[str, str]) -> bool:
    """Whether it is said of such a value, or of a list that lacks it."""
    return any(one == path or (path and one.startswith(f"{path}.")) for one in not_yours)


def _path_of(item: dict[str, Any]) -> str:
    return ".".join(str(part) for part in _place_of(item))


def _place_of(item: dict[str, Any]) -> list[Any]:
    place = [part for part in item["loc"] if part != "[key]"]
    if place[:1] == ["servers"] and len(place) > 2:
        # of a server, pydantic names the model that it was judged by, which the file does not
        del place[2]
    return place


def _sentence(source: str, data: Any, item: dict[str, Any]) -> str:  # noqa: ANN401
    place, given = _place_of(item), [part for part in item["loc"] if part != "[key]"]
    server_kind = str(given[2]) if len(given) > len(place) else ""
    at_key = "[key]" in item["loc"]
    path = ".".join(["settings", *(str(part) for part in place)])
    line = _line_of(data, place)
    kind = str(item["type"])
    if kind == "value_error":
        expectation = str(item["ctx"]["error"])
    elif kind == "extra_forbidden" and server_kind and (sentence := belongs_to_other(server_kind, str(place[-1]))):
        expectation = sentence
    elif kind in _EXPECTATIONS:
        expectation = _EXPECTATIONS[kind]
    else:
        expectation = _bounds(kind, item)
    value = place[-1] if at_key and place else _value_at(data, place)
    shown = "" if kind == "missing" or isinstance(value, Mapping | list | tuple) else f" (got {_short(value)})"
    if kind == "extra_forbidden" or "private key" in expectation:
        shown = ""
    return f"{source}{f':{line}' if line else ''}: {path}: {expectation}{shown}"


def _bounds(kind: str, item: dict[str, Any]) -> str:
    limits = item.get("ctx", {})
    words = {
        "less_than_equal": "must be at most {le}",
        "greater_than_equal": "must be at least {ge}",
        "string_pattern_mismatch": "must match {pattern}",
        "string_too_short": "must have at least {min_length} characters",
        "string_too_long": "must have at most {max_length} characters",
        "too_short": "must have at least {min_length} entry",
        "literal_error": "must be one of {expected}",
    }
    return words[kind].format(**limits) if kind in words else str(item["msg"])


def _value_at(data: Any, place: Sequence[Any]) -> Any:  # noqa: ANN401
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _line_of(data: Any, place: Sequence[Any]) -> int | None:  # noqa: ANN401
    """The line (from 1) of the deepest part of `place` that exists; None when the data carries no places."""
    line: int | None = None
    for part in place:
        if not isinstance(data, CommentedMap | CommentedSeq) or (found := _line(data, part)) is None:
            break
        line = found
        data = data[part]
    return line


def _line(data: Any, part: Any) -> int | None:  # noqa: ANN401
    try:
        if isinstance(data, CommentedMap):
            return int(data.lc.key(part)[0]) + 1
        return int(data.lc.item(part)[0]) + 1
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _short(value: Any) -> str:  # noqa: ANN401
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _see_example() -> str:
    return "stacks/Pulumi.example.yaml names every key with a sentence; nothing has been touched"
