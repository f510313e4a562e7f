"""What a dump holds, what of it is restored here, and what of it would not go. Pure.

The platform makes roles, rights and extensions itself, as the stack file says. So of a dump come the objects and their
rows, and all of them belong to the declared owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# What `pg_restore --list` calls an object (pg_dump's own words), by what it begins with.
# Rights and owners: the platform's. What belongs to the server and to nobody: a superuser's.
_LEFT_OUT = {
    "EXTENSION": "",
    "ACL": "rights: the stack file says them",
    "DEFAULT ACL": "rights: the stack file says them",
    "SECURITY LABEL": "security labels",
    "DATABASE": "",
    "EVENT TRIGGER": "event triggers: a superuser's",
    "PUBLICATION": "publications",
    "SUBSCRIPTION": "subscriptions: they would go on pulling",
    "SCHEMA - public": "",
    "PROCEDURAL LANGUAGE - plpgsql": "",
}
# a comment belongs to what it speaks of
_COMMENTS = ("EXTENSION ", "SCHEMA public", "EVENT TRIGGER ", "PUBLICATION ", "SUBSCRIPTION ", "DATABASE ",
             "PROCEDURAL LANGUAGE plpgsql")  # fmt: skip
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<rest>.+)")
_VERSION = re.compile(r"Dumped from database version:? (\d+)")

_ID = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_EXTENSION = re.compile(
    rf"CREATE EXTENSION (?:IF NOT EXISTS )?({_ID})(?: WITH)?(?: SCHEMA ({_ID}))?", re.IGNORECASE
)  # fmt: skip
_SCHEMA = re.compile(rf"CREATE SCHEMA (?:IF NOT EXISTS )?({_ID}) ?;$", re.IGNORECASE)
_POLICY = re.compile(
    rf"CREATE POLICY {_ID} ON \S+(?: AS \w+)?(?: FOR \w+)? TO ({_ID}(?:, ?{_ID})*)", re.IGNORECASE
)  # fmt: skip
# PostgreSQL 17 manual, the reference of each: only a superuser makes them
_SUPERUSERS = re.compile(
    r"CREATE (?:OR REPLACE )?((?:FOREIGN DATA WRAPPER|ACCESS METHOD|OPERATOR CLASS|OPERATOR FAMILY|TEXT SEARCH PARSER|"
    r"TEXT SEARCH TEMPLATE) \S+)",
    re.IGNORECASE,
)

# statements of a dump in SQL, by how they begin
_SKIPPED_STATEMENTS = (
    (r"(?:GRANT|REVOKE)\b", "rights: the stack file says them"),
    (r"ALTER DEFAULT PRIVILEGES\b", "rights: the stack file says them"),
    (rf"ALTER (?:[A-Z]+ )+(?:ONLY )?\S.* OWNER TO {_ID} ?;$", ""),
    (r"(?:CREATE|ALTER|COMMENT ON|DROP) EXTENSION\b", ""),
    (r"CREATE SCHEMA (?:IF NOT EXISTS )?public ?;$", ""),
    (r"COMMENT ON SCHEMA public\b", ""),
    (r"(?:CREATE|ALTER|COMMENT ON) EVENT TRIGGER\b", "event triggers: a superuser's"),
    (r"(?:CREATE|ALTER|COMMENT ON) PUBLICATION\b", "publications"),
    (r"(?:CREATE|ALTER|COMMENT ON) SUBSCRIPTION\b", "subscriptions: they would go on pulling"),
    (r"(?:CREATE|ALTER|COMMENT ON) DATABASE\b", ""),
    (r"(?:CREATE (?:OR REPLACE )?|COMMENT ON )(?:PROCEDURAL )?LANGUAGE plpgsql\b", ""),
    (r"SECURITY LABEL\b", "security labels"),
    (r"(?:RE)?SET SESSION AUTHORIZATION\b", ""),
    (r"SET default_tablespace\b", ""),
    # for a database that has something in it; this one is empty
    (r"DROP\b", ""),
    (rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?\S+ DROP CONSTRAINT (?:IF EXISTS )?{_ID} ?;$", ""),
    # all of it is one transaction
    (r"(?:BEGIN|COMMIT|END|START TRANSACTION)(?: WORK| TRANSACTION)? ?;$", ""),
)
_SKIPPED = tuple((re.compile(pattern, re.IGNORECASE), why) for pattern, why in _SKIPPED_STATEMENTS)


@dataclass
class Contents:
    """What a dump holds. `version`: PostgreSQL's of the server that it came from, 0 where it does not say.

    `extensions` by name, with the schema each is in; `roles` that policies name; `left_out`: what does not come along,
    in words; `beyond`: what only a superuser could make; `objects` that are restored. `schemas` are there already.
    """

    version: int = 0
    extensions: dict[str, str] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    beyond: list[str] = field(default_factory=list)
    objects: int = 0
    schemas: frozenset[str] = frozenset()

    def read(self, statement: str) -> None:
        """Take note of what a statement needs of others."""
        if found := _EXTENSION.match(statement):
            self.extensions[_plain(found[1])] = _plain(found[2] or "")
        elif found := _POLICY.match(statement):
            self.roles |= {_plain(name) for name in re.findall(_ID, found[1])}
        elif found := _SUPERUSERS.match(statement):
            self.beyond.append(found[1])


def chosen(listed: str, found: Contents) -> str:
    """The lines of what is restored, of a table of contents as `pg_restore --list` shows it; `found` learns of them."""
    lines = []
    for line in listed.splitlines():
        if version := _VERSION.search(line):
            found.version = int(version[1])
        if not (entry := _ENTRY.match(line)):
            continue
        why = _left_out(entry["rest"], found.schemas)
        if why is not None:
            found.left_out |= {why} - {""}
            continue
        lines.append(line)
    found.objects = len(lines)
    return "\n".join(lines) + "\n"


def is_skipped(statement: str, found: Contents) -> bool:
    """Whether a statement of a dump in SQL is not for here; `found` learns why."""
    if (made := _SCHEMA.match(statement)) and _plain(made[1]) in found.schemas:
        return True
    for pattern, why in _SKIPPED:
        if pattern.match(statement):
            found.left_out |= {why} - {""}
            return True
    return False


def problems(
    found: Contents, *, version: int, declared: Iterable[str], known: Iterable[str], offered: Iterable[str],
    there: dict[str, str], database: str,
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Why it would not go, each with what to do next.

    `version` of this server; `declared` extensions of the database, `offered` those that the platform has, `there`:
    those that are, with their schemas; `known` roles.
    """
    if found.version > version:
        yield (
            f"it comes from PostgreSQL {found.version}, and this is {version}: an older one may not understand it",
            f"move from a server of {version} or older",
        )
    declared, offered = list(declared), set(offered)
    needed = [name for name in found.extensions if name not in {"plpgsql", *declared}]
    if foreign := [name for name in needed if name not in offered]:
        yield (
            f"it needs {_names(foreign)}, which the platform does not have",
            "drop what needs it on the old server, or dump without it (pg_dump --exclude-extension, "
            "docs/how-to/move-your-database.md)",
        )
    if missing := [name for name in needed if name in offered]:
        yield (
            f"it needs {_names(missing)}, not declared for {database}",
            f"settings.postgres.databases.{database}: `extensions: [{', '.join((*declared, *missing))}]`, "
            "then `make deploy only=postgres`",
        )
    if not_made := [name for name in found.extensions if name in declared and name not in there]:
        yield f"{_names(not_made)} is declared and not there yet", "`make deploy only=postgres`"
    for name, schema in found.extensions.items():
        if name in there and name != "plpgsql" and schema not in ("", there[name]):
            yield (
                f"the extension {name} lies in schema {schema} there, and in {there[name]} here",
                f"on the old server: ALTER EXTENSION {_quoted(name)} SET SCHEMA {there[name]}, and dump again",
            )
    if strangers := sorted(found.roles - {"public", "current_user", "session_user", "current_role", *known}):
        role = "the roles" if len(strangers) > 1 else "the role"
        yield (
            f"policies of it name {role} {', '.join(strangers)}, which nobody has declared",
            f"settings.postgres.databases.{database}.roles, or ALTER POLICY ... TO PUBLIC on the old server",
        )
    if found.beyond:
        yield (
            f"only a superuser could make {', '.join(found.beyond[:3])}",
            "drop it on the old server, or use what PostgreSQL has of its own",
        )


def _left_out(rest: str, schemas: frozenset[str]) -> str | None:
    """Why an entry is left out, "" where nobody needs to know; None for what comes along."""
    if rest.startswith("SCHEMA - ") and rest.removeprefix("SCHEMA - ").rpartition(" ")[0] in schemas:
        return ""
    if rest.startswith("COMMENT - "):
        return "" if rest.removeprefix("COMMENT - ").startswith(_COMMENTS) else None
    return next((why for word, why in _LEFT_OUT.items() if rest == word or rest.startswith(f"{word} ")), None)


def _names(names: list[str]) -> str:
    return f"the extension{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else f'"{name}"'
