"""Where packages come from: archives that are declared, and checked against the keys that belong to them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import updates
from tests.verify.probes.updates import apt_values, flat, parsed
from tests.verify.probes.world import Observation

_KEYRINGS = {"/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"}


# what Hetzner's images bring beside Debian's packages: it sets up their private networks
_OF_THE_PROVIDER = {"hc-utils"}


@pytest.mark.control("updates-04")
@pytest.mark.probe(updates.installs)
def test_every_package_is_an_archives(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """Of each installed package an archive that apt knows has this version or a newer one."""
    found: list[str] = parsed(observation.data, "which packages came from where cannot be read")["foreign"]
    theirs = {one for one in found if machine.provider != "existing" and one.split()[0] in _OF_THE_PROVIDER}
    judge(f"no archive has {one}, or a newer one" for one in found if one not in theirs)
    note(f"each but the provider's own {', '.join(sorted(theirs))}" if theirs else "each")


@pytest.mark.control("updates-01", "updates-05")
@pytest.mark.probe(updates.installs)
def test_nothing_bends_what_is_installed(observation: Observation, note: Callable[[str], None]) -> None:
    """There is no hook or option of apt and dpkg that no package brought, and no diversion by hand.

    So what is taken is put in its place, and nothing else is done by it.
    """
    seen = parsed(observation.data, "how packages are installed cannot be read")
    wrong = [f"apt or dpkg is told by hand: {text}" for text in seen["told"]]
    judge([*wrong, *(f"updates of {path} are put aside, by a diversion" for path in seen["diverted"])])
    note("no hook, option or diversion by hand")


@pytest.mark.control("updates-04")
@pytest.mark.probe(updates.sources)
def test_every_source_is_declared_and_checked(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """Each source that apt would use is Debian's with Debian's keys or a declared one with its declared key."""
    assert observation.data.code == 0, "apt cannot read its sources"
    declared = {(source.url.rstrip("/"), source.suite): source for source in settings.updates.sources.values()}
    configured, _, fetched = observation.data.text.partition("\n# ")
    rows = [row.split(maxsplit=2) for row in re.split(r"^# ", fetched, flags=re.MULTILINE)]
    keys = {(row[0].rstrip("/"), row[1]): flat("".join(row[2:])) for row in rows if len(row) > 1}
    used = {(words[1].rstrip("/"), words[2]) for words in map(str.split, configured.splitlines())}
    assert used, "apt has no source at all"
    note(f"{len(used)} source(s), {len(used & set(keys))} of them fetched")
    wrong = []
    for site, release in sorted(used):
        where, key = f"{site} {release}", keys.get((site, release), "")
        if (source := declared.get((site, release))) is not None:
            if key not in ("", flat(source.key)):
                wrong.append(f"{where} is checked against another key than the declared one")
        elif not re.fullmatch(r"trixie(-updates|-security|-backports)?", release):
            wrong.append(f"{where} is not declared")
        # without a key of its own, Debian's count: see test_no_key_counts_for_every_archive
        elif key not in (*map(flat, _KEYRINGS), flat("$(SIGNED_BY)")):
            wrong.append(f"{where} is not declared, and was not found signed with Debian's keys")
    judge(wrong)


@pytest.mark.control("updates-04")
@pytest.mark.probe(updates.spared_sources)
def test_no_source_is_spared(observation: Observation, note: Callable[[str], None]) -> None:
    """No source says of itself that it needs no check."""
    note(f"{len(observation.data.text.splitlines())} sources with such an option")
    judge(f"a source is spared from checks: {line.strip()}" for line in observation.data.text.splitlines())


@pytest.mark.control("updates-04")
@pytest.mark.probe(updates.apt_config)
def test_no_check_is_switched_off(observation: Observation, note: Callable[[str], None]) -> None:
    """No option of apt lets packages in whose archive is not signed, or was signed with something weak or old."""
    single, _ = apt_values(observation.data)
    dangerous = re.compile(
        r"(Acquire::(Allow\w*(Insecure|Weak)\w*|Check-Valid-Until|Check-Date)|APT::Get::AllowUnauthenticated"
        r"|Acquire::https::\S*Verify-(Peer|Host)|APT::Hashes::\S+::(Weak|Untrusted)|Acquire::AllowReleaseInfoChange)"
    )
    note(f"{sum(bool(dangerous.fullmatch(key)) for key in single)} options that bear on it, of {len(single)}")
    off_is_bad = ("Check-Valid-Until", "Check-Date", "Verify-Peer", "Verify-Host", "Untrusted", "Weak")
    on = {key: value.lower() in ("1", "true", "yes", "on", "with", "enable") for key, value in single.items()}
    # who looks at signatures, and who fetches: apt.conf(5) lets others take their place
    others = [
        f"{key} is {value}"
        for key, value in single.items()
        if re.fullmatch(r"(?i)(Dir::Bin::(methods|apt-key|gpg|gpgv|sqv)|APT::Key::gpgvcommand)", key)
        and value not in ("/usr/lib/apt/methods", "/usr/bin/apt-key", "/usr/bin/gpg", "/usr/bin/gpgv", "/usr/bin/sqv")
    ]
    off = [
        f"{key} is {value}"
        for key, value in single.items()
        if dangerous.fullmatch(key) and on[key] != key.endswith(off_is_bad)
    ]
    judge([*off, *others])


@pytest.mark.control("updates-04")
@pytest.mark.probe(updates.apt_keys)
def test_no_key_counts_for_every_archive(observation: Observation, note: Callable[[str], None]) -> None:
    """The keys that count for every archive are those of Debian's own package, unchanged."""
    note(f"{len(observation.data.text.split())} others")
    assert observation.data.text == "", f"keys that count for every archive: {', '.join(observation.data.text.split())}"
