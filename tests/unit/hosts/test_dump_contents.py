"""What a dump holds, taken apart as psql does, and what of it is restored here."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bastide.errors import BastideError
from hosts.commands.databases.contents import Contents, chosen, is_skipped, problems
from hosts.commands.databases.dump_file import dump_file
from hosts.commands.databases.plain_sql import pieces

# as `pg_restore --list` of PostgreSQL 17 shows a dump of 15
LISTED = """\
;
; Archive created at 2026-11-28 10:00:00 UTC
;     dbname: shop
;     TOC Entries: 30
;     Dumped from database version: 15.18 (Debian 15.18-0+deb12u1)
;     Dumped by pg_dump version: 15.18 (Debian 15.18-0+deb12u1)
;
8; 2615 2200 SCHEMA - public legacy
3550; 0 0 COMMENT - SCHEMA public legacy
9; 2615 16574 SCHEMA - billing webuser
4; 3079 16480 EXTENSION - hstore 
3551; 0 0 COMMENT - EXTENSION hstore 
900; 1247 16577 TYPE public mood legacy
220; 1259 16581 TABLE public customers legacy
3552; 0 0 COMMENT public TABLE customers legacy
3554; 0 0 ACL public TABLE customers legacy
3530; 0 16581 TABLE DATA public customers legacy
3560; 0 0 SEQUENCE SET public customers_id_seq legacy
3534; 2613 16658 BLOB - 16658 postgres
3536; 6104 16655 PUBLICATION - everything postgres
3537; 6106 16656 PUBLICATION TABLE public everything customers postgres
3538; 6100 16657 SUBSCRIPTION - pulls postgres
2215; 826 16639 DEFAULT ACL - DEFAULT PRIVILEGES FOR TABLES legacy
3381; 3466 16657 EVENT TRIGGER - et postgres
3382; 0 0 COMMENT - EVENT TRIGGER et postgres
1; 2612 13 PROCEDURAL LANGUAGE - plpgsql postgres
"""
HEAD = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 15.18\n\n"
TAIL = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
SHOP = (
    HEAD
    + """\
SET transaction_timeout = 0;
CREATE SCHEMA public;
ALTER SCHEMA public OWNER TO legacy;
CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA extensions;
COMMENT ON EXTENSION hstore IS 'pairs; of text';
CREATE FUNCTION public.total() RETURNS bigint
    LANGUAGE plpgsql
    AS $fn$ begin
ALTER TABLE public.customers OWNER TO legacy;
-- it's no end;
return 1; end; $fn$;
ALTER FUNCTION public.total() OWNER TO legacy;
CREATE FUNCTION public.atomic(a integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT CASE WHEN (a > 1) THEN 2 ELSE 3 END AS "case";
 SELECT a;
END;
/* a block; of it */
CREATE TABLE public."Tab""le;" (x text DEFAULT E'it\\'s; $$');
COPY public."Tab""le;" (x) FROM stdin;
-- Name: x; Type: y
ALTER TABLE public.x OWNER TO legacy;
'
\\.

INSERT INTO public.notes VALUES (1, 'GRANT ALL;
\\! touch /tmp/x
');
INSERT INTO public.notes VALUES (2, '{"a": ";"}');
CREATE RULE r AS ON UPDATE TO public.v DO INSTEAD ( UPDATE public.a SET x = 1; DELETE FROM public.a; );
CREATE POLICY p ON public.notes FOR SELECT TO anon, "Odd" USING (true);
GRANT SELECT ON TABLE public.notes TO anon;
CREATE PUBLICATION everything FOR ALL TABLES;
BEGIN;
SELECT pg_catalog.lo_close(0);
COMMIT;
"""
    + TAIL
)


def statements(text: str) -> list[str]:
    return [piece.bare for piece in pieces(text.encode().splitlines(keepends=True)) if piece.kind == "statement"]


def written(folder: Path, text: str | bytes, name: str = "dump") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found_problems(found: Contents, *, declared: tuple[str, ...] = (), version: int = 17) -> list[tuple[str, str]]:
    there = {"plpgsql": "pg_catalog", **dict.fromkeys(declared, "public")}
    offered = ("hstore", "pg_trgm")
    return list(
        problems(
            found, version=version, declared=declared, known=("app",), offered=offered, there=there, database="shop"
        )
    )


def test_of_a_table_of_contents_come_objects_and_rows() -> None:
    found = Contents()
    kept = [line.split(" ", 3)[3] for line in chosen(LISTED, found).splitlines()]
    assert kept == [
        "SCHEMA - billing webuser",
        "TYPE public mood legacy",
        "TABLE public customers legacy",
        "COMMENT public TABLE customers legacy",
        "TABLE DATA public customers legacy",
        "SEQUENCE SET public customers_id_seq legacy",
        "BLOB - 16658 postgres",
    ]
    assert found.version == 15
    assert found.objects == 7
    assert sorted(word.partition(":")[0] for word in found.left_out) == [
        "event triggers",
        "publications",
        "rights",
        "subscriptions",
    ]


def test_sql_is_taken_apart_where_psql_would() -> None:
    whole = b"".join(piece.text for piece in pieces(SHOP.encode().splitlines(keepends=True)))
    assert whole == SHOP.encode()
    said = statements(SHOP)
    assert [text.split("(")[0] for text in said if text.startswith("CREATE FUNCTION")] == [
        "CREATE FUNCTION public.total",
        "CREATE FUNCTION public.atomic",
    ]
    assert any(text.endswith("SELECT a; END;") for text in said)
    assert any(text.endswith("DELETE FROM public.a; );") for text in said)
    assert sum(text.startswith("INSERT") for text in said) == 2
    assert [piece.text for piece in pieces(SHOP.encode().splitlines(keepends=True)) if piece.kind == "rows"] == [
        b"-- Name: x; Type: y\n",
        b"ALTER TABLE public.x OWNER TO legacy;\n",
        b"'\n",
        b"\\.\n",
    ]


def test_of_sql_come_objects_and_rows(tmp_path: Path) -> None:
    file = dump_file(written(tmp_path, SHOP))
    found, size = file.read_through()
    sent = b"".join(file.statements())
    assert len(sent) == size
    left = statements(sent.decode())
    assert [text.partition(" ")[0] for text in left] == [
        *("SET", "CREATE", "CREATE", "CREATE", "COPY", "INSERT", "INSERT", "CREATE", "CREATE", "SELECT"),
    ]
    assert b"restrict" not in sent
    # what stands in a function, in rows and in texts is theirs
    assert sent.count(b"OWNER TO legacy") == 2
    assert found.version == 15
    assert found.extensions == {"hstore": "extensions"}
    assert found.roles == {"anon", "Odd"}
    packed = dump_file(written(tmp_path, gzip.compress(SHOP.encode()), "dump.gz"))
    assert b"".join(packed.statements()) == sent


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\n", "is no dump"),
        (b"", "is no dump"),
        (SHOP.removesuffix(TAIL).encode(), "was cut off"),
        (gzip.compress(SHOP.encode() * 200)[:-20], "damaged or was cut off"),
        (b"\x1f\x8b nonsense", "damaged or was cut off"),
        (gzip.compress(b"PGDMP..."), "packed once more"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "of a whole server"),
        ((HEAD + "CREATE ROLE x;\n" + TAIL).encode(), "of a whole server"),
        ((HEAD + "\\connect a\n\\connect b\n" + TAIL).encode(), "of a whole server"),
        ((HEAD + "\\! touch x\n" + TAIL).encode(), r"a command of psql: \\!"),
        (bytes(257) + b"ustar" + bytes(99), "tar format"),
    ],
    # gzip's head holds the time: no name for a test
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_file_that_is_no_whole_dump_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(BastideError, match=said) as caught:
        dump_file(written(tmp_path, content)).read_through()
    assert caught.value.hint


def test_no_file_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "is a folder")):
        with pytest.raises(BastideError, match=said):
            dump_file(path)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER LARGE OBJECT 16658 OWNER TO postgres;",
        "ALTER FUNCTION public.f(a integer, b text) OWNER TO legacy;",
        'ALTER MATERIALIZED VIEW "Odd".mv OWNER TO "a b";',
        "SET SESSION AUTHORIZATION DEFAULT;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON TABLES TO x;",
        "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS t_pkey;",
        "DROP TABLE IF EXISTS public.t;",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC;",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p;",
        "COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL';",
    ],
)
def test_what_the_platform_makes_itself_is_skipped(statement: str) -> None:
    assert is_skipped(statement, Contents())


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);",
        "ALTER SEQUENCE public.s OWNED BY public.t.id;",
        "COMMENT ON SCHEMA billing IS 'x';",
        "CREATE SCHEMA public_site;",
        "ALTER TABLE ONLY public.t ALTER COLUMN x SET DEFAULT 'GRANT';",
    ],
)
def test_all_else_is_not(statement: str) -> None:
    assert not is_skipped(statement, Contents())


def test_a_declared_schema_is_there_already() -> None:
    found = Contents(schemas=frozenset({"billing", "Odd one"}))
    assert "SCHEMA - billing" not in chosen(LISTED, found)
    for statement in ("CREATE SCHEMA billing;", 'CREATE SCHEMA IF NOT EXISTS "Odd one";'):
        assert is_skipped(statement, found)
        assert not is_skipped(statement, Contents())


def test_what_would_not_go_is_said_before() -> None:
    assert found_problems(Contents(version=17, extensions={"plpgsql": "pg_catalog"}, roles={"public", "app"})) == []
    (newer,) = found_problems(Contents(version=18))
    assert "PostgreSQL 18" in newer[0]
    (missing,) = found_problems(Contents(extensions={"hstore": "", "pg_trgm": "public"}), declared=("pg_trgm",))
    assert missing[0] == "it needs the extension hstore, not declared for shop"
    assert "settings.postgres.databases.shop: `extensions: [pg_trgm, hstore]`" in missing[1]
    (foreign,) = found_problems(Contents(extensions={"postgis": ""}))
    assert "the extension postgis, which the platform does not have" in foreign[0]
    (elsewhere,) = found_problems(Contents(extensions={"hstore": "extensions"}), declared=("hstore",))
    assert "ALTER EXTENSION hstore SET SCHEMA public" in elsewhere[1]
    (stranger,) = found_problems(Contents(roles={"anon", "app"}))
    assert "the role anon, which nobody has declared" in stranger[0]
    found = Contents()
    found.read("CREATE OPERATOR CLASS public.o DEFAULT FOR TYPE x USING btree AS STORAGE x;")
    (beyond,) = found_problems(found)
    assert beyond[0] == "only a superuser could make OPERATOR CLASS public.o"
