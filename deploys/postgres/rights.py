"""Roles, databases and rights: what is wanted, what is there, and the statements between the two. Pure.

What the stack file does not name is never dropped: a database that is taken out stays, its roles can no longer log in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from bastide import cluster
from bastide.secrets import Keyring
from bastide.settings import Postgres
from bastide.settings.postgres import Right
from deploys.facts.postgres import DatabasesRequest, DatabasesState, Inside

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
  'databases', coalesce((select json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba),
      'connect', array(select case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end
        from aclexplode(coalesce(datacl, acldefault('d', datdba))) where privilege_type = 'CONNECT'),
      'more', array(select case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end
          || ' ' || privilege_type
        from aclexplode(coalesce(datacl, acldefault('d', datdba)))
        where privilege_type <> 'CONNECT' and grantee <> datdba)))
    from pg_database where not datistemplate), '{}'::json))::text
""".replace("@MARK@", MARK)
# what somebody made in the schema, and whose it is: sequences of a table go with that, and extensions keep theirs
_OWNED = """
  select 'table' as kind, c.oid::regclass::text as name, relowner as owner
  from pg_class c join pg_namespace n on n.oid = relnamespace
  where nspname = 'public' and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
      and (d.deptype = 'e' or (relkind = 'S' and d.deptype in ('a', 'i'))))
  union all select 'routine', p.oid::regprocedure::text, proowner
  from pg_proc p join pg_namespace n on n.oid = pronamespace
  where nspname = 'public' and not exists (
    select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  union all select 'type', t.oid::regtype::text, typowner
  from pg_type t join pg_namespace n on n.oid = typnamespace
  where nspname = 'public' and typtype in ('e', 'd', 'r') and not exists (
    select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
"""
# relations of the kinds that hold rows, and sequences; the schemas that are not PostgreSQL's own
_INSIDE = """
select json_build_object(
  'extensions', array(select extname from pg_extension),
  'schema_owner', (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'public'),
  'schema', array(select case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end || ' ' || privilege_type
     from pg_namespace n, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
     where nspname = 'public' and grantee <> nspowner),
  'tables', array(select distinct case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end
       || ' ' || privilege_type || case when relkind = 'S' then ' sequence' else '' end
     from pg_class c join pg_namespace n on n.oid = c.relnamespace,
       aclexplode(coalesce(relacl, acldefault(case when relkind = 'S' then 's' else 'r' end::"char", relowner)))
     where nspname = 'public' and relkind in ('r', 'p', 'v', 'm', 'S') and grantee <> relowner
       and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')),
  'owners', array(select distinct pg_get_userbyid(owner) from (@OWNED@) as owned),
  'bare', (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where nspname = 'public' and relkind in ('r', 'p', 'v', 'm', 'S') and relacl is null
       and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')),
  'later', array(select pg_get_userbyid(defaclrole) || ': ' ||
       case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end || ' ' || privilege_type
       || case when defaclobjtype = 'S' then ' sequence' else '' end
     from pg_default_acl, aclexplode(defaclacl)
     where defaclobjtype in ('r', 'S') and grantee <> defaclrole))::text
""".replace("@OWNED@", _OWNED)
_ROWS: dict[Right, tuple[str, ...]] = {
    "owner": (),
    "writer": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "reader": ("SELECT",),
}
_SEQUENCES: dict[Right, tuple[str, ...]] = {"owner": (), "writer": ("USAGE", "SELECT"), "reader": ("SELECT",)}


@dataclass(frozen=True)
class Statement:
    """One statement of SQL, and the database that it is for. `text` may hold a verifier: it is never shown."""

    database: str
    text: str
    shown: str


@dataclass(frozen=True)
class Shape:
    """What is wanted, without a secret. `sites`: how many have a pool that comes with its own connections."""

    postgres: Postgres
    sites: int
    names: tuple[str, ...] = field(default=())

    @property
    def asked(self) -> DatabasesRequest:
        """What the machine is asked."""
        return {"query": _QUERY, "inside": _INSIDE, "names": list(self.names)}


def shape(postgres: Postgres, sites: int) -> Shape:
    """The shape that the settings say, for a cluster of so many sites."""
    return Shape(postgres, sites, ("postgres", *postgres.databases))


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
        _for_all(f"ALTER ROLE {_id(name)} PASSWORD {_text(key.get_secret_value())}", f"set the password of {name}")
        for name, key in keys.items()
        if (digest := (seen["own"] or {}).get(name)) is not None and not _has(key, digest)
    ]


def statements(wanted: Shape, keys: Mapping[str, SecretStr], seen: DatabasesState) -> list[Statement]:
    """What makes it so, in order. `seen` is the leader's answer."""
    return [
        *_roles(wanted, keys, seen),
        *_databases(wanted, seen),
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
                f"CREATE ROLE {_id(name)} {plain} CONNECTION LIMIT {limit} PASSWORD {_text(key)}", f"make role {name}"
            )
            yield _for_all(f"COMMENT ON ROLE {_id(name)} IS {_text(MARK)}", f"mark role {name}")
            continue
        if not role["ours"]:
            yield _for_all(f"COMMENT ON ROLE {_id(name)} IS {_text(MARK)}", f"take over role {name}")
        if not _has(keys[name], role["digest"]):
            yield _for_all(f"ALTER ROLE {_id(name)} PASSWORD {_text(key)}", f"set the password of {name}")
        if not role["login"] or role["powers"] or role["limit"] != limit:
            yield _for_all(f"ALTER ROLE {_id(name)} {plain} CONNECTION LIMIT {limit}", f"set what {name} is")
        for group in role["member_of"]:
            yield _for_all(f"REVOKE {_id(group)} FROM {_id(name)}", f"take {name} out of {group}")
    for name, role in seen["roles"].items():
        if role["ours"] and role["login"] and name not in wanted.postgres.roles:
            yield _for_all(f"ALTER ROLE {_id(name)} NOLOGIN", f"{name} is not declared any more: it cannot log in")


def _databases(wanted: Shape, seen: DatabasesState) -> Iterator[Statement]:
    for name, database in wanted.postgres.databases.items():
        owner = next(role for role, right in database.roles.items() if right == "owner")
        there = seen["databases"].get(name)
        if there is None:
            yield _for_all(f"CREATE DATABASE {_id(name)} OWNER {_id(owner)}", f"make database {name}")
            there = {"owner": owner, "connect": ["public", owner], "more": ["public TEMPORARY"]}
        elif there["owner"] != owner:
            yield _for_all(f"ALTER DATABASE {_id(name)} OWNER TO {_id(owner)}", f"{name} belongs to {owner}")
        extra = {*there["connect"], *(line.rpartition(" ")[0] for line in there["more"])} - {
            *database.roles,
            "postgres",
        }
        extra |= {line.rpartition(" ")[0] for line in there["more"]}
        for role in sorted(extra - {owner}):
            yield _for_all(
                f"REVOKE ALL ON DATABASE {_id(name)} FROM {_grantee(role)}", f"{role} has no right on {name}"
            )
        for role in database.roles:
            if role not in there["connect"] or (role in extra and role != owner):
                yield _for_all(f"GRANT CONNECT ON DATABASE {_id(name)} TO {_id(role)}", f"{role} may connect to {name}")


def _inside(wanted: Shape, name: str, seen: DatabasesState) -> Iterator[Statement]:
    database = wanted.postgres.databases[name]
    owner = next(role for role, right in database.roles.items() if right == "owner")
    # a database that is made in this run is PostgreSQL's default one inside
    fresh: Inside = {
        "extensions": ["plpgsql"],
        "schema_owner": "pg_database_owner",
        "schema": ["public USAGE"],
        "tables": [],
        "owners": [],
        "bare": 0,
        "later": [],
    }
    there = seen["inside"].get(name) or fresh
    for extension in database.extensions:
        if extension not in there["extensions"]:
            yield Statement(name, f"CREATE EXTENSION {_id(extension)}", f"extension {extension} in {name}")
    if there["schema_owner"] not in ("pg_database_owner", owner):
        yield Statement(name, "ALTER SCHEMA public OWNER TO pg_database_owner", f"{name}'s schema is its owner's")
    # whoever owned the database before made what is in it; people's own work as superuser stays theirs
    if former := sorted(set(there["owners"]) - {owner, "postgres"}):
        yield Statement(name, _handed_over(owner), f"{owner} has what {', '.join(former)} made in {name}")
    guests: dict[str, Right] = {role: right for role, right in database.roles.items() if right != "owner"}
    for line in _surplus(there["schema"], {f"{role} USAGE" for role in guests}):
        role, _, right = line.rpartition(" ")
        yield Statement(name, f"REVOKE {right} ON SCHEMA public FROM {_grantee(role)}", f"{role}: no {right} in {name}")
    for role in guests:
        if f"{role} USAGE" not in there["schema"]:
            yield Statement(name, f"GRANT USAGE ON SCHEMA public TO {_id(role)}", f"{role} may use {name}")
    yield from _rows(name, owner, guests, there)


def _rows(name: str, owner: str, guests: dict[str, Right], there: Inside) -> Iterator[Statement]:
    """Rights on what is there, and on what the owner will make."""
    for kind, words, rights in (("TABLES", "", _ROWS), ("SEQUENCES", " sequence", _SEQUENCES)):
        asked = {f"{role} {word}{words}" for role, right in guests.items() for word in rights[right]}
        mine = [line for line in there["tables"] if line.endswith(" sequence") == bool(words)]
        for line in _surplus(mine, asked):
            role, right = line.removesuffix(" sequence").rsplit(" ", 1)
            text = f"REVOKE {right} ON ALL {kind} IN SCHEMA public FROM {_grantee(role)}"
            yield Statement(name, text, f"{role}: no {right} on {kind.lower()} of {name}")
        later = {line.removeprefix(f"{owner}: ") for line in there["later"] if line.startswith(f"{owner}: ")}
        later = {line for line in later if line.endswith(" sequence") == bool(words)}
        for line in _surplus(sorted(later), asked):
            role, right = line.removesuffix(" sequence").rsplit(" ", 1)
            text = f"ALTER DEFAULT PRIVILEGES FOR ROLE {_id(owner)} REVOKE {right} ON {kind} FROM {_grantee(role)}"
            yield Statement(name, text, f"{role}: no {right} on future {kind.lower()} of {name}")
        for role, right in guests.items():
            own = {f"{role} {word}{words}" for word in rights[right]}
            list_ = ", ".join(rights[right])
            if not own <= later:
                given = f"GRANT {list_} ON"
                text = f"ALTER DEFAULT PRIVILEGES FOR ROLE {_id(owner)} IN SCHEMA public {given} {kind} TO {_id(role)}"
                yield Statement(name, text, f"{role}: {right} of future {kind.lower()} of {name}")
                text = f"{given} ALL {kind} IN SCHEMA public TO {_id(role)}"
                yield Statement(name, text, f"{role}: {right} of {kind.lower()} of {name}")


def _handed_over(owner: str) -> str:
    return f"""DO $do$ DECLARE one record; BEGIN
  FOR one IN SELECT kind, name FROM ({_OWNED}) AS owned
    WHERE pg_get_userbyid(owner) NOT IN ('postgres', {_text(owner)}) LOOP
    EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.name, {_text(owner)});
  END LOOP; END $do$"""  # noqa: S608 - our own text and a quoted name


def _own_extensions(seen: DatabasesState) -> Iterator[Statement]:
    """Statistics of statements, for people who look; in the database that is nobody's."""
    there = (seen["inside"].get("postgres") or {"extensions": []})["extensions"]
    for extension in ("pg_stat_statements", "pgaudit"):
        if extension not in there:
            yield Statement("postgres", f"CREATE EXTENSION {extension}", f"extension {extension}")


def _limit(wanted: Shape, role: str) -> int:
    """On all sites together, in all its databases."""
    databases = wanted.postgres.databases.values()
    return wanted.sites * sum(database.most_connections for database in databases if role in database.roles)


def _has(key: SecretStr, digest: str) -> bool:
    """Whether a role with this digest of its verifier has this one. Patroni's own comes with a salt of its own."""
    return hashlib.sha256(key.get_secret_value().encode()).hexdigest() == digest


def _surplus(there: list[str], asked: set[str]) -> list[str]:
    return sorted(set(there) - asked)


def _for_all(text: str, shown: str) -> Statement:
    return Statement("postgres", text, shown)


def _grantee(role: str) -> str:
    return "PUBLIC" if role == "public" else _id(role)


def _id(name: str) -> str:
    """An identifier, quoted (PostgreSQL 17 manual, 4.1.1)."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    """A string constant; backslashes mean themselves (standard_conforming_strings is on since 9.1)."""
    return "'" + value.replace("'", "''") + "'"
