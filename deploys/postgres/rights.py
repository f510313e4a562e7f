"""Roles and databases: what is wanted, what is there, and the statements between the two. Pure. Rights: inside.py.

What the stack file does not name is never dropped: a database that is taken out stays, its roles can no longer log in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from bastide import cluster
from bastide.secrets import Keyring
from bastide.settings import Postgres
from deploys.facts.postgres import DatabasesRequest, DatabasesState
from deploys.postgres import inside

MARK = "made by bastide"
"""The comment on every role of ours: who carries it and is not declared any more loses its login."""

# PostgreSQL 17 manual, 53.8 (pg_authid) and 9.26. Passwords are compared by the digest of their verifiers.
_QUERY = """
select json_build_object(
  'roles', coalesce((select json_object_agg(rolname, json_build_object(
      'login', rolcanlogin, 'limit', rolconnlimit, 'digest', encode(sha256(coalesce(rolpassword, '')::bytea), 'hex'),
      'powers', array_remove(array[case when rolsuper then 'superuser' end,
        case when rolcreaterole then 'createrole' end, case when rolcreatedb then 'createdb' end,
        case when rolreplication then 'replication' end, case when rolbypassrls then 'bypassrls' end], null),
      'member_of', array(select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid
        where m.member = a.oid),
      'ours', coalesce(shobj_description(a.oid, 'pg_authid'), '') = '@MARK@'))
    from pg_authid a where rolname !~ '^pg_' and rolname not in ('postgres', 'replicator', 'rewinder')), '{}'::json),
  'own', (select json_object_agg(rolname, encode(sha256(coalesce(rolpassword, '')::bytea), 'hex'))
    from pg_authid where rolname in ('replicator', 'rewinder')),
  'less', array(select format('ALTER %s RESET %s', case when setrole = 0 and setdatabase = 0 then 'ROLE ALL'
      when setrole = 0 then 'DATABASE ' || quote_ident(datname)
      else 'ROLE ' || quote_ident(rolname) || coalesce(' IN DATABASE ' || quote_ident(datname), '') end,
      quote_ident(split_part(line, '=', 1)))
    from pg_db_role_setting left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase,
      unnest(setconfig) line
    where line ~ '^(@LESS@)' or (setrole = 0 and setdatabase = 0) or datname = 'postgres'
      or rolname in ('postgres', 'replicator', 'rewinder') order by 1),
  'databases', coalesce((select json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba)))
    from pg_database where not datistemplate), '{}'::json))::text
""".replace("@MARK@", MARK)
# What no role and no database is told otherwise than all, since it would take away what the page says: who is logged,
# how passwords are kept, what becomes of a wrong checksum; and with zero-loss what a commit waits for. Anything else
# (statement_timeout, search_path) is its owner's. The platform's own roles, and all roles together, are told nothing.
_LESS = r"pgaudit\.|log_|password_encryption=|ignore_checksum_failure=|zero_damaged_pages="
_EXTENSIONS = (
    "select json_build_object('extensions', array(select extname from pg_extension), 'plan', '[]'::json)::text"
)
# compiled, it would take seconds for what takes milliseconds
_INSIDE = """set jit = off;
select json_build_object('extensions', array(select extname from pg_extension),
  'plan', coalesce((select json_agg(text order by step, text) from (@PLAN@) as planned), '[]'))::text"""
_SHOWN = 12


@dataclass(frozen=True)
class Statement:
    """One statement of SQL, and the database that it is for. `text` may hold a verifier: it is never shown; `shown` is
    what a person reads, in lines."""

    database: str
    text: str
    shown: str


@dataclass(frozen=True)
class Shape:
    """What is wanted, without a secret. `sites`: how many have a pool that comes with its own connections."""

    postgres: Postgres
    sites: int

    @property
    def asked(self) -> DatabasesRequest:
        """What the machine is asked."""
        plans = {name: _INSIDE.replace("@PLAN@", inside.plan(one)) for name, one in self.postgres.databases.items()}
        less = _LESS + ("|synchronous_commit=" if self.postgres.durability == "zero-loss" else "")
        return {"query": _QUERY.replace("@LESS@", less), "inside": {"postgres": _EXTENSIONS, **plans}}


def shape(postgres: Postgres, sites: int) -> Shape:
    """The shape that the settings say, for a cluster of so many sites."""
    return Shape(postgres, sites)


def access(postgres: Postgres, keyring: Keyring) -> dict[str, SecretStr]:
    """The verifiers of all declared roles, by name."""
    return {role: cluster.role_verifier(keyring, role) for role in postgres.roles}


OWN_ROLES = ("replicator", "rewinder")
"""What members log in to each other with; Patroni makes them, with the cluster."""


def own_access(keyring: Keyring) -> dict[str, SecretStr]:
    """The verifiers of the members' own roles, by name."""
    return {role: cluster.role_verifier(keyring, role) for role in OWN_ROLES}


def own_statements(keys: Mapping[str, SecretStr], seen: DatabasesState) -> list[Statement]:
    """What gives the members' own roles their present passwords: Patroni does so only when it makes a cluster."""
    return [
        _for_all(
            f"ALTER ROLE {_id(name)} PASSWORD {inside.quoted_text(key.get_secret_value())}",
            f"set the password of {name}",
        )
        for name, key in keys.items()
        if (digest := (seen["own"] or {}).get(name)) is not None and not _has(key, digest)
    ]


def statements(wanted: Shape, keys: Mapping[str, SecretStr], seen: DatabasesState) -> list[Statement]:
    """What makes it so, in order. `seen` is the leader's answer."""
    return [
        *_roles(wanted, keys, seen),
        *_databases(wanted, seen),
        *(_for_all(text, text) for text in seen["less"]),
        *(one for name in wanted.postgres.databases for one in _inside(wanted, name, seen)),
        *_own_extensions(seen),
    ]


def _roles(wanted: Shape, keys: Mapping[str, SecretStr], seen: DatabasesState) -> Iterator[Statement]:
    for name in wanted.postgres.roles:
        role = seen["roles"].get(name)
        key = keys[name].get_secret_value()
        limit = _limit(wanted, name)
        plain = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS"
        if role is None:
            yield _for_all(
                f"CREATE ROLE {_id(name)} {plain} CONNECTION LIMIT {limit} PASSWORD {inside.quoted_text(key)}",
                f"make role {name}",
            )
            yield _for_all(f"COMMENT ON ROLE {_id(name)} IS {inside.quoted_text(MARK)}", f"mark role {name}")
            continue
        if not role["ours"]:
            yield _for_all(f"COMMENT ON ROLE {_id(name)} IS {inside.quoted_text(MARK)}", f"take over role {name}")
        if not _has(keys[name], role["digest"]):
            yield _for_all(f"ALTER ROLE {_id(name)} PASSWORD {inside.quoted_text(key)}", f"set the password of {name}")
        if not role["login"] or role["powers"] or role["limit"] != limit:
            yield _for_all(f"ALTER ROLE {_id(name)} {plain} CONNECTION LIMIT {limit}", f"set what {name} is")
        for group in role["member_of"]:
            yield _for_all(f"REVOKE {_id(group)} FROM {_id(name)}", f"take {name} out of {group}")
    for name, role in seen["roles"].items():
        if role["ours"] and role["login"] and name not in wanted.postgres.roles:
            yield _for_all(f"ALTER ROLE {_id(name)} NOLOGIN", f"{name} is not declared any more: it cannot log in")


def _databases(wanted: Shape, seen: DatabasesState) -> Iterator[Statement]:
    for name, database in wanted.postgres.databases.items():
        owner = database.owner
        there = seen["databases"].get(name)
        if there is None:
            yield _for_all(f"CREATE DATABASE {_id(name)} OWNER {_id(owner)}", f"make database {name}")
        elif there["owner"] != owner:
            yield _for_all(f"ALTER DATABASE {_id(name)} OWNER TO {_id(owner)}", f"{name} belongs to {owner}")


def _inside(wanted: Shape, name: str, seen: DatabasesState) -> Iterator[Statement]:
    """Extensions, and the rights: by one statement, which finds out by itself what is to be done in a new database."""
    database, there = wanted.postgres.databases[name], seen["inside"].get(name)
    for extension in database.extensions:
        if there is None or extension not in there["extensions"]:
            yield Statement(
                name, f"CREATE EXTENSION {_id(extension)} SCHEMA public", f"extension {extension} in {name}"
            )
    if there is None or there["plan"]:
        lines = there["plan"] if there else [f"schemas and rights of {name}"]
        more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        yield Statement(name, inside.statement(database), "\n".join([*lines[:_SHOWN], *more]))


def _own_extensions(seen: DatabasesState) -> Iterator[Statement]:
    """Statistics of statements, for people who look; in the database that is nobody's."""
    there = (seen["inside"].get("postgres") or {"extensions": []})["extensions"]
    for extension in ("pg_stat_statements", "pgaudit"):
        if extension not in there:
            yield Statement("postgres", f"CREATE EXTENSION {extension} SCHEMA public", f"extension {extension}")


def _limit(wanted: Shape, role: str) -> int:
    """On all sites together, in all its databases."""
    databases = wanted.postgres.databases.values()
    return wanted.sites * sum(database.most_connections for database in databases if role in database.roles)


def _has(key: SecretStr, digest: str) -> bool:
    """Whether a role with this digest of its verifier has this one. Patroni's own comes with a salt of its own."""
    return hashlib.sha256(key.get_secret_value().encode()).hexdigest() == digest


def _for_all(text: str, shown: str) -> Statement:
    return Statement("postgres", text, shown)


def _id(name: str) -> str:
    """An identifier, quoted (PostgreSQL 17 manual, 4.1.1)."""
    return '"' + name.replace('"', '""') + '"'
