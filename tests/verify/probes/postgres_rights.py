"""Roles and rights as PostgreSQL's catalogue has them, and whether they are what the settings declare.

Read whole and compared here, with nothing taken from the deploy: what it does not see must be seen by somebody. What a
right is for whom follows from the stack file's words: an owner may do all, a writer reads and writes rows, a reader
reads rows (PostgreSQL 17 manual, 5.8), in the declared schemas; in any other schema nobody has a right but whose it is.
What extensions brought is theirs. Functions that run as a superuser are for superusers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bastide.settings import Postgres
from bastide.settings.postgres import Database, Right

# a right of anybody but the owner, as "PRIVILEGE role"; a star for the right to hand it on
_GRANT = """a.privilege_type || case when a.is_grantable then '*' else '' end || ' ' ||
    case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end"""

# PostgreSQL 17 manual, 52.8 (pg_authid) and 9.27; of a password only how it is kept
IN_THE_CLUSTER = f"""
select json_build_object(
  'roles', (select json_object_agg(rolname, json_build_object(
      'login', rolcanlogin, 'super', rolsuper, 'limit', rolconnlimit,
      'comment', coalesce(shobj_description(r.oid, 'pg_authid'), ''),
      'powers', array_remove(array[case when rolcreaterole then 'createrole' end, case when rolcreatedb then 'createdb'
        end, case when rolreplication then 'replication' end, case when rolbypassrls then 'bypassrls' end], null),
      'groups', array(select pg_get_userbyid(roleid) from pg_auth_members where member = r.oid),
      'password', case when rolpassword is null then 'none' else split_part(rolpassword, '$', 1) end))
    from pg_authid r where not starts_with(rolname, 'pg_')),
  'parameters', array(select {_GRANT} || ' on ' || parname from pg_parameter_acl p, aclexplode(paracl) a
    where a.grantee not in (select oid from pg_authid where rolsuper) order by 1),
  'databases', (select json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba),
      'grants', array(select {_GRANT} from aclexplode(coalesce(datacl, acldefault('d', datdba))) a
        where a.grantee <> datdba order by 1)))
    from pg_database where datname <> 'template0'),
  'tablespaces', array(select {_GRANT} || ' on ' || spcname from pg_tablespace, aclexplode(spcacl) a
    where a.grantee <> spcowner and a.grantee not in (select oid from pg_authid where rolsuper) order by 1))::text
"""

# everything of one kind with one owner and one set of rights is one row with an example: there may be thousands
IN_A_DATABASE = f"""
with extended as (select classid, objid from pg_depend where deptype = 'e'),
supers as (select oid from pg_roles where rolsuper),
schemas as (
  select n.oid, nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) as acl from pg_namespace n
  where nspname !~ '^pg_' and nspname <> 'information_schema'
    and not exists (select from extended where classid = 'pg_namespace'::regclass and objid = n.oid)),
things as (
  select nspname as schema, case relkind when 'S' then 'sequence' else 'table' end as kind,
    format('%I.%I', nspname, relname) as name, relowner as owner, array(select {_GRANT} from aclexplode(
      coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) a
      where a.grantee <> relowner and a.grantee not in (select oid from supers) order by 1) as grants,
    'pg_class'::regclass as catalogue, c.oid as id
  from pg_class c join schemas s on relnamespace = s.oid where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select nspname, 'routine', format('%s', p.oid::regprocedure), proowner, null, 'pg_proc'::regclass, p.oid
  from pg_proc p join schemas s on pronamespace = s.oid
  union all
  -- array types and those of tables come with something else
  select nspname, 'type', format('%s', t.oid::regtype), typowner, null, 'pg_type'::regclass, t.oid
  from pg_type t join schemas s on typnamespace = s.oid left join pg_class c on c.oid = typrelid
  where typtype in ('e', 'd', 'r') or c.relkind = 'c'
)
select json_build_object(
  'extensions', array(select extname from pg_extension order by 1),
  'schemas', (select json_object_agg(nspname, json_build_object(
      'owner', pg_get_userbyid(nspowner), 'grants', array(
      select {_GRANT} from aclexplode(acl) a
      where a.grantee <> nspowner and a.grantee not in (select oid from supers) order by 1))) from schemas),
  'things', coalesce((select json_agg(t) from (
      select schema, kind, pg_get_userbyid(owner) as owner, grants, min(name) as name from things
      where not exists (select from extended where classid = catalogue and objid = id)
      group by 1, 2, 3, 4 order by 1, 2, 3, 4) t), '[]'),
  'columns', array(select {_GRANT} || ' on ' || format('%I.%I (%I)', nspname, relname, attname)
    from pg_attribute join pg_class c on c.oid = attrelid join schemas s on s.oid = relnamespace, aclexplode(attacl) a
    where not attisdropped and a.grantee <> relowner and a.grantee not in (select oid from supers) order by 1),
  'superusers_own', array(select format('%s', p.oid::regprocedure)
    from pg_proc p join schemas s on s.oid = pronamespace
    where prosecdef and proowner in (select oid from supers)
      and not exists (select from extended where classid = 'pg_proc'::regclass and objid = p.oid)
      and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a
        where a.privilege_type = 'EXECUTE' and a.grantee not in (select oid from supers)) order by 1),
  'large', array(select distinct {_GRANT} from pg_largeobject_metadata m, aclexplode(lomacl) a
    where a.grantee <> lomowner and a.grantee not in (select oid from supers) order by 1),
  'publications', array(select format('%s of %s', pubname, pg_get_userbyid(pubowner)) from pg_publication order by 1),
  'servers', array(
    select {_GRANT} || ' on the foreign server ' || srvname from pg_foreign_server, aclexplode(srvacl) a
    where a.grantee <> srvowner and a.grantee not in (select oid from supers)
    union all
    select {_GRANT} || ' on the foreign data wrapper ' || fdwname from pg_foreign_data_wrapper, aclexplode(fdwacl) a
    where a.grantee <> fdwowner and a.grantee not in (select oid from supers)
    union all
    select 'a login for public on the foreign server ' || srvname from pg_user_mappings where umuser = 0 order by 1),
  'later', coalesce((select json_agg(json_build_object(
      'maker', pg_get_userbyid(defaclrole),
      'kind', case defaclobjtype when 'S' then 'sequence' when 'n' then 'schema' else 'table' end,
      'schema', case defaclnamespace when 0 then '' else defaclnamespace::regnamespace::text end,
      'grants', array(select {_GRANT} from aclexplode(defaclacl) a where a.grantee <> defaclrole
        and a.grantee not in (select oid from supers) order by 1)))
    from pg_default_acl where defaclobjtype in ('r', 'S', 'n')), '[]'))::text
"""

_SCRAM = "SCRAM-SHA-256"
# the platform's own, with what each is for; rewinder's rights are on four functions (pg_rewind, "Notes")
_OWN = {"postgres": ("superuser",), "replicator": ("replication",), "rewinder": ()}
# what each server has from the start, for nobody (manage-ag-templatedbs of the manual)
_NOBODYS = ("postgres", "template1")
# by this comment a deploy knows a role of its making: who has it and is not declared any more loses the login
_COMMENT = "made by bastide"
# what one who may write needs of a sequence to insert (9.17: nextval takes USAGE), and one who may read of its state
_RIGHTS: dict[str, dict[Right, tuple[str, ...]]] = {
    "table": {"writer": ("SELECT", "INSERT", "UPDATE", "DELETE"), "reader": ("SELECT",)},
    "sequence": {"writer": ("USAGE", "SELECT"), "reader": ("SELECT",)},
}


def roles_differ(there: dict[str, dict[str, Any]], postgres: Postgres, sites: int) -> Iterator[str]:
    """Each reason why the roles are not the declared ones. `sites`: how many have a pool of connections."""
    declared = set(postgres.roles)
    for name, role in there.items():
        powers = sorted([*role["powers"], *(["superuser"] if role["super"] else [])])
        if name == "postgres":
            # made by initdb with all powers; it has no password, and no way in but the socket
            powers = [word for word in powers if word == "superuser"]
        if name not in declared and name not in _OWN and role["login"]:
            yield f"a role that nobody declared may log in{' as a superuser' if role['super'] else ''}: {name}"
            continue
        if powers != list(_OWN.get(name, ())):
            yield f"{name} may do more than is declared: {', '.join(powers) or 'nothing'}"
        if role["groups"]:
            yield f"{name} has the rights of {', '.join(role['groups'])}"
        if role["login"] and name != "postgres" and role["password"] != _SCRAM:
            yield f"the password of {name} is kept as {role['password']}"
        if name in declared and role["limit"] != (limit := _connections(postgres, name) * sites):
            yield f"{name} may open {role['limit']} connections, not {limit}"
        if name in declared and role["comment"] != _COMMENT:
            yield f"{name} is not marked as made by the platform, and would keep its login when it is not declared"
    missing = sorted((declared | set(_OWN)) - {name for name, role in there.items() if role["login"]})
    yield from (f"no role that may log in: {name}" for name in missing)


def rights_differ(postgres: Postgres, seen: dict[str, Any]) -> list[str]:
    """Each right that is one too many or missing, in words. `seen`: what the first query gave, and what the second one
    gave by database as `inside`."""
    found = [f"there is no database {name}" for name in postgres.databases if name not in seen["databases"]]
    for name, database in postgres.databases.items():
        if name in seen["databases"]:
            found += in_database(name, database, seen["databases"][name], seen["inside"][name])
    found += [
        f"a database that nobody declared: {name}"
        for name in sorted({*seen["databases"]} - {*_NOBODYS, *postgres.databases})
    ]
    for what in ("parameter", "tablespace"):
        found += [f"on a {what}, which nobody declared: {text}" for text in seen.get(f"{what}s", ())]
    for name, inside in seen["inside"].items():
        for kind, where in (("large", " on large objects"), ("servers", "")):
            found += [f"{text}{where} in {name}, which nobody declared" for text in (inside or {}).get(kind, ())]
        found += [
            f"a publication that nobody declared: {one}, in {name}" for one in (inside or {}).get("publications", ())
        ]
    for name in _NOBODYS:
        if name in seen["databases"]:
            found += nobodys(name, seen["databases"][name], seen["inside"].get(name))
    # statistics for people who look, and the log of changes
    return [*found, *_without(("pg_stat_statements", "pgaudit"), "postgres", seen["inside"].get("postgres"))]


def nobodys(name: str, outside: dict[str, Any], inside: dict[str, Any] | None) -> Iterator[str]:
    """Each right in a database that nobody is declared for and that each server has: `postgres`, and the one that every
    new one is a copy of. Everybody may come and look into the schema that it was made with, and nobody may make
    anything."""
    made = {"CONNECT public", "TEMPORARY public", "CONNECT rewinder"}
    yield from _more(outside["grants"], made, f"on {name}")
    if not inside or not inside["schemas"]:
        yield f"{name} does not say who may do what in its schemas"
        return
    for schema, found in inside["schemas"].items():
        looks = {"USAGE public"} if schema == "public" else set()
        yield from (f"{text} on the schema {schema} of {name}" for text in sorted({*found["grants"]} - looks))
    for thing in inside["things"]:
        where = f"{thing['kind']} {thing['name'].removeprefix('public.')} of {name}"
        yield from (f"{text} on {where}" for text in thing["grants"] or ())
    yield from (f"{text}, of {name}" for text in inside["columns"])
    yield from (f"others may run {one} of {name}, which runs as a superuser" for one in inside["superusers_own"])
    for row in inside["later"]:
        yield from _more(row["grants"], set(), f"on future {row['kind']}s of {row['maker']} in {name}")


def in_database(name: str, declared: Database, outside: dict[str, Any], inside: dict[str, Any] | None) -> Iterator[str]:
    """Each right in one database that is one too many or missing. `outside`: its owner and grants."""
    owner = declared.owner
    guests: dict[str, Right] = {role: right for role, right in declared.roles.items() if right != "owner"}
    if outside["owner"] != owner:
        yield f"{name} belongs to {outside['owner']}, not to {owner}"
    connect = {f"CONNECT {role}" for role in guests}
    # whose it is, or a superuser, may connect all the same
    yield from _more(outside["grants"], {*connect, f"CONNECT {owner}", "CONNECT postgres"}, f"on {name}")
    yield from _less(outside["grants"], connect, f"on {name}")
    yield from _without(declared.extensions, name, inside)
    if not inside or not inside["schemas"]:
        yield f"{name} does not say who may do what in its schemas"
        return
    for schema in declared.schemas:
        if schema not in inside["schemas"]:
            yield f"there is no schema {schema} in {name}"
    for schema, found in inside["schemas"].items():
        usage = {f"USAGE {role}" for role in guests} if schema in declared.schemas else set()
        where = f"in {name}" if schema == "public" else f"in {schema} of {name}"
        owners = (owner, "pg_database_owner") if schema == "public" else (owner,)
        if schema in declared.schemas and found["owner"] not in owners:
            yield f"the schema {schema} of {name} belongs to {found['owner']}"
        # the owner may all in his schemas anyhow, and so may the role that stands for whoever owns the database
        his = (f" {owner}", " pg_database_owner") if schema in declared.schemas else ()
        yield from _more((grant for grant in found["grants"] if not grant.endswith(his)), usage, where)
        yield from _less(found["grants"], usage, where)
    for thing in inside["things"]:
        yield from _on_thing(thing, owner, guests, name, thing["schema"] in declared.schemas)
    for line in inside["columns"]:
        grant, _, column = line.rpartition(" on ")
        yield from _more([grant], set(), f"on column {column} of {name}")
    for routine in inside["superusers_own"]:
        yield f"others may run {routine} of {name}, which runs as a superuser"
    for schema in declared.schemas:
        for kind in _RIGHTS:
            yield from _later_less(inside["later"], kind, owner, guests, schema, name)
    for row in inside["later"]:
        mine = row["maker"] == owner and row["schema"] in declared.schemas and row["kind"] in _RIGHTS
        wanted = _wanted(row["kind"], guests) if mine else set()
        yield from _more(row["grants"], wanted, f"on future {row['kind']}s of {row['maker']} in {name}")


def _on_thing(
    thing: dict[str, Any], owner: str, guests: dict[str, Right], database: str, declared: bool
) -> Iterator[str]:
    """What there is, one of a kind: whose it is, and who may do what with it."""
    kind = thing["kind"]
    where = f"{kind} {thing['name'].removeprefix('public.')} of {database}"
    # what people make as superuser stays theirs, and is for nobody until they grant it
    if declared and thing["owner"] not in (owner, "postgres"):
        yield f"{where} belongs to {thing['owner']}, not to {owner}"
    if kind in _RIGHTS:
        wanted = _wanted(kind, guests) if declared and thing["owner"] == owner else set()
        yield from _more(thing["grants"], wanted, f"on {where}")
        yield from _less(thing["grants"], wanted, f"on {where}")


def _later_less(
    rows: list[dict[str, Any]], kind: str, owner: str, guests: dict[str, Right], schema: str, database: str
) -> Iterator[str]:
    """What others will get of what the owner makes from now on (5.8, "ALTER DEFAULT PRIVILEGES")."""
    there = {
        grant
        for row in rows
        if (row["maker"], row["kind"], row["schema"]) == (owner, kind, schema)
        for grant in row["grants"]
    }
    yield from _less(there, _wanted(kind, guests), f"on future {kind}s of {owner} in {database}")


def _without(extensions: Iterable[str], database: str, inside: dict[str, Any] | None) -> list[str]:
    there = inside["extensions"] if inside else ()
    return [f"there is no extension {one} in {database}" for one in extensions if one not in there]


def _wanted(kind: str, guests: dict[str, Right]) -> set[str]:
    return {f"{privilege} {role}" for role, right in guests.items() for privilege in _RIGHTS[kind][right]}


def _more(there: Iterable[str], allowed: set[str], where: str) -> Iterator[str]:
    for grant in sorted(set(there) - allowed):
        privilege, _, role = grant.partition(" ")
        yield f"{role}: no {privilege} {where}"


def _less(there: Iterable[str], wanted: set[str], where: str) -> Iterator[str]:
    for grant in sorted(wanted - set(there)):
        privilege, _, role = grant.partition(" ")
        yield f"{role}: {privilege} {where} is missing"


def _connections(postgres: Postgres, role: str) -> int:
    """How many a role may use at once on one site, in all its databases."""
    theirs = [database for database in postgres.databases.values() if role in database.roles]
    return sum(database.connections + database.session_connections for database in theirs)
