"""Who may do what in the databases: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.postgres.ways import saying

SABOTAGES = (
    saying(
        "postgres-06",
        "a superuser that nobody declared",
        "a role that nobody declared may log in as a superuser: visitor",
        "create role visitor login superuser",
        "drop role visitor",
    ),
    saying(
        "postgres-06",
        "everybody may make tables, as before PostgreSQL 15",
        "public: no CREATE in",
        "grant create on schema public to public",
        "revoke create on schema public from public",
        "{database}",
    ),
    saying(
        "postgres-06",
        "a schema that nobody declares is open to everybody",
        "public: no USAGE in stray",
        "create schema stray; grant usage on schema stray to public",
        "drop schema stray cascade",
        "{database}",
    ),
    saying(
        "postgres-06",
        "one column of a table, for everybody",
        "public: no SELECT on column",
        "create table public.columns (n int); grant select (n) on public.columns to public",
        "drop table public.columns",
        "{database}",
    ),
    saying(
        "postgres-06",
        "a function of the superuser's that anybody may run as him",
        "runs as a superuser",
        "create function public.peek() returns text language sql security definer"
        " as 'select rolpassword from pg_authid limit 1'",
        "drop function public.peek()",
        "{database}",
    ),
    saying(
        "postgres-06",
        "what the owner makes anywhere is for everybody",
        "public: no SELECT on future tables",
        "alter default privileges for role {role} grant select on tables to public",
        "alter default privileges for role {role} revoke select on tables from public",
        "{database}",
    ),
    saying(
        "postgres-06",
        "a role that may read everything",
        "has the rights of pg_read_all_data",
        "grant pg_read_all_data to {role}",
        "revoke pg_read_all_data from {role}",
    ),
    saying(
        "postgres-06",
        "a setting that superusers alone may change, for everybody",
        "on a parameter, which nobody declared: SET public on log_statement",
        "grant set on parameter log_statement to public",
        "revoke set on parameter log_statement from public",
    ),
    saying(
        "postgres-06",
        "a large object for everybody",
        "SELECT public on large objects in ",
        "select lo_from_bytea(424242, 'x'); grant select on large object 424242 to public",
        "select lo_unlink(424242)",
        "{database}",
    ),
    saying(
        "postgres-06",
        "what everybody may make in each database that will be made",
        "CREATE public on the schema public of template1",
        "grant create on schema public to public",
        "revoke create on schema public from public",
        "template1",
    ),
    saying(
        "postgres-06",
        "everybody may make tables in the database that nobody is declared for",
        "CREATE public on the schema public of postgres",
        "grant create on schema public to public",
        "revoke create on schema public from public",
    ),
    saying(
        "postgres-06",
        "a publication of all tables",
        "a publication that nobody declared: sabotage of postgres, in ",
        "create publication sabotage for all tables",
        "drop publication sabotage",
        "{database}",
    ),
    saying(
        "postgres-06",
        "a way to another server for everybody",
        "USAGE public on the foreign server sabotage in ",
        "create foreign data wrapper sabotage; create server sabotage foreign data wrapper sabotage;"
        " grant usage on foreign server sabotage to public",
        "drop foreign data wrapper sabotage cascade",
        "{database}",
    ),
    saying(
        "postgres-06",
        "everybody may lay tables where the servers keep theirs, past what databases allow",
        "on a tablespace, which nobody declared: CREATE public on pg_default",
        "grant create on tablespace pg_default to public",
        "revoke create on tablespace pg_default from public",
    ),
)
