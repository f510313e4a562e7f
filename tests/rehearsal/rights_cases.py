"""Random states of a database, and whether one deploy brings each to what is declared: by trying, role by role.

A case is SQL alone, so that many of them are one session: somebody's changes to what an earlier state left, the
statement of the deploy, its plan again (which must be empty), what the proof reads, and what each role can do then, for
which nothing is looked up in the catalogue but whose a relation is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bastide.settings.postgres import Database, Right
from deploys.postgres import inside
from tests.verify.probes.postgres_rights import IN_A_DATABASE, in_database

ROLES = ("case_a", "case_b", "case_c", "case_d")
SCHEMAS = ("public", "app", "Stray")
CHANGES = 12
_ROW = {"SELECT": "select 1 from {}", "INSERT": "insert into {} default values", "DELETE": "delete from {}"}
_ROW |= {"UPDATE": "update {} set n = 1", "TRUNCATE": "truncate {}"}
_NUMBER = {"USAGE": "select nextval('{}')", "SELECT": "select last_value from {}"}
_MAY: dict[Right, frozenset[str]] = {
    "owner": frozenset({*_ROW, *_NUMBER}),
    "writer": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "USAGE"}),
    "reader": frozenset({"SELECT"}),
}

_OUTSIDE = """select json_build_object('owner', pg_get_userbyid(datdba), 'grants', array(
  select privilege_type || case when is_grantable then '*' else '' end || ' ' ||
    case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end
  from aclexplode(coalesce(datacl, acldefault('d', datdba))) where grantee <> datdba))
from pg_database where datname = current_database()"""
# what fails is no matter: a random change may make no sense. What was done is taken back by its end.
HELPERS = """
create or replace function pg_temp.attempt(who text, what text) returns void language plpgsql as $$
begin
  execute format('set local role %I', who); execute what; reset role;
exception when others then null;
end $$;
create or replace function pg_temp.can(who text, what text) returns boolean language plpgsql as $$
begin
  execute format('set local role %I', who); execute what; raise exception sqlstate 'ZZ001';
exception when sqlstate 'ZZ001' then return true; when insufficient_privilege then return false;
end $$;
"""


@dataclass(frozen=True)
class Case:
    """`seed` makes it again. `declared`: what the deploy is to reach; `script`: all of it as SQL."""

    seed: int
    declared: Database
    script: str


def case(seed: int) -> Case:
    """A case of its own: a declared state that was reached once, changes, and another declared state."""
    dice = random.Random(seed)
    before, after = _declared(dice), _declared(dice)
    owner, next_owner = before.owner, after.owner
    lines = [f"\\echo case {seed}", "begin;", HELPERS]
    lines += [f'alter database :"DBNAME" owner to {owner};', f"{inside.statement(before)};"]
    lines += [_attempt(who, what) for who, what in _changes(dice, before)]
    lines += [f'alter database :"DBNAME" owner to {next_owner};', f"{inside.statement(after)};"]
    planned = f"select coalesce(json_agg(text), '[]') from ({inside.plan(after)}) as planned"
    lines += [f"select 'left ' || ({planned});"]
    lines += [f"select 'proof ' || json_build_array(({_OUTSIDE}), ({IN_A_DATABASE})::json)::jsonb::text;"]
    lines += [_attempt(next_owner, f'create table "{schema}".later (n serial)') for schema in after.schemas]
    lines += [f"select 'tries ' || ({_tries(after)});", "rollback;"]
    return Case(seed, after, "\n".join(lines))


def judge(cases: dict[int, Case], output: str) -> list[str]:
    """What is wrong, each with the seed of its case. `output`: what psql printed for their scripts."""
    wrong, judged, current = [], 0, cases[next(iter(cases))]
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word == "case":
            current = cases[int(rest)]
        elif word == "left" and json.loads(rest):
            wrong.append(f"case {current.seed}: a second deploy would do: {json.loads(rest)[:3]}")
        elif word == "proof":
            outside, inner = json.loads(rest)
            found = list(in_database("it", current.declared, outside, inner))
            wrong += [f"case {current.seed}: the proof says {one}" for one in found]
        elif word == "tries":
            judged += 1
            wrong += [f"case {current.seed}: {one}" for one in _differing(current.declared, json.loads(rest))]
        elif line.startswith("ERROR") or "ERROR:" in line:
            wrong.append(f"case {current.seed}: {line}")
    if judged != len(cases):
        wrong.append(f"{judged} of {len(cases)} cases came to their end")
    return wrong


def _declared(dice: random.Random) -> Database:
    """One owner, the others guests or nobody; one schema or two."""
    owner, *others = dice.sample(ROLES, len(ROLES))
    kinds: tuple[Right, ...] = ("writer", "reader")
    guests = {role: dice.choice(kinds) for role in others[: dice.randrange(len(ROLES))]}
    schemas = dice.sample(SCHEMAS[:2], dice.randint(1, 2))
    return Database.model_validate({"roles": {owner: "owner", **guests}, "schemas": tuple(schemas)})


def _changes(dice: random.Random, before: Database) -> Iterator[tuple[str, str]]:
    """Who does what: migrations by the owner, and what people do by hand."""
    tables = [f'"{schema}".t{number}' for schema in SCHEMAS for number in range(2)]
    yield "postgres", 'create schema if not exists "Stray"'
    yield "postgres", f'grant create, usage on schema "Stray" to {", ".join(ROLES)}'
    for table in tables:
        maker = dice.choice((before.owner, before.owner, "postgres", *ROLES))
        yield maker, f"create table {table} (n serial, secret text)"
    for _ in range(dice.randint(3, CHANGES)):
        table, role, other = dice.choice(tables), dice.choice((*ROLES, "public")), dice.choice(ROLES)
        schema = f'"{dice.choice(SCHEMAS)}"'
        right = dice.choice(("select", "insert", "update", "delete", "truncate", "references", "trigger", "all"))
        option = dice.choice(("", "", " with grant option"))
        scope = dice.choice(("", f" in schema {schema}"))
        kind = dice.choice((("tables", right), ("sequences", dice.choice(("usage", "select", "update", "all")))))
        anybody = dice.choice(("postgres", before.owner, *ROLES))
        yield dice.choice(
            (
                ("postgres", f"grant {right} on {table} to {role}{'' if role == 'public' else option}"),
                ("postgres", f"revoke {right} on {table} from {role}"),
                (anybody, f"grant {right} on {table} to {other}"),
                ("postgres", f"grant select (secret), update (n) on {table} to {role}"),
                ("postgres", f"alter table {table} owner to {other}"),
                ("postgres", f"grant {dice.choice(('create', 'usage', 'all'))} on schema {schema} to {role}"),
                ("postgres", f"revoke all on schema {schema} from {role}"),
                ("postgres", f"alter schema {schema} owner to {other}"),
                ("postgres", f"grant all on all sequences in schema {schema} to {role}"),
                (
                    "postgres",
                    f"alter default privileges for role {other}{scope} grant {kind[1]} on {kind[0]} to {role}",
                ),
                ("postgres", f"alter default privileges for role {other}{scope} revoke all on {kind[0]} from {role}"),
                (
                    "postgres",
                    f'grant {dice.choice(("create", "temporary", "connect", "all"))} on database :"DBNAME" to {role}',
                ),
                ("postgres", f'revoke connect on database :"DBNAME" from {role}'),
                (other, f"create type {schema}.kind{dice.randrange(9)} as (n int)"),
                (other, f"create function {schema}.f{dice.randrange(9)}() returns int language sql as 'select 1'"),
                (anybody, f"create view {schema}.v{dice.randrange(9)} as select n from {table}"),
                ("postgres", f"revoke all on {table} from {before.owner}"),
            )
        )


def _attempt(who: str, what: str) -> str:
    # psql puts the database's name in, where a name is quoted inside of a text it cannot
    quoted = what.replace("'", "''").replace(':"DBNAME"', "' || quote_ident(current_database()) || '")
    return f"select pg_temp.attempt('{who}', '{quoted}');"


def _tries(declared: Database) -> str:
    """JSON of what was tried: [role, schema, kind, owner, right, whether he can], and [role, schema, CREATE, ...]."""
    rows = " union all ".join(f"select 'table', '{right}', $t${text}$t$" for right, text in _ROW.items())
    numbers = " union all ".join(f"select 'sequence', '{right}', $t${text}$t$" for right, text in _NUMBER.items())
    roles = ", ".join(f"('{role}')" for role in ROLES)
    return f"""select json_agg(json_build_array(who, nspname, kind, pg_get_userbyid(relowner), what, relname,
        pg_temp.can(who, replace(how, '{{}}', format('%I.%I', nspname, relname)))))
      from (values {roles}) as r(who), ({rows} union all {numbers}) as h(kind, what, how),
        pg_class c join pg_namespace n on n.oid = relnamespace
      where kind = case relkind when 'r' then 'table' when 'S' then 'sequence' end
        and nspname !~ '^pg_' and nspname <> 'information_schema'"""


def _differing(declared: Database, tries: list[list[object]]) -> Iterator[str]:
    for who, schema, kind, owner, right, name, can in tries:
        mine = owner == declared.owner and schema in declared.schemas
        if who == owner and not mine:
            continue  # what somebody has in a schema that nobody declares is his
        may = declared.roles.get(str(who)) if mine else None
        wanted = may is not None and str(right) in _MAY[may]
        # truncate of a table with a sequence, and what only an owner does, is not asked of others
        if can != wanted:
            yield f"{who} ({may or 'nobody'}) {'can' if can else 'cannot'} {right} on {kind} {schema}.{name} of {owner}"
