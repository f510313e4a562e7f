"""When each machine upgrades and may reboot: one after the other, worked out from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from bastide.settings import Settings

_DAY_MINUTES = 24 * 60
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Windows:
    """One machine's times as systemd writes them (systemd.time(7), "Calendar Events"), without a time zone: local."""

    upgrade: str
    reboot: str


def windows(settings: Settings) -> dict[str, Windows]:
    """The windows of every machine by name, in their order."""
    updates = settings.updates
    apart = updates.reboot.minutes_apart
    return {
        name: Windows(
            _calendar("daily", updates.begin, place * apart),
            _calendar(updates.reboot.day, updates.reboot.begin, place * apart),
        )
        for place, name in enumerate(settings.one_at_a_time)
    }


def _calendar(day: str, begin: str, later: int) -> str:
    """`later` minutes after `begin`; past midnight it is the next day."""
    hours, minutes = begin.split(":")
    days, minute = divmod(int(hours) * 60 + int(minutes) + later, _DAY_MINUTES)
    weekday = "" if day == "daily" else f"{_DAYS[(_DAYS.index(day) + days) % 7]} "
    return f"{weekday}*-*-* {minute // 60:02}:{minute % 60:02}:00"
