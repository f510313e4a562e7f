"""The page: nothing is claimed without a fresh green proof, and nothing on it can run or leak."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bastide.capabilities import WORDS
from bastide.controls import CONTROLS, control, facts
from bastide.errors import EvidenceError
from bastide.evidence import Evidence, evidence_path, save, signature_path
from bastide.machines import Inventory, Machine, build_dir, inventory_path, save_inventory
from bastide.report import check_page, summary_lines, write_page
from bastide.settings import Settings
from tests.rehearsal.outages import POWER_CUT, Outage
from tests.rehearsal.published import percentile, publish
from tests.unit.bastide.proofs import AT, EXAMPLE, SETTINGS, all_green, check, inventory, row, with_existing, with_row

NOW = AT + timedelta(minutes=1)
CLAIM = "Only keys open a session"
Page = Callable[..., str]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A project with the example as its only stack, all green."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.example.yaml").write_text(EXAMPLE.read_text())
    save_inventory(inventory(), inventory_path("example", tmp_path))
    save(all_green(), evidence_path("example", tmp_path))
    return tmp_path


@pytest.fixture
def page(stack: Path) -> Page:
    """Writes evidence and returns the page made from it."""

    def make(evidence: Evidence | None = None, now: datetime = NOW) -> str:
        if evidence:
            save(evidence, evidence_path("example", stack))
        return write_page("example", stack, now=now).read_text()

    return make


def _primary(machines: Inventory | None = None) -> Machine:
    return (machines or inventory())["primary"]


def test_what_is_proven_is_printed_with_when_where_and_how(page: Page) -> None:
    text = page()
    for one in CONTROLS:
        assert one.claim(facts(SETTINGS, inventory())).partition("“")[0].replace("'", "&#39;") in text
    assert "21 Nov 2026, 01:00 UTC" in text
    assert "primary, standby, witness" in text
    assert "# look &lt;here&gt; &amp; there" in text
    assert "what was seen" in text
    assert "Not proven" not in text


@pytest.mark.parametrize("outcome", ["failed", "not_provable_here"])
def test_what_failed_or_cannot_be_proven_is_not_claimed(outcome: str, page: Page, stack: Path) -> None:
    bad = row("ssh-01", _primary(), check(), check(outcome, "mallory at 198.18.0.0 got in"))
    text = page(with_row(all_green(), bad))
    assert CLAIM not in text
    assert "Not proven" in text
    assert control("ssh-01").subject in text
    lines, code = summary_lines("example", stack, now=NOW)
    assert any("ssh-01" in line and "mallory" in line for line in lines)
    assert code == (1 if outcome == "failed" else 0)


def test_details_of_a_failure_stay_off_the_page(page: Page) -> None:
    bad = row("ssh-01", _primary(), check("failed", "mallory at 198.18.0.0 got in"))
    text = page(with_row(all_green(), bad))
    assert "mallory" not in text
    assert "On primary: this did not hold: “The look says so”." in text


def test_a_stale_proof_is_not_printed(page: Page, stack: Path) -> None:
    age = control("ssh-01").max_age
    assert CLAIM in page(now=AT + age)
    assert CLAIM not in page(now=AT + age + timedelta(seconds=1))
    lines, code = summary_lines("example", stack, now=AT + age + timedelta(seconds=1))
    assert code == 1
    assert "pytest tests/verify" in lines[-1]


def test_a_proof_that_is_missing_on_one_machine_is_none(page: Page) -> None:
    green = all_green()
    rows = tuple(one for one in green.rows if (one.control, one.machine) != ("ssh-01", "witness"))
    assert CLAIM not in page(Evidence(run=green.run, rows=rows))


def test_a_proof_of_a_machine_that_was_replaced_is_none(page: Page, stack: Path) -> None:
    machines = inventory()
    other = Machine(**{**_primary().to_json(), "id": "99"})
    save_inventory(
        Inventory("example", "cloud", "bastide", "~/.ssh/bastide", 22, (other, *machines.machines[1:])),
        inventory_path("example", stack),
    )
    assert CLAIM not in page()


def test_a_proof_under_other_settings_is_none(page: Page, stack: Path) -> None:
    file = stack / "stacks" / "Pulumi.example.yaml"
    file.write_text(file.read_text().replace("max_auth_tries: 3", "max_auth_tries: 5"))
    assert CLAIM not in page()


def test_a_proof_by_other_checks_or_of_another_sentence_is_none(page: Page) -> None:
    for other in ("", "0123456789abcdef"):
        bad = row("ssh-01", _primary()).model_copy(update={"proof": other})
        text = page(with_row(all_green(), bad))
        assert CLAIM not in text
        assert "On primary: its sentence or its checks were changed since it was proven." in text


def test_a_proof_from_the_future_is_none(page: Page) -> None:
    assert CLAIM in page(now=AT - timedelta(minutes=2))
    text = page(now=AT - timedelta(minutes=3))
    assert CLAIM not in text
    assert "its proof says that it was made later than now, on 21 Nov 2026" in text


def test_a_page_can_be_checked_without_any_machine(page: Page, stack: Path) -> None:
    path = build_dir("example", stack) / "security.html"
    with pytest.raises(EvidenceError, match="there is no page"):
        check_page("example", stack, now=NOW)
    page()
    said = check_page("example", stack, now=NOW)
    assert said == [f"{path} is what its evidence says", "○ the evidence is unsigned"]
    later = AT + control("ssh-01").max_age + timedelta(hours=1)
    assert "not proven any more" in check_page("example", stack, now=later)[-1]
    path.write_text(path.read_text().replace("Only keys", "Only good keys"))
    with pytest.raises(EvidenceError, match="is not what its evidence"):
        check_page("example", stack, now=NOW)


def test_evidence_that_somebody_changed_after_it_was_signed_makes_no_page(page: Page, stack: Path) -> None:
    page()
    signature_path(evidence_path("example", stack)).write_text("-----BEGIN SSH SIGNATURE-----\nAAAA\n")
    with pytest.raises(EvidenceError, match="signature of nobody who may sign"):
        write_page("example", stack, now=NOW)


def test_a_proof_from_the_lab_is_none_for_the_cloud(page: Page) -> None:
    bad = row("ssh-01", _primary()).model_copy(update={"environment": "lab"})
    assert CLAIM not in page(with_row(all_green(), bad))


def test_the_lab_is_named(stack: Path, page: Page) -> None:
    assert "in the lab" not in page()
    save_inventory(inventory("lab"), inventory_path("example", stack))
    green = all_green()
    rows = tuple(one.model_copy(update={"environment": "lab"}) for one in green.rows)
    text = page(Evidence(run=green.run, rows=rows))
    assert "Proven in the lab, on a rehearsal of the platform" in text
    assert CLAIM in text


def test_evidence_of_another_stack_is_refused(page: Page) -> None:
    green = all_green()
    with pytest.raises(EvidenceError, match="evidence of the stack other"):
        page(Evidence(run=green.run.model_copy(update={"stack": "other"}), rows=green.rows))


def test_text_of_users_is_escaped(stack: Path, page: Page) -> None:
    file = stack / "stacks" / "Pulumi.example.yaml"
    file.write_text(file.read_text().replace("name: Example Works", 'name: "A & B <script>alert(1)</script>"'))
    text = page()
    assert "A &amp; B &lt;script&gt;" in text
    assert "<script" not in text


def test_nothing_runs_and_nothing_is_loaded(page: Page) -> None:
    text = page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy and style  # noqa: PT018
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert not re.search(r"<(script|link|img|iframe|object|form)\b", text)
    assert not re.search(r"\s(style|on[a-z]+|src)=", text)
    assert re.findall(r'href="([^"]+)"', text) == ["#content", "mailto:security@example.eu"]


def test_the_page_shows_no_address_and_no_account(page: Page) -> None:
    text = page()
    for machine in inventory():
        for address in (machine.address, machine.address6, machine.private_address):
            assert address not in text
    assert "anna" not in text
    assert "carla" not in text


def test_the_page_is_the_same_twice(page: Page) -> None:
    assert page() == page(now=NOW + timedelta(minutes=5))


def test_the_page_is_well_formed_and_can_be_found_through(page: Page) -> None:
    bad = row("ssh-01", _primary(), check("failed", "no"))
    outline = _Outline()
    outline.feed(page(with_row(all_green(), bad)))
    assert outline.open == []
    assert outline.headings[0] == "h1"
    assert outline.headings.count("h1") == 1
    assert len(set(outline.ids)) == len(outline.ids)
    assert {"main", "header", "footer"} <= outline.seen
    assert outline.language == "en"


def test_the_drawing_does_not_claim_either(page: Page) -> None:
    assert "reach no port" in page()
    bad = row("firewall-02", _primary(), check("failed", "no"))
    assert "reach no port" not in page(with_row(all_green(), bad))


def test_a_server_of_somebody_else_is_drawn_as_such(stack: Path, page: Page) -> None:
    save_inventory(with_existing(inventory()), inventory_path("example", stack))
    text = page()
    assert "France (Gravelines)" in text
    assert text.count("a server of OVH") == 2
    assert text.count("a server of Hetzner") == 4
    alone = [one for one in with_existing(inventory()) if one.provider == "existing"]
    save_inventory(replace(inventory(), machines=tuple(alone)), inventory_path("example", stack))
    assert 'class="net"' not in page()


def test_what_is_not_proven_is_not_drawn(page: Page) -> None:
    """Neither the mesh, nor a firewall of the provider's, whose rules no check reads."""
    text = page()
    assert "encrypted mesh between 3 sites" in text
    assert text.count('class="dot"') == 6
    assert "the provider's firewall" not in text.partition("<section")[0]
    bad = row("wireguard-01", _primary(), check("failed", "no"))
    text = page(with_row(all_green(), bad))
    assert "encrypted mesh between" not in text
    assert 'class="net"' not in text


def test_all_proven_says_so_and_ends_well(stack: Path) -> None:
    lines, code = summary_lines("example", stack, now=NOW)
    assert lines == [f"{len(CONTROLS)} of {len(CONTROLS)} sentences proven on 3 servers"]
    assert code == 0


def test_the_next_step_names_the_control(stack: Path) -> None:
    save(with_row(all_green(), row("ssh-01", _primary(), check("failed", "no"))), evidence_path("example", stack))
    lines, _ = summary_lines("example", stack, now=NOW)
    assert lines[-1].endswith("`pytest tests/verify --control ssh-01`")


def test_a_setting_of_one_person_reads_well() -> None:
    people = {"anna": SETTINGS.users.people["anna"]}
    settings: Settings = SETTINGS.model_copy(update={"users": SETTINGS.users.model_copy(update={"people": people})})
    assert "1 person" in control("users-01").claim(facts(settings, inventory()))


class _Outline(HTMLParser):
    """What is open, which headings and ids there are."""

    VOID = ("meta", "path", "rect", "circle", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.seen: set[str] = set()
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.seen.add(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if tag == "html":
            self.language = values.get("lang") or ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.skipif("postgres" not in WORDS, reason="the page has no section of Postgres")
@pytest.mark.parametrize("lost", [0, 2])
def test_for_how_long_writes_stopped_is_a_figure_of_the_rehearsal(stack: Path, page: Page, lost: int) -> None:
    assert "writes stopped" not in page()
    outages = [
        Outage(POWER_CUT, stopped, 6.0, 1000, 7, lost if stopped > 20 else 0, ["a", "b"]) for stopped in (19.2, 21.4)
    ]
    publish(outages, "abc", stack)
    text = page()
    assert "(commit abc, 2 runs, unsigned) writes stopped for at most 22 s when the leader lost power" in text
    assert f"{lost or 'none'} of 2,000 acknowledged rows {'were' if lost else 'was'} lost" in text


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile([3, 1, 2], share) for share in (50, 95, 100)] == [2, 3, 3]
    assert percentile(list(range(1, 21)), 95) == 19
