"""Roles and rights as PostgreSQL's catalogue has them, and whether they are what the settings declare.

Read whole and compared here, with nothing taken from the deploy: what it does not see must be seen by somebody. What a
right is for whom follows from the stack file's words: an owner may do all, a writer reads and writes rows, a reader
reads rows (PostgreSQL 17 manual, 5.8). Looked at are schema `public` and what the owner makes later; other schemas,
columns, functions and parameters are not yet declared anywhere.
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
  'databases', (select json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba),
      'grants', array(select {_GRANT} from aclexplode(coalesce(datacl, acldefault('d', datdba))) a
        where a.grantee <> datdba order by 1)))
    from pg_database where datname not in ('template0', 'template1')))::text
"""

# everything of one kind with one owner and one set of rights is one row with an example: there may be thousands
IN_A_DATABASE = f"""
with things as (
  select case relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass::text as name,
    relowner as owner, array(select {_GRANT} from aclexplode(
      coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) a
      where a.grantee <> relowner order by 1) as grants, 'pg_class'::regclass as catalogue, c.oid as id
  from pg_class c where relnamespace = to_regnamespace('public') and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select 'routine', oid::regprocedure::text, proowner, null, 'pg_proc'::regclass, oid
  from pg_proc where pronamespace = to_regnamespace('public')
  union all
  -- composite types are their relation's; array types and those of tables come with something else
  select 'type', t.oid::regtype::text, typowner, null, 'pg_type'::regclass, t.oid
  from pg_type t left join pg_class c on c.oid = typrelid
  where typnamespace = to_regnamespace('public') and (typtype in ('e', 'd', 'r') or c.relkind = 'c')
)
select json_build_object(
  'extensions', array(select extname from pg_extension order by 1),
  'schema', (select json_build_object('owner', pg_get_userbyid(nspowner), 'grants', array(
      select {_GRANT} from aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
      where a.grantee <> nspowner order by 1))
    from pg_namespace where nspname = 'public'),
  'things', coalesce((select json_agg(t) from (
      select kind, pg_get_userbyid(owner) as owner, grants, min(name) as name from things
      where not exists (select from pg_depend where classid = catalogue and objid = id and deptype = 'e')
      group by 1, 2, 3 order by 1, 2, 3) t), '[]'),
  'later', coalesce((select json_agg(json_build_object(
      'maker', pg_get_userbyid(defaclrole), 'kind', case defaclobjtype when 'S' then 'sequence' else 'table' end,
      'schema', case defaclnamespace when 0 then '' else defaclnamespace::regnamespace::text end,
      'grants', array(select {_GRANT} from aclexplode(defaclacl) a where a.grantee <> defaclrole order by 1)))
    from pg_default_acl where defaclobjtype in ('r', 'S')), '[]'))::text
"""

_SCRAM = "SCRAM-SHA-256"
# the platform's own, with what each is for; rewinder's rights are on four functions (pg_rewind, "Notes")
_OWN = {"postgres": ("superuser",), "replicator": ("replication",), "rewinder": ()}
# by this comment a deploy knows a role of its making: who has it and is not declared any more loses the login
_COMMENT = "made by bastide"
# what one who may write needs of a sequence to insert (9.17: nextval takes USAGE), and one who may read of its state
_RIGHTS: dict[str, dict[Right, tuple[str, ...]]] = {
    "table": {"writer": ("SELECT", "INSERT", "UPDATE", "DELETE"), "reader": ("SELECT",)},
    "sequence": {"writer": ("USAGE", "SELECT"), "reader": ("SELECT",)},
}


def roles_differ(there: dict[str, dict[str, Any]], postgres: Postgres, sites: int) -> str:
    """Why the roles are not the declared ones; "" when they are. `sites`: how many have a pool of connections."""
    declared = set(postgres.roles)
    for name, role in there.items():
        powers = sorted([*role["powers"], *(["superuser"] if role["super"] else [])])
        if name == "postgres":
            # made by initdb with all powers; it has no password, and no way in but the socket
            powers = [word for word in powers if word == "superuser"]
        if name not in declared and name not in _OWN and role["login"]:
            return f"a role that nobody declared may log in{' as a superuser' if role['super'] else ''}: {name}"
        if powers != list(_OWN.get(name, ())):
            return f"{name} may do more than is declared: {', '.join(powers) or 'nothing'}"
        if role["groups"]:
            return f"{name} has the rights of {', '.join(role['groups'])}"
        if role["login"] and name != "postgres" and role["password"] != _SCRAM:
            return f"the password of {name} is kept as {role['password']}"
        if name in declared and role["limit"] != (limit := _connections(postgres, name) * sites):
            return f"{name} may open {role['limit']} connections, not {limit}"
        if name in declared and role["comment"] != _COMMENT:
            return f"{name} is not marked as made by the platform, and would keep its login when it is not declared"
    missing = sorted((declared | set(_OWN)) - {name for name, role in there.items() if role["login"]})
    return f"no role that may log in: {missing[0]}" if missing else ""


def rights_differ(postgres: Postgres, seen: dict[str, Any]) -> list[str]:
    """Each right that is one too many or missing, in words. `seen`: what the first query gave, and what the second one
    gave by database as `inside`."""
    found = [f"there is no database {name}" for name in postgres.databases if name not in seen["databases"]]
    for name, database in postgres.databases.items():
        if name in seen["databases"]:
            found += _in_database(name, database, seen["databases"][name], seen["inside"][name])
    found += [
        f"a database that nobody declared: {name}" for name in {*seen["databases"]} - {"postgres", *postgres.databases}
    ]
    # statistics for people who look, and the log of changes
    return [*found, *_without(("pg_stat_statements", "pgaudit"), "postgres", seen["inside"].get("postgres"))]


def _in_database(
    name: str, declared: Database, outside: dict[str, Any], inside: dict[str, Any] | None
) -> Iterator[str]:
    owner = next(role for role, right in declared.roles.items() if right == "owner")
    guests: dict[str, Right] = {role: right for role, right in declared.roles.items() if right != "owner"}
    if outside["owner"] != owner:
        yield f"{name} belongs to {outside['owner']}, not to {owner}"
    connect = {f"CONNECT {role}" for role in guests}
    # whose it is, or a superuser, may connect all the same
    yield from _more(outside["grants"], {*connect, f"CONNECT {owner}", "CONNECT postgres"}, f"on {name}")
    yield from _less(outside["grants"], connect, f"on {name}")
    yield from _without(declared.extensions, name, inside)
    if not inside or not inside["schema"]:
        yield f"{name} does not say who may do what in its schema public"
        return
    if inside["schema"]["owner"] not in ("pg_database_owner", owner):
        yield f"the schema public of {name} belongs to {inside['schema']['owner']}"
    usage = {f"USAGE {role}" for role in guests}
    yield from _more(inside["schema"]["grants"], usage, f"in {name}")
    yield from _less(inside["schema"]["grants"], usage, f"in {name}")
    for thing in inside["things"]:
        yield from _on_thing(thing, owner, guests, name)
    for kind in _RIGHTS:
        yield from _later([one for one in inside["later"] if one["kind"] == kind], kind, owner, guests, name)


def _on_thing(thing: dict[str, Any], owner: str, guests: dict[str, Right], database: str) -> Iterator[str]:
    """What there is, one of a kind: whose it is, and who may do what with it."""
    kind = thing["kind"]
    where = f"{kind} {thing['name']} of {database}"
    # what people make as superuser stays theirs, and is for nobody until they grant it
    if thing["owner"] not in (owner, "postgres"):
        yield f"{where} belongs to {thing['owner']}, not to {owner}"
    if kind in _RIGHTS:
        yield from _more(thing["grants"], _wanted(kind, guests), f"on {where}")
    if kind in _RIGHTS and thing["owner"] == owner:
        yield from _less(thing["grants"], _wanted(kind, guests), f"on {where}")


def _later(rows: list[dict[str, Any]], kind: str, owner: str, guests: dict[str, Right], database: str) -> Iterator[str]:
    """What others will get of what the owner makes from now on (5.7, "ALTER DEFAULT PRIVILEGES")."""
    own = [row for row in rows if row["maker"] == owner]
    where = f"on future {kind}s of {database}"
    yield from _more({grant for row in own for grant in row["grants"]}, _wanted(kind, guests), where)
    # those of a schema add to those without one
    there = {grant for row in own if row["schema"] in ("", "public") for grant in row["grants"]}
    yield from _less(there, _wanted(kind, guests), where)


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
