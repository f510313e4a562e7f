"""Rights in a database: one query says what is to be done, and one statement does it.

The server compares what is there, whole, with what is declared: every schema that is not its own, every relation with
its columns, default privileges in every scope, who owns what. Guests (writers and readers) have their rights in the
declared schemas, on what the owner has, and nothing anywhere else. What a superuser made stays his, and so does what
belongs to an extension. Functions stay as their owner leaves them.

PostgreSQL 17 manual: 5.8 (privileges), 5.15 (schemas), 9.27 (aclexplode, acldefault), ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

import json

from bastide.settings.postgres import Database, Right

ROWS: dict[Right, tuple[str, ...]] = {
    "owner": (),
    "writer": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "reader": ("SELECT",),
}
# of a sequence: what an insert needs, and what shows its state (9.17)
SEQUENCES: dict[Right, tuple[str, ...]] = {"owner": (), "writer": ("USAGE", "SELECT"), "reader": ("SELECT",)}

# Rows (step, text), to be run in the order of the steps: what is made and handed over, what is taken, what is given.
_PLAN = """
with wanted as (select (@WANTED@)::jsonb as j),
owner as (select j ->> 'owner' as name from wanted),
declared as (select jsonb_array_elements_text(j -> 'schemas') as name from wanted),
guest_rights as (  -- who may do what on what the owner has in a declared schema
  select g.key as role, k.key as kind, p.value as privilege
  from wanted, jsonb_each(j -> 'guests') g, jsonb_each(g.value) k, jsonb_array_elements_text(k.value) p),
guests as (select distinct role from guest_rights),
supers as (select oid, rolname from pg_roles where rolsuper),
schemas as (
  select n.oid, nspname as name, nspowner as owner, nspname in (select name from declared) as declared,
    coalesce(nspacl, acldefault('n', nspowner)) as acl, nspacl
  from pg_namespace n
  where nspname !~ '^pg_' and nspname <> 'information_schema'
    and not exists (select from pg_depend
      where classid = 'pg_namespace'::regclass and objid = n.oid and deptype = 'e')),
relations as (
  select c.oid, case relkind when 'S' then 'sequence' else 'table' end as kind,
    format('%I.%I', s.name, relname) as name, s.declared, relowner as owner,
    coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner)) as acl,
    -- a sequence of a column goes with its table
    not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid
      and relkind = 'S' and deptype in ('a', 'i')) as apart
  from pg_class c join schemas s on s.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')),
others as (  -- what else has an owner
  select 'ROUTINE' as word, format('%s', p.oid::regprocedure) as name, proowner as owner, 'pg_proc'::regclass as class,
    p.oid, s.declared
  from pg_proc p join schemas s on s.oid = pronamespace
  union all
  -- an array's type and that of a table's rows go with theirs
  select 'TYPE', format('%s', t.oid::regtype), typowner, 'pg_type'::regclass, t.oid, s.declared
  from pg_type t join schemas s on s.oid = typnamespace left join pg_class c on c.oid = typrelid
  where typtype in ('e', 'd', 'r') or c.relkind = 'c'),
handed as (  -- what the owner gets: of a declared schema, from whoever is no superuser
  select upper(r.kind) as word, r.name from relations r, owner o
  where r.declared and r.apart and pg_get_userbyid(r.owner) <> o.name and r.owner not in (select oid from supers)
  union all
  select x.word, x.name from others x, owner o
  where x.declared and pg_get_userbyid(x.owner) <> o.name and x.owner not in (select oid from supers)
    and not exists (select from pg_depend where classid = x.class and objid = x.oid and deptype = 'e')),
held as (  -- the relations, each with whose it is in the end
  select r.*, case when r.declared and r.owner not in (select oid from supers) then o.name
    else pg_get_userbyid(r.owner) end as finally
  from relations r, owner o),
-- a right that somebody has, not as the owner, nor as a superuser, who needs none
acl_of_relations as (
  select h.oid, h.kind, h.name, a.privilege_type as privilege, a.is_grantable as may_give,
    case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as role
  from held h, aclexplode(h.acl) a
  where a.grantee <> h.owner and a.grantee not in (select oid from supers)
    and (a.grantee = 0 or pg_get_userbyid(a.grantee) <> h.finally)),
due_on_relations as (
  select h.oid, h.kind, h.name, g.privilege, g.role
  from held h join guest_rights g on g.kind = h.kind, owner o
  where h.declared and h.finally = o.name),
columns as (
  select h.name, a.attname, x.privilege_type as privilege,
    case when x.grantee = 0 then null else pg_get_userbyid(x.grantee) end as role
  from held h join pg_attribute a on attrelid = h.oid and not attisdropped, aclexplode(attacl) x
  where x.grantee <> h.owner and x.grantee not in (select oid from supers)),
acl_of_schemas as (
  select s.name, s.declared, a.privilege_type as privilege, a.is_grantable as may_give,
    case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as role
  from schemas s, owner o, aclexplode(s.acl) a
  where a.grantee <> s.owner and a.grantee not in (select oid from supers)
    and (a.grantee = 0 or not (s.declared and pg_get_userbyid(a.grantee) in (o.name, 'pg_database_owner')))),
acl_of_database as (
  select datname as name, a.privilege_type as privilege, a.is_grantable as may_give,
    case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as role
  from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
  where datname = current_database() and a.grantee <> datdba and a.grantee not in (select oid from supers)),
later as (  -- of what somebody makes from now on, in one schema or in all
  select pg_get_userbyid(d.defaclrole) as maker, n.nspname as schema,
    case defaclobjtype when 'r' then 'table' when 'S' then 'sequence' else 'schema' end as kind,
    a.privilege_type as privilege, a.is_grantable as may_give,
    case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as role
  from pg_default_acl d left join pg_namespace n on n.oid = defaclnamespace, aclexplode(defaclacl) a
  where defaclobjtype in ('r', 'S', 'n') and a.grantee <> d.defaclrole
    and a.grantee not in (select oid from supers)),
due_later as (
  select o.name as maker, d.name as schema, g.kind, g.privilege, g.role from owner o, declared d, guest_rights g),
todo(step, text) as (
  select 1, format('CREATE SCHEMA %I AUTHORIZATION %I', d.name, o.name) from declared d, owner o
  where d.name not in (select name from schemas)
  union all
  -- public is the owner's by being the database's (15.0, release notes)
  select 1, case s.name when 'public' then 'ALTER SCHEMA public OWNER TO pg_database_owner'
    else format('ALTER SCHEMA %I OWNER TO %I', s.name, o.name) end
  from schemas s, owner o
  where s.declared and pg_get_userbyid(s.owner) <> o.name
    and not (s.name = 'public' and pg_get_userbyid(s.owner) = 'pg_database_owner')
  union all
  select 2, format('ALTER %s %s OWNER TO %I', h.word, h.name, o.name) from handed h, owner o
  union all
  select 3, format('REVOKE %s ON DATABASE %I FROM %s CASCADE', string_agg(privilege, ', ' order by privilege), name,
    coalesce(quote_ident(role), 'PUBLIC'))
  from acl_of_database where may_give or privilege <> 'CONNECT' or role is null or role not in (select role from guests)
  group by name, role
  union all
  select 3, format('REVOKE %s ON SCHEMA %I FROM %s CASCADE', string_agg(privilege, ', ' order by privilege), name,
    coalesce(quote_ident(role), 'PUBLIC'))
  from acl_of_schemas
  where may_give or not declared or privilege <> 'USAGE' or role is null or role not in (select role from guests)
  group by name, role
  union all
  select 3, format('REVOKE %s (%I) ON TABLE %s FROM %s CASCADE', privilege, attname, name,
    coalesce(quote_ident(role), 'PUBLIC'))
  from columns
  union all
  select 3, format('REVOKE %s ON %s %s FROM %s CASCADE', string_agg(privilege, ', ' order by privilege), upper(kind),
    name, coalesce(quote_ident(role), 'PUBLIC'))
  from acl_of_relations a
  where may_give or not exists (select from due_on_relations d
    where (d.oid, d.privilege, d.role) = (a.oid, a.privilege, a.role))
  group by kind, name, role
  union all
  select 3, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE %s ON %sS FROM %s', maker,
    coalesce(' IN SCHEMA ' || quote_ident(schema), ''), string_agg(privilege, ', ' order by privilege), upper(kind),
    coalesce(quote_ident(role), 'PUBLIC'))
  from later l
  where may_give or not exists (select from due_later d
    where (d.maker, d.schema, d.kind, d.privilege, d.role) = (l.maker, l.schema, l.kind, l.privilege, l.role))
  group by maker, schema, kind, role
  union all
  -- what a mistake took from the owner himself
  select 4, format('GRANT ALL ON %s %s TO %I', upper(kind), h.name, finally) from held h, owner o
  where h.finally = o.name and exists (
    select privilege_type from aclexplode(acldefault(case kind when 'sequence' then 's' else 'r' end::"char", h.owner))
    except select privilege_type from aclexplode(h.acl) a where a.grantee = h.owner)
  union all
  select 4, format('GRANT ALL ON SCHEMA %I TO %I', s.name, 
    case when s.name = 'public' and pg_get_userbyid(s.owner) <> o.name then 'pg_database_owner' else o.name end)
  from schemas s, owner o
  where s.declared and exists (select privilege_type from aclexplode(acldefault('n', s.owner))
    except select privilege_type from aclexplode(s.acl) a where a.grantee = s.owner)
  union all
  select 4, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT ALL ON %s TO %I', o.name,
    case defaclobjtype when 'S' then 'SEQUENCES' else 'TABLES' end, o.name)
  from pg_default_acl d, owner o
  where pg_get_userbyid(defaclrole) = o.name and defaclnamespace = 0 and defaclobjtype in ('r', 'S') and exists (
    select privilege_type
    from aclexplode(acldefault(case defaclobjtype when 'S' then 's' else 'r' end::"char", defaclrole))
    except select privilege_type from aclexplode(d.defaclacl) a where a.grantee = d.defaclrole)
  union all
  select 4, format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role) from guests
  where role not in (select role from acl_of_database where privilege = 'CONNECT' and not may_give and role is not null)
  union all
  select 4, format('GRANT USAGE ON SCHEMA %I TO %I', d.name, g.role) from declared d, guests g
  where not exists (select from acl_of_schemas a
    where (a.name, a.role, a.privilege) = (d.name, g.role, 'USAGE') and not may_give)
  union all
  select 4, format('GRANT %s ON %s %s TO %I', string_agg(privilege, ', ' order by privilege), upper(kind), name, role)
  from due_on_relations d
  where not exists (select from acl_of_relations a
    where (d.oid, d.privilege, d.role) = (a.oid, a.privilege, a.role) and not may_give)
  group by kind, name, role
  union all
  select 4, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON %sS TO %I', maker, schema,
    string_agg(privilege, ', ' order by privilege), upper(kind), role)
  from due_later d
  where not exists (select from later l
    where (d.maker, d.schema, d.kind, d.privilege, d.role) = (l.maker, l.schema, l.kind, l.privilege, l.role)
      and not may_give)
  group by maker, schema, kind, role)
select step, text from todo order by step, text"""


def plan(database: Database) -> str:
    """The query of what is to be done, as rows (step, text): none when all is as declared.

    Nothing in it is secret. `database`: as declared; its owner must exist when the statements are run.
    """
    guests = {
        role: {"table": ROWS[right], "sequence": SEQUENCES[right]}
        for role, right in database.roles.items()
        if right != "owner"
    }
    wanted = json.dumps({"owner": database.owner, "guests": guests, "schemas": database.schemas})
    return _PLAN.replace("@WANTED@", quoted_text(wanted))


def statement(database: Database) -> str:
    """What does it, all or nothing: the plan is made anew, so that a database can be new.

    It does not wait long for a table that somebody holds: whoever comes after it would wait, too.
    """
    return f"""DO $do$
DECLARE one text; todo text[];
BEGIN
  PERFORM set_config('lock_timeout', '10s', true), set_config('jit', 'off', true);
  todo := array(SELECT planned.text FROM ({plan(database)}) AS planned ORDER BY step, text);
  FOREACH one IN ARRAY todo LOOP EXECUTE one; END LOOP;
END $do$"""  # noqa: S608 - our own text, with names as a JSON constant


def quoted_text(value: str) -> str:
    """A string constant; backslashes mean themselves (standard_conforming_strings is on since 9.1)."""
    return "'" + value.replace("'", "''") + "'"
