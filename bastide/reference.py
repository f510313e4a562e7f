"""The reference of the settings, made from the model: every key, its type, its default, its sentence."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from bastide.settings import Area, Settings

_INTRO = """# Settings

Everything a stack file may say under `bastide:settings`. Made from the model by `python -m bastide reference`.
`*` stands for a name that you choose. `python -m bastide check FILE` shows every mistake of a file at once.

| key | type | default | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Key:
    """One key of the settings. `path` is dotted, `default` is "required" when there is none."""

    path: str
    kind: str
    default: str
    sentence: str


def areas_of(model: type[Area], path: str = "") -> Iterator[Key]:
    """Every key below a model, in the order of its definition; mappings stand as `name.*`."""
    sentences = sentences_of(model)
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        kind, inner = _kind(field.annotation)
        yield Key(here, kind, _default(field.get_default(call_default_factory=True)), sentences.get(name, ""))
        if inner is not None:
            yield from areas_of(inner, f"{here}.*." if kind.startswith("mapping") else f"{here}.")


def reference_page() -> str:
    """The page as Markdown."""
    rows = [f"| `{key.path}` | {key.kind} | {key.default} | {key.sentence} |" for key in areas_of(Settings)]
    return _INTRO + "\n".join(rows) + "\n"


def sentences_of(model: type[Area]) -> dict[str, str]:
    """The string below each field of a model: Python keeps no docstring for attributes, so the source is asked."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = str(text.value.value)
    return found


def _kind(annotation: Any) -> tuple[str, type[Area] | None]:  # noqa: ANN401 - any annotation
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(args[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args), None
    if origin in (Union, types.UnionType):
        return _kind(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        kind, inner = _kind(args[0])
        return f"list of {kind}", inner
    if origin is dict:
        kind, inner = _kind(args[1])
        return f"mapping of names to {kind}", inner
    if isinstance(annotation, type) and issubclass(annotation, Area):
        return "keys", annotation
    return {int: "whole number", str: "text", bool: "true or false"}.get(annotation, "text"), None


def _default(value: Any) -> str:  # noqa: ANN401 - any default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, Area):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ((), {}) else "empty"
