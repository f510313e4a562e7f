"""The reference of the settings, made from the model: every key, its type, its default, its sentence."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """Every key below a model, in the order of its definition; mappings stand as `name.*`.

    A key that several models of a union have stands once, with all that it may be.
    """
    sentences = sentences_of(model)
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        kind, inner = _kind(field.annotation)
        yield Key(here, kind, _default(field.get_default(call_default_factory=True)), sentences.get(name, ""))
        below = f"{here}.*." if kind.startswith("mapping") else f"{here}."
        found: dict[str, Key] = {}
        for key in (key for one in inner for key in areas_of(one, below)):
            known = found.setdefault(key.path, key)
            if key.kind != known.kind:
                found[key.path] = replace(known, kind=f"{known.kind} or {key.kind}")
        yield from found.values()


def reference_page() -> str:
    """The page as Markdown."""
    rows = [f"| `{key.path}` | {key.kind} | {key.default} | {key.sentence} |" for key in areas_of(Settings)]
    return _INTRO + "\n".join(rows) + "\n"


def sentences_of(model: type[Area]) -> dict[str, str]:
    """The string below each field of a model, read from its source.

    pydantic does the same with `use_attribute_docstrings`, but for every class at each import of the settings: all
    commands would start some 60 ms later, for two that want the sentences.
    """
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


def _kind(annotation: Any) -> tuple[str, tuple[type[Area], ...]]:  # noqa: ANN401 - any annotation
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(args[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args), ()
    if origin in (Union, types.UnionType):
        kinds = [_kind(arg) for arg in args if arg is not type(None)]
        return kinds[0][0], tuple(one for _, inner in kinds for one in inner)
    if origin is tuple:
        kind, inner = _kind(args[0])
        return f"list of {kind}", inner
    if origin is dict:
        kind, inner = _kind(args[1])
        return f"mapping of names to {kind}", inner
    if isinstance(annotation, type) and issubclass(annotation, Area):
        return "keys", (annotation,)
    return {int: "whole number", str: "text", bool: "true or false"}.get(annotation, "text"), ()


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
