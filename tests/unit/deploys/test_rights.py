"""From what is declared and what is there to statements: a new cluster, one as wanted, one that drifted, removals."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from pydantic import SecretBytes

from bastide import cluster
from bastide.secrets import Keyring
from bastide.settings import Postgres
from deploys.postgres import inside, rights

KEYRING = Keyring("prod", {"v1": SecretBytes(b"\1" * 32)})
APP = {"roles": {"app_owner": "owner", "app": "writer", "report": "reader"}, "extensions": ("pg_trgm",)}
EMPTY: dict[str, Any] = {"roles": {}, "databases": {}, "inside": {}, "own": {}, "less": []}


def postgres(**databases: Any) -> Postgres:
    return Postgres.model_validate({"databases": databases or {"app": APP}, "max_connections": 1000})


def todo(
    wanted: Postgres, seen: dict[str, Any], keyring: Keyring = KEYRING, *, sites: int = 2
) -> list[rights.Statement]:
    return rights.statements(rights.shape(wanted, sites), rights.access(wanted, keyring), seen)


def digest(role: str) -> str:
    return hashlib.sha256(cluster.role_verifier(KEYRING, role).get_secret_value().encode()).hexdigest()


def converged() -> dict[str, Any]:
    """What the leader says after a deploy of `APP`."""
    role = {"login": True, "limit": 42, "powers": [], "member_of": [], "ours": True}
    return {
        "roles": {name: {**role, "digest": digest(name)} for name in APP["roles"]},
        "databases": {
            "app": {"owner": "app_owner"},
            "postgres": {"owner": "postgres"},
        },
        "inside": {
            "app": {"extensions": ["plpgsql", "pg_trgm"], "plan": []},
            "postgres": {"extensions": ["plpgsql", "pg_stat_statements", "pgaudit"], "plan": []},
        },
        "own": {},
        "less": [],
    }


def changed(path: str, value: Any) -> list[rights.Statement]:
    """What is done when one thing is not as it was made."""
    seen = copy.deepcopy(converged())
    *parents, last = path.split("/")
    here = seen
    for part in parents:
        here = here[part]
    here[last] = value
    return todo(postgres(), seen)


def test_a_new_cluster_gets_all_of_it_in_order() -> None:
    found = [one.shown for one in todo(postgres(), EMPTY)]
    places = [found.index(word) for word in ("make role app_owner", "make database app", "extension pg_trgm in app")]
    assert places == sorted(places)
    assert found.index("schemas and rights of app") > places[-1]
    texts = [one.text for one in todo(postgres(), EMPTY)]
    assert not any("DROP" in text or "DELETE FROM" in text for text in texts)


def test_as_wanted_means_nothing_to_do() -> None:
    assert todo(postgres(), converged()) == []


def test_what_drifted_is_put_back() -> None:
    (one,) = changed("roles/app/digest", "0")
    assert one.text.startswith('ALTER ROLE "app" PASSWORD \'SCRAM-SHA-256$4096:')
    assert "SCRAM" not in one.shown
    (one,) = changed("roles/report/powers", ["superuser"])
    assert one.text.startswith('ALTER ROLE "report" LOGIN NOSUPERUSER')
    (one,) = changed("roles/app/member_of", ["app_owner"])
    assert one.text == 'REVOKE "app_owner" FROM "app"'
    (one,) = changed("inside/app/plan", ["GRANT SELECT ON TABLE public.t TO report"] * 15)
    assert one.shown.splitlines() == ["GRANT SELECT ON TABLE public.t TO report"] * 12 + ["... and 3 more"]
    assert one.text.startswith("DO $do$")
    assert '"guests": {"app": ' in one.text


def test_removal_drops_nothing_and_ends_logins() -> None:
    found = todo(postgres(other={"roles": {"other_owner": "owner"}}), converged())
    assert [one.text for one in found if '"app"' in one.text or '"report"' in one.text] == [
        'ALTER ROLE "app" NOLOGIN',
        'ALTER ROLE "report" NOLOGIN',
    ]
    assert not any(word in one.text for one in found for word in ("DROP", "TRUNCATE", "DELETE FROM"))
    gone = converged()
    for role in gone["roles"].values():
        role["login"] = False
    (again,) = [one for one in todo(postgres(), gone) if '"app"' in one.text and "ROLE" in one.text]
    assert again.text.startswith('ALTER ROLE "app" LOGIN'), "declared again, it may log in again"
    theirs = converged()
    theirs["roles"]["somebody"] = {**theirs["roles"]["app"], "ours": False}
    assert todo(postgres(), theirs) == [], "a role that people made by hand is theirs"


def test_a_renamed_owner_has_what_the_former_one_made() -> None:
    renamed = postgres(app={**APP, "roles": {"boss": "owner", "app": "writer", "report": "reader"}})
    found = todo(renamed, converged())
    texts = [one.text for one in found]
    assert any(text.startswith('CREATE ROLE "boss"') for text in texts)
    assert 'ALTER DATABASE "app" OWNER TO "boss"' in texts
    assert 'ALTER ROLE "app_owner" NOLOGIN' in texts


def test_names_are_quoted_wherever_they_stand() -> None:
    wanted = postgres(**{"App-1.x": {"roles": {"Own.er-1": "owner", "_w": "writer"}, "extensions": ("uuid-ossp",)}})
    texts = [one.text for one in todo(wanted, EMPTY)]
    assert 'CREATE DATABASE "App-1.x" OWNER "Own.er-1"' in texts
    assert 'CREATE EXTENSION "uuid-ossp" SCHEMA public' in texts
    assert not any("Own.er-1" in text.replace('"Own.er-1"', "") for text in texts)
    assert not any("App-1.x" in text.replace('"App-1.x"', "") for text in texts)
    assert rights._id('a"b') == '"a""b"'
    assert inside.quoted_text("it's \\") == "'it''s \\'"


def test_a_new_master_gives_every_role_a_new_password() -> None:
    both = Keyring("prod", {"v1": SecretBytes(b"\1" * 32), "v2": SecretBytes(b"\2" * 32)})
    found = todo(postgres(), converged(), both)
    assert [one.shown for one in found] == [f"set the password of {role}" for role in APP["roles"]]


def test_each_site_brings_its_own_connections() -> None:
    made = [one.text for one in todo(postgres(), EMPTY, sites=3) if one.shown == "make role app"]
    assert "CONNECTION LIMIT 63 " in made[0]


def test_what_a_role_is_told_otherwise_is_taken_back() -> None:
    statement = "ALTER ROLE app RESET synchronous_commit"
    assert [(one.database, one.text, one.shown) for one in changed("less", [statement])] == [
        ("postgres", statement, statement)
    ]


def test_what_commits_wait_for_is_a_role_s_own_where_they_wait_for_nobody() -> None:
    wanted = postgres()
    fast = wanted.model_copy(update={"durability": "fast"})
    assert "synchronous_commit" in rights.shape(wanted, 2).asked["query"]
    assert "synchronous_commit" not in rights.shape(fast, 2).asked["query"]
