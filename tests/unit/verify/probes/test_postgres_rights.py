"""Which differences of roles and rights are named: of a cluster that is as declared, one thing is changed at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from bastide.settings import Postgres
from tests.verify.probes.postgres_rights import rights_differ, roles_differ

DECLARED = Postgres.model_validate(
    {
        "databases": {
            "app": {"roles": {"boss": "owner", "app": "writer", "stats": "reader"}, "extensions": ("pgcrypto",)},
            "more": {"roles": {"boss": "owner"}, "connections": 5},
        }
    }
)
SITES = 2
NO_POWER: dict[str, Any] = {
    **{"login": True, "super": False, "powers": [], "groups": [], "password": "SCRAM-SHA-256"},
    **{"limit": -1, "comment": ""},
}
OURS = {**NO_POWER, "limit": 42, "comment": "made by bastide"}
ROLES: dict[str, dict[str, Any]] = {
    "postgres": {**NO_POWER, "super": True, "powers": ["createrole", "createdb"], "password": "none"},
    "replicator": {**NO_POWER, "powers": ["replication"]},
    "rewinder": NO_POWER,
    # on two sites in two databases
    "boss": {**OURS, "limit": 54},
    "app": OURS,
    "stats": OURS,
}
ROWS = ["DELETE app", "INSERT app", "SELECT app", "SELECT stats", "UPDATE app"]
NUMBERS = ["SELECT app", "SELECT stats", "USAGE app"]
Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""What changes the databases as seen from outside, and one of them inside."""


def seen() -> dict[str, Any]:
    """A cluster as declared, with a table, a sequence and a function."""
    inside = {
        "extensions": ["pgcrypto", "plpgsql"],
        "schemas": {
            "public": {"owner": "pg_database_owner", "grants": ["USAGE app", "USAGE stats"]},
            "theirs": {"owner": "postgres", "grants": []},
        },
        "columns": [],
        "superusers_own": [],
        "things": [
            {"schema": "public", "kind": "table", "name": "public.users", "owner": "boss", "grants": list(ROWS)},
            {
                "schema": "public",
                "kind": "sequence",
                "name": "public.users_id_seq",
                "owner": "boss",
                "grants": list(NUMBERS),
            },
            {"schema": "public", "kind": "routine", "name": "f()", "owner": "boss", "grants": None},
            {"schema": "public", "kind": "table", "name": "public.notes", "owner": "postgres", "grants": []},
            {"schema": "theirs", "kind": "table", "name": "theirs.t", "owner": "somebody", "grants": []},
        ],
        "later": [
            {"maker": "boss", "kind": "table", "schema": "public", "grants": list(ROWS)},
            {"maker": "boss", "kind": "sequence", "schema": "public", "grants": list(NUMBERS)},
        ],
    }
    empty = {
        **{"extensions": [], "schemas": {"public": {"owner": "pg_database_owner", "grants": []}}, "things": []},
        **{"columns": [], "superusers_own": [], "later": []},
    }
    looks = {"public": {"owner": "pg_database_owner", "grants": ["USAGE public"]}}
    made = {**empty, "schemas": looks}
    own = {**made, "extensions": ["pg_stat_statements", "pgaudit", "plpgsql"]}
    databases = {
        "app": {"owner": "boss", "grants": ["CONNECT app", "CONNECT postgres", "CONNECT stats"]},
        "more": {"owner": "boss", "grants": []},
        "postgres": {"owner": "postgres", "grants": ["CONNECT public", "TEMPORARY public"]},
        "template1": {"owner": "postgres", "grants": ["CONNECT public"]},
    }
    every = {"app": inside, "more": empty, "postgres": own, "template1": made}
    # each a copy of its own, nothing of which another one has as well
    every = {name: copy.deepcopy(one) for name, one in every.items()}
    return {"roles": copy.deepcopy(ROLES), "databases": databases, "inside": every}


def test_what_is_as_declared_is_no_difference() -> None:
    assert not list(roles_differ(ROLES, DECLARED, SITES))
    assert rights_differ(DECLARED, seen()) == []
    # before anything was made in it
    fresh = seen()
    fresh["inside"]["app"]["things"] = []
    assert rights_differ(DECLARED, fresh) == []


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("visitor", {**NO_POWER, "super": True}, "nobody declared may log in as a superuser: visitor"),
        ("visitor", NO_POWER, "nobody declared may log in: visitor"),
        # without a login it still hands on what it may
        ("visitor", {**NO_POWER, "login": False, "super": True}, "visitor may do more"),
        ("boss", {**OURS, "super": True}, "boss may do more than is declared: superuser"),
        ("boss", {**OURS, "powers": ["bypassrls"]}, "boss may do more than is declared: bypassrls"),
        ("app", {**OURS, "groups": ["pg_read_all_data"]}, "app has the rights of pg_read_all_data"),
        ("app", {**OURS, "password": "none"}, "the password of app is kept as none"),
        ("app", {**OURS, "login": False}, "no role that may log in: app"),
        ("app", {**OURS, "limit": -1}, "app may open -1 connections, not 42"),
        ("boss", OURS, "boss may open 42 connections, not 54"),
        ("app", {**OURS, "comment": ""}, "app is not marked as made by the platform"),
        ("rewinder", {**NO_POWER, "powers": ["replication"]}, "rewinder may do more"),
    ],
)
def test_roles_with_more_or_less_are_named(name: str, changed: dict[str, Any], says: str) -> None:
    assert any(says in text for text in roles_differ({**ROLES, name: changed}, DECLARED, SITES))


def test_every_role_is_named_and_all_that_is_wrong_with_it() -> None:
    changed = {"app": {**OURS, "groups": ["pg_monitor"], "password": "md5"}, "visitor": {**NO_POWER, "super": True}}
    there = {name: role for name, role in {**ROLES, **changed}.items() if name != "stats"}
    assert list(roles_differ(there, DECLARED, SITES)) == [
        "app has the rights of pg_monitor",
        "the password of app is kept as md5",
        "a role that nobody declared may log in as a superuser: visitor",
        "no role that may log in: stats",
    ]


def table(inside: dict[str, Any]) -> list[str]:
    grants: list[str] = inside["things"][0]["grants"]
    return grants


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda out, _: out.pop("more"), "there is no database more"),
        (lambda out, _: out.update(theirs=out["more"]), "a database that nobody declared: theirs"),
        (lambda out, _: out["app"].update(owner="app"), "app belongs to app, not to boss"),
        (lambda out, _: out["app"]["grants"].append("CONNECT public"), "public: no CONNECT on app"),
        (lambda out, _: out["app"]["grants"].append("TEMPORARY app"), "app: no TEMPORARY on app"),
        (lambda out, _: out["app"]["grants"].append("CONNECT* stats"), "stats: no CONNECT* on app"),
        (lambda out, _: out["app"]["grants"].remove("CONNECT stats"), "stats: CONNECT on app is missing"),
        (lambda out, _: out["more"]["grants"].append("CONNECT app"), "app: no CONNECT on more"),
        (lambda _, app: app["extensions"].remove("pgcrypto"), "there is no extension pgcrypto in app"),
        (lambda _, app: app.update(schemas=None), "app does not say who may do what"),
        (
            lambda _, app: app["schemas"]["public"].update(owner="visitor"),
            "the schema public of app belongs to visitor",
        ),
        (lambda _, app: app["schemas"]["public"]["grants"].append("CREATE public"), "public: no CREATE in app"),
        (lambda _, app: app["schemas"]["public"]["grants"].append("CREATE app"), "app: no CREATE in app"),
        (lambda _, app: app["schemas"]["public"]["grants"].remove("USAGE stats"), "stats: USAGE in app is missing"),
        (lambda _, app: table(app).append("SELECT public"), "public: no SELECT on table users of app"),
        (lambda _, app: table(app).append("DELETE stats"), "stats: no DELETE on table users of app"),
        (lambda _, app: table(app).append("SELECT a visitor"), "a visitor: no SELECT on table users of app"),
        # a reader who was raised to a writer, and got nothing on what is there
        (lambda _, app: table(app).remove("INSERT app"), "app: INSERT on table users of app is missing"),
        (
            lambda _, app: app["things"][1]["grants"].append("UPDATE app"),
            "app: no UPDATE on sequence users_id_seq of app",
        ),
        (
            lambda _, app: app["things"][1]["grants"].remove("USAGE app"),
            "app: USAGE on sequence users_id_seq of",
        ),
        (
            lambda _, app: app["things"][2].update(owner="app"),
            "routine f() of app belongs to app, not to boss",
        ),
        # what somebody made as a superuser is his to hand out, but not to others than those who may have it
        (lambda _, app: app["things"][3]["grants"].append("SELECT boss"), "boss: no SELECT on table notes of app"),
        # a writer who was lowered to a reader, and keeps what is made from now on
        (
            lambda _, app: app["later"][0]["grants"].append("INSERT stats"),
            "stats: no INSERT on future tables of boss in app",
        ),
        (
            lambda _, app: app["later"].append({**app["later"][0], "schema": "", "grants": ["SELECT public"]}),
            "public: no SELECT on future tables of boss in app",
        ),
        (lambda _, app: app["later"].pop(1), "app: SELECT on future sequences of boss in app is missing"),
        (
            lambda _, app: app["later"].append({**app["later"][0], "maker": "visitor", "grants": ["SELECT public"]}),
            "public: no SELECT on future tables of visitor in app",
        ),
        (
            lambda _, app: app["later"].append({**app["later"][0], "schema": "", "grants": ["SELECT app"]}),
            "app: no SELECT on future tables of boss in app",
        ),
        # another schema than the declared ones
        (lambda _, app: app["schemas"]["theirs"]["grants"].append("USAGE app"), "app: no USAGE in theirs of app"),
        (lambda _, app: app["things"][4]["grants"].append("SELECT app"), "app: no SELECT on table theirs.t of app"),
        (lambda _, app: app["schemas"].pop("public"), "there is no schema public in app"),
        (
            lambda _, app: app["columns"].append("SELECT a visitor on public.users (mail)"),
            "a visitor: no SELECT on column public.users (mail) of app",
        ),
        (
            lambda _, app: app["superusers_own"].append("peek()"),
            "others may run peek() of app, which runs as a superuser",
        ),
        (
            lambda _, app: app["later"][0].update(schema="elsewhere"),
            "app: DELETE on future tables of boss in app is missing",
        ),
    ],
)
def test_rights_with_more_or_less_are_named(change: Change, says: str) -> None:
    found = seen()
    change(found["databases"], found["inside"]["app"])
    problems = rights_differ(DECLARED, found)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("name", ["postgres", "template1"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda out, _: out["grants"].append("CREATE public"), "public: no CREATE on "),
        (
            lambda _, one: one["schemas"]["public"]["grants"].append("CREATE public"),
            "CREATE public on the schema publi",
        ),
        (lambda _, one: one["schemas"].update(more={"owner": "x", "grants": ["USAGE app"]}), "USAGE app on the schema"),
        (lambda _, one: one["columns"].append("SELECT app on public.t (n)"), "SELECT app on public.t (n), of "),
        (lambda _, one: one["superusers_own"].append("f()"), "others may run f() of "),
        (
            lambda _, one: one["things"].append({"kind": "table", "name": "public.t", "grants": ["SELECT app"]}),
            "SELECT app on table t of ",
        ),
        (
            lambda _, one: one["later"].append({"maker": "app", "kind": "table", "grants": ["SELECT public"]}),
            "public: no SELECT on future tables of app in ",
        ),
    ],
)
def test_what_is_for_nobody_is_judged_as_well(name: str, change: Change, says: str) -> None:
    found = seen()
    change(found["databases"][name], found["inside"][name])
    assert [text for text in rights_differ(DECLARED, found) if text.startswith(says) and name in text]


def test_what_is_no_table_is_named() -> None:
    found = seen()
    found["tablespaces"] = ["CREATE public on pg_default"]
    found["inside"]["app"] |= {"publications": ["all of postgres"], "servers": ["USAGE public on the foreign server x"]}
    assert rights_differ(DECLARED, found) == [
        "on a tablespace, which nobody declared: CREATE public on pg_default",
        "USAGE public on the foreign server x in app, which nobody declared",
        "a publication that nobody declared: all of postgres, in app",
    ]


def test_all_that_is_wrong_is_named() -> None:
    found = seen()
    found["inside"]["app"]["schemas"]["public"]["grants"] = ["CREATE public", "USAGE public"]
    found["inside"]["postgres"]["extensions"] = []
    assert rights_differ(DECLARED, found) == [
        "public: no CREATE in app",
        "public: no USAGE in app",
        "app: USAGE in app is missing",
        "stats: USAGE in app is missing",
        "there is no extension pg_stat_statements in postgres",
        "there is no extension pgaudit in postgres",
    ]
