"""What the planted archive says of a package."""

from __future__ import annotations

from tests.verify.probes.remote import planted


def test_what_must_have_the_same_version_becomes_newer_with_it() -> None:
    record = {
        "Package": "libc-bin", "Version": "2.41-12", "Architecture": "amd64", "Status": "install ok installed",
        "Depends": "libc6 (= 2.41-12), libc6:any (= 2.41-12), other (= 2.41-12), libfoo (>= 1)",
    }  # fmt: skip
    lines = planted._entry(record, {"libc-bin": "2.41-12", "libc6": "2.41-12", "other": "1"}).splitlines()
    assert "Version: 2.41-12+planted1" in lines
    assert (
        "Depends: libc6 (= 2.41-12+planted1), libc6:any (= 2.41-12+planted1), other (= 2.41-12), libfoo (>= 1)" in lines
    )
    assert not any(line.startswith("Status") for line in lines)


def test_days_are_said_in_three_ways() -> None:
    assert planted._days([]) == []
    assert planted._days(["Mon", "Tuesday", "3"]) == [0, 4, 5, 6]
