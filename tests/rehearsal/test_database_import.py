"""A database moves here from a server of somebody else's, and out again; what is wrong changes nothing."""

from __future__ import annotations

import gzip
import json
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bastide.console import Completed, run
from bastide.stackfile import load
from tests.rehearsal.acknowledged import Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"

_OLD = "/var/lib/postgresql/old"
_AT_OLD = f"host={_OLD} user=postgres"
# an older cluster with roles, owners and rights of its own, as a provider's database has them
_MAKE_OLD = f"""
runuser -u postgres -- sh -ec '
    bin=/usr/lib/postgresql/17/bin
    $bin/initdb -D {_OLD}/data -A trust --no-sync >/dev/null
    $bin/pg_ctl -D {_OLD}/data -w -l {_OLD}/log \\
        -o "-k {_OLD} -c listen_addresses= -c fsync=off -c wal_level=logical" start >/dev/null
    psql -XAtq -v ON_ERROR_STOP=1 -d "{_AT_OLD} dbname=postgres" -f - >/dev/null'
"""
_REMOVE_OLD = f"""
runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl -D {_OLD}/data -m immediate stop >/dev/null || true
rm -rf {_OLD}
"""
_CONTENT = r"""
create role legacy login; create role webuser login;
create database shop owner legacy;
create database slow;
\c shop
create extension pg_trgm; create extension hstore;
comment on extension pg_trgm is 'words of the old provider';
alter schema public owner to legacy;
comment on schema public is 'the shop';
create schema billing authorization webuser;
create schema "Odd Name";
set role legacy;
create type mood as enum ('a', 'b');
create table customers (id bigserial primary key, name text not null, tags hstore, mood mood default 'a');
insert into customers (name, tags) select 'name '';' || i, 'a=>1' from generate_series(1, 5000) i;
create index on customers using gin (name gin_trgm_ops);
create function total() returns bigint language sql begin atomic; select count(*) from customers; end;
create materialized view many as select count(*) from customers;
grant select on customers to webuser;
alter default privileges grant select on tables to webuser;
reset role;
create table billing.invoices (id int primary key, customer bigint references customers, note text);
alter table billing.invoices owner to webuser;
insert into billing.invoices select i, i, E'line\nbreak\ttab \\. ;' from generate_series(1, 3000) i;
create table "Odd Name"."Tab""le;" (x int);
create function never() returns event_trigger language plpgsql as $$ begin end $$;
create event trigger never on ddl_command_end execute function never();
create publication everything for all tables;
select lo_from_bytea(4711, 'large');
\c slow
create function slow(x int) returns int language plpgsql immutable as
    $$ begin if current_database() = 'shop' then perform pg_sleep(0.03); end if; return x; end $$;
create table t as select generate_series(1, 3000) x;
create index on t (slow(x));
"""
# all rows are read, and shown to nobody
_LIST = """
base64 -d >/run/out.dump
cd /usr/lib/postgresql/17/bin
./pg_restore -f /dev/null /run/out.dump && ./pg_restore -l /run/out.dump
rm /run/out.dump
"""
_DATABASES = {"roles": {"shop_owner": "owner", "shop": "writer", "desk": "reader"}, "connections": 4}
# everything that somebody made, and whose it is
_OWNERS = """
select string_agg(distinct pg_get_userbyid(owner), ',') from (
  select relowner as owner from pg_class c join pg_namespace n on n.oid = relnamespace
    where nspname in ('public', 'billing', 'Odd Name') and not exists (
      select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
  union all select nspowner from pg_namespace where nspname in ('billing', 'Odd Name')
  union all select proowner from pg_proc where proname = 'total'
  union all select lomowner from pg_largeobject_metadata) as all_of_them
"""


@dataclass
class Shop:
    """The declared database, and dumps of the one that it comes from."""

    rehearsal: Rehearsal
    writers: Writers
    folder: Path

    def command(self, name: str, *words: str) -> list[str]:
        return ["python", "-m", "hosts", name, "--stack", self.rehearsal.stack, "--database", "shop", *words]

    def run(self, name: str, *words: str) -> Completed:
        argv = self.command(name, *words)
        return run(argv, cwd=self.rehearsal.root, env=self.rehearsal.env, check=False, timeout=120)

    def refused(self, said: str, *words: str) -> str:
        """The hint of an import that is refused, in two lines, and has changed nothing."""
        done = self.run("db-import", *words)
        assert not done.ok
        what, following = done.stderr.strip().splitlines()
        assert re.search(said, what), done.stdout + done.stderr
        assert following.startswith(" next: ")
        assert self.is_empty()
        return following

    def sql(self, text: str) -> str:
        return self._sql(self.writers.leader(), text)

    def _sql(self, machine: str, text: str) -> str:
        words = "timeout 20 runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d shop -f -"
        return self.rehearsal.exec(machine, words, input=text + ";\n").stdout.strip()

    def is_empty(self) -> bool:
        query = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'public'"
        return self.sql(f"{query} and relkind = 'r'") == "0"

    def declare(self, *extensions: str) -> None:
        """The stack file with it, deployed."""
        document = load(self.rehearsal.file)
        databases = document["config"]["bastide:settings"]["postgres"]["databases"]
        databases = {**json.loads(json.dumps(databases)), "shop": {**_DATABASES, "extensions": list(extensions)}}
        with self.rehearsal.settings_changed("postgres.databases", databases):
            content = self.rehearsal.file.read_bytes()
        self.rehearsal.file.write_bytes(content)
        self.rehearsal.deploy("--data", "only=postgres")


@pytest.fixture(scope="module")
def shop(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop declared and empty, and its dumps. Afterwards nobody knows of it any more."""
    lender = lent(rehearsal)
    found = Shop(rehearsal, next(lender), tmp_path_factory.mktemp("dumps"))
    before = rehearsal.file.read_bytes()
    try:
        rehearsal.exec("standby", f"install -d -o postgres -m 700 {_OLD}")
        rehearsal.exec("standby", _MAKE_OLD, input=_CONTENT)
        for name, words in (("shop", "-Fc"), ("shop", "-Fp"), ("slow", "-Fc")):
            dumped = f"runuser -u postgres -- pg_dump {words} -d '{_AT_OLD} dbname={name}' | base64"
            content = b64decode(rehearsal.exec("standby", dumped).stdout)
            (found.folder / f"{name}{words}").write_bytes(content)
        found.declare("pg_trgm")
        yield found
    finally:
        rehearsal.exec("standby", _REMOVE_OLD)
        rehearsal.file.write_bytes(before)
        found.writers.sql(found.writers.leader(), "drop database if exists shop with (force)")
        found.writers.sql(found.writers.leader(), "drop role if exists shop_owner, shop, desk")
        rehearsal.deploy("--data", "only=postgres")
        next(lender, None)


def test_what_would_not_go_is_said_before_anything_is_changed(shop: Shop) -> None:
    hint = shop.refused("it needs the extension hstore, not declared for shop", "--from", str(shop.folder / "shop-Fc"))
    assert "`extensions: [pg_trgm, hstore]`" in hint
    shop.refused("extension hstore, not declared", "--from", str(shop.folder / "shop-Fp"))
    shop.declare("pg_trgm", "hstore")
    whole = (shop.folder / "shop-Fc").read_bytes()
    for name, content, said in (
        ("cut", whole[: len(whole) * 2 // 3], "nothing was changed"),
        ("head", whole[:200], "cannot be read"),
        ("text", b"a letter\n", "is no dump"),
    ):
        (shop.folder / name).write_bytes(content)
        shop.refused(said, "--from", str(shop.folder / name))


def test_killed_half_way_it_leaves_nothing(shop: Shop) -> None:
    """Killed without a word, in the midst of an index: the server stops by itself."""
    leader = shop.writers.leader()

    def at_work() -> bool:
        return shop.sql("select count(*) from pg_stat_activity where query like 'CREATE INDEX%slow%'") != "0"

    words = shop.command("db-import", "--from", str(shop.folder / "slow-Fc"))
    shop.rehearsal.killed(words, lambda _: wait_for(at_work, "an index is being made", seconds=60))
    wait_for(lambda: not at_work(), "nobody restores any more")
    gone = "! systemctl -q is-active bastide-import && [ ! -e /run/bastide-import ]"
    wait_for(lambda: shop.rehearsal.exec(leader, gone, check=False).ok, "nothing of it is left")
    assert shop.is_empty()


def test_a_dump_becomes_what_the_platform_wants(shop: Shop) -> None:
    done = shop.run("db-import", "--from", str(shop.folder / "shop-Fc"))
    assert done.ok, done.stdout + done.stderr
    for said in ("left out: rights", "left out: publications", "left out: event triggers", "with 8000 rows"):
        assert said in done.stdout
    assert shop.sql("select count(*), (select count(*) from billing.invoices), total() from customers") == (
        "5000|3000|5000"
    )
    assert shop.sql(_OWNERS) == "shop_owner"
    assert shop.sql("select nextval('customers_id_seq')") == "5001"
    assert shop.sql("select has_table_privilege('shop', 'customers', 'update')") == "t"
    assert shop.sql("select has_table_privilege('desk', 'customers', 'select')") == "t"
    assert shop.sql("select count(*) from pg_publication") == "0"
    assert shop.sql("select convert_from(lo_get(4711), 'utf8')") == "large"
    assert shop.rehearsal.dry("--data", "only=postgres") == {}, "the next deploy changes something"
    assert shop.rehearsal.verify("--control", "postgres-06").ok
    again = shop.run("db-import", "--from", str(shop.folder / "shop-Fc"))
    assert "shop is not empty (" in again.stderr


def test_it_comes_out_again_and_in_as_sql(shop: Shop) -> None:
    """From a replica, into a file of one's own; then again from the beginning, as the how-to says, from SQL."""
    (replica,) = set(shop.writers.sites) - {shop.writers.leader()}
    file = shop.folder / "out"
    done = shop.run("db-dump", "--to", str(file), "--machine", replica)
    assert done.ok, done.stdout + done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.with_name("out.part").exists()
    assert "File exists" in shop.run("db-dump", "--to", str(file)).stderr
    whole = shop.rehearsal.exec("standby", _LIST, input=b64encode(file.read_bytes()).decode()).stdout
    assert "TABLE DATA public customers shop_owner" in whole
    packed = shop.folder / "shop.sql.gz"
    packed.write_bytes(gzip.compress((shop.folder / "shop-Fp").read_bytes()))
    shop.writers.sql(shop.writers.leader(), "alter database shop rename to shop_before")
    shop.rehearsal.deploy("--data", "only=postgres")
    assert shop.is_empty()
    done = shop.run("db-import", "--from", str(packed))
    assert done.ok, done.stdout + done.stderr
    assert shop.sql("select count(*), (select count(*) from billing.invoices) from customers") == "5000|3000"
    assert shop.sql(_OWNERS) == "shop_owner"
    shop.writers.sql(shop.writers.leader(), "drop database shop_before")
