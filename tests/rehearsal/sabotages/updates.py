"""How the machines are kept up to date: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import ANY, STANDBY, Sabotage

_SYSTEM = "/etc/systemd/system"
_SOURCES = ("apt sources",)
_LIST = "/etc/apt/sources.list.d/sabotage.list"
_STATE = "/var/lib/bastide/updates.json"
_PIN = "/etc/apt/preferences.d/zz-sabotage"
# reset: systemd refuses the sixth start within ten seconds
_LOOK = "{{ systemctl reset-failed bastide-updates 2>/dev/null; systemctl start bastide-updates; }}"
_FAILS = f"{_SYSTEM}/bastide-updates.service.d/zz-sabotage.conf"
_SAVE, _BACK = f"{{{{ cp -p {_STATE} /run/state.json || true; }}}}", f"{{{{ mv /run/state.json {_STATE} || true; }}}}"
# an archive of this machine's own that says it is Debian's for security, with a newer version of an installed package
_PLANT = f"""mkdir -p /run/planted && cd /run/planted && cat > Packages <<END
Package: curl
Version: 99:1
Architecture: $(dpkg --print-architecture)
Maintainer: nobody <nobody@localhost>
Description: newer
Filename: curl.deb
Size: 1
SHA256: 0000000000000000000000000000000000000000000000000000000000000000

END
cat > Release <<END
Origin: Debian
Label: Debian-Security
Suite: planted
Codename: planted
Date: $(LC_ALL=C date -u '+%a, %d %b %Y %T') UTC
SHA256:
 $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) Packages
END
echo 'deb [trusted=yes] file:/run/planted ./' > {_LIST}
apt-get -qq update -o Dir::Etc::sourcelist={_LIST} -o Dir::Etc::sourceparts=/dev/null -o APT::Get::List-Cleanup=0"""
_OLD = f"""{_LOOK} && python3 - <<'END'
import json, pathlib, time
path = pathlib.Path("{_STATE}")
state = json.loads(path.read_text())
for kind in ("packages", "reboot"):
    state[kind] = {{{{name: time.time() - 20 * 86400 for name in state[kind]}}}}
path.write_text(json.dumps(state))
END"""
# two programs that run code which is then replaced: the second one only when the reboot for the first has waited
_STALE = """stale() {{
    cp /bin/sleep /usr/local/bin/$1 && systemd-run -q -p Type=exec --unit=$1 /usr/local/bin/$1 900 \\
        && cp /bin/sleep /usr/local/bin/$1.new && mv /usr/local/bin/$1.new /usr/local/bin/$1
}}"""
_POLICY = "/usr/sbin/policy-rc.d"
_POOL, _POOL_LIST = "/usr/sbin/pgbouncer", "/var/lib/dpkg/info/pgbouncer.list"
_CLEAN = f"rm -rf {_LIST} /run/planted /var/lib/apt/lists/_run_planted*; apt-mark -q unhold curl; {_BACK}; {_LOOK}"


def _apt_says(control: str, what: str, says: str, lines: str) -> Sabotage:
    """A file of apt's configuration that is read after the platform's: it sorts last, and the last value counts."""
    file = f"/etc/apt/apt.conf.d/99sabotage-{control}"
    return Sabotage(control, what, says, f"printf '%s\\n' '{lines}' > {file}", f"rm {file}")


def _unit_says(
    control: str, what: str, says: str, unit: str, lines: str, machines: tuple[str, ...] = ANY,
    everywhere: tuple[str, ...] = (),
) -> Sabotage:  # fmt: skip
    """A drop-in of a unit."""
    file = f"{_SYSTEM}/{unit}.d/zz-sabotage.conf"
    reload = "systemctl daemon-reload" + (f" && systemctl restart {unit}" if unit.endswith(".timer") else "")
    break_ = f"mkdir -p $(dirname {file}) && printf '%s\\n' '{lines}' > {file} && {reload}"
    return Sabotage(
        control,
        what,
        says,
        break_,
        f"rm {file} && {reload}; rmdir --ignore-fail-on-non-empty {file.rpartition('/')[0]}",
        machines,
        everywhere=everywhere,
    )


def _source_says(what: str, says: str, line: str) -> Sabotage:
    return Sabotage("updates-04", what, says, f"echo '{line}' > {_LIST}", f"rm {_LIST}", touches=_SOURCES)


SABOTAGES = (
    Sabotage(
        "updates-01",
        "the timer that installs is masked",
        "apt-daily-upgrade.timer is masked",
        "systemctl mask -q --now apt-daily-upgrade.timer",
        "systemctl unmask -q apt-daily-upgrade.timer && systemctl enable -q --now apt-daily-upgrade.timer",
    ),
    Sabotage(
        "updates-01",
        "the timer is enabled, the service behind it is masked",
        "apt-daily-upgrade.service is masked",
        "systemctl mask -q apt-daily-upgrade.service",
        "systemctl unmask -q apt-daily-upgrade.service",
    ),
    Sabotage(
        "updates-01",
        "the lists are never fetched",
        "apt-daily.timer is loaded, disabled, inactive",
        "systemctl disable -q --now apt-daily.timer",
        "systemctl enable -q --now apt-daily.timer",
    ),
    _unit_says(
        "updates-01",
        "once a month",
        "the next upgrade is due in",
        "apt-daily-upgrade.timer",
        "[Timer]\nOnCalendar=\nOnCalendar=*-01-01 01:00:00",
    ),
    _unit_says(
        "updates-01",
        "a condition that never holds",
        "apt-daily-upgrade.service has ExecCondition /bin/false beside it",
        "apt-daily-upgrade.service",
        "[Service]\nExecCondition=/bin/false",
    ),
    _apt_says(
        "updates-01",
        "no origin is allowed",
        "it does not take security updates",
        "#clear Unattended-Upgrade::Origins-Pattern;",
    ),
    _apt_says(
        "updates-01",
        "switched off, as many guides do on databases",
        "APT::Periodic::Unattended-Upgrade is 0",
        'APT::Periodic::Unattended-Upgrade "0";',
    ),
    _apt_says(
        "updates-01",
        "one package is left out",
        "left out: openssl",
        'Unattended-Upgrade::Package-Blacklist {{ "openssl"; }};',
    ),
    Sabotage(
        "updates-01",
        "a package was put on hold today",
        "would not be upgraded, held: curl",
        "apt-mark -q hold curl",
        "apt-mark -q unhold curl",
        touches=("curl",),
    ),
    Sabotage(
        "updates-01",
        "a pin lets no security update of one package in",
        "would not be upgraded, pinned: apt prefers ",
        f"printf 'Package: curl\\nPin: release l=Debian-Security\\nPin-Priority: -1\\n' > {_PIN}",
        f"rm {_PIN}",
        touches=("curl",),
    ),
    _apt_says(
        "updates-01",
        "upgrades on one day of the week",
        "nothing is upgraded on Sundays, Tuesdays",
        'Unattended-Upgrade::Update-Days {{ "Mon"; }};',
    ),
    _apt_says(
        "updates-01",
        "a hook that ends each installation before it begins",
        "apt or dpkg is told by hand: /etc/apt/apt.conf.d/99sabotage-updates-01: DPkg::Pre-Invoke /bin/false",
        'DPkg::Pre-Invoke {{ "/bin/false"; }};',
    ),
    Sabotage(
        "updates-01",
        "a program was put aside: its updates go where nobody looks",
        "updates of /usr/bin/curl are put aside, by a diversion",
        "dpkg-divert --quiet --local --rename --add /usr/bin/curl && cp -p /usr/bin/curl.distrib /usr/bin/curl",
        "rm /usr/bin/curl && dpkg-divert --quiet --local --rename --remove /usr/bin/curl",
        touches=("curl",),
    ),
    _unit_says(
        "updates-01",
        "a condition of systemd's, and apt reads other settings",
        "apt-daily-upgrade.service is told otherwise by /etc/systemd/system/",
        "apt-daily-upgrade.service",
        "[Unit]\nConditionPathExists=/nonexistent\n[Service]\nEnvironment=APT_CONFIG=/dev/null",
    ),
    _apt_says(
        "updates-01",
        "a proxy that is not there: each fetch fails, and apt calls that a success",
        "apt cannot fetch http",
        'Acquire::http::Proxy "http://127.0.0.1:9"; Acquire::https::Proxy "http://127.0.0.1:9";',
    ),
    Sabotage(
        "updates-01",
        "an option of dpkg's",
        "apt or dpkg is told by hand: /etc/dpkg/dpkg.cfg.d/sabotage: force-unsafe-io",
        "echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/sabotage",
        "rm /etc/dpkg/dpkg.cfg.d/sabotage",
    ),
    Sabotage(
        "updates-01",
        "the program that upgrades was replaced",
        "not as its package brought it: /usr/bin/unattended-upgrade",
        "cp -p /usr/bin/unattended-upgrade /run/uu && printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/unattended-upgrade",
        "mv /run/uu /usr/bin/unattended-upgrade",
    ),
    Sabotage(
        "updates-01",
        "all is set, and for 20 days each run has failed",
        "no upgrade has run for 20 days",
        "cd /var/lib && for f in dpkg/info/unattended-upgrades.list apt/periodic/upgrade-stamp; do"
        " [ ! -e $f ] || {{ touch -r $f /run/$(basename $f) && touch -d '20 days ago' $f; }}; done",
        "cd /var/lib && for f in dpkg/info/unattended-upgrades.list apt/periodic/upgrade-stamp; do"
        " [ ! -e $f ] || {{ touch -r /run/$(basename $f) $f && rm /run/$(basename $f); }}; done",
    ),
    Sabotage(
        "updates-02",
        "a held package misses its security update for 20 days",
        "curl 8.",
        f"{_SAVE}; apt-mark -q hold curl && {_PLANT} && {_OLD}",
        _CLEAN,
        touches=(*_SOURCES, "curl"),
    ),
    Sabotage(
        "updates-02",
        "the reboot never came",
        "a reboot, since a package asked for it (20 days)",
        f"{_SAVE}; touch /run/reboot-required && {_OLD}",
        f"rm /run/reboot-required; {_BACK}; {_LOOK}",
    ),
    Sabotage(
        "updates-02",
        "the reboot never came, and what it is for changed",
        "zz-one, zz-two (20 days)",
        f"{_SAVE}; {_STALE}; stale zz-one && {_OLD}\nstale zz-two",
        f"systemctl stop zz-one zz-two; rm /usr/local/bin/zz-one /usr/local/bin/zz-two; {_BACK}; {_LOOK}",
    ),
    Sabotage(
        "updates-02",
        "each look fails, and nothing is remembered",
        "it remembers no look at what waits",
        f"{_SAVE}; mkdir -p $(dirname {_FAILS}) && printf '%s\\n' '[Service]' 'ExecStartPre=/bin/false' > {_FAILS}"
        f" && systemctl daemon-reload && rm -f {_STATE} && ! {_LOOK} 2>/dev/null",
        f"rm {_FAILS} && systemctl daemon-reload; {_BACK}; {_LOOK}",
    ),
    Sabotage(
        "updates-02",
        "nobody looks at what waits",
        "bastide-updates.timer is loaded, disabled, inactive",
        "systemctl disable -q --now bastide-updates.timer",
        "systemctl enable -q --now bastide-updates.timer",
    ),
    _unit_says(
        "updates-02",
        "a look at what waits, on a condition that never holds",
        "bastide-updates.service is told otherwise by /etc/systemd/system/",
        "bastide-updates.service",
        "[Unit]\nConditionPathExists=/nonexistent",
    ),
    _unit_says(
        "updates-03",
        "the program that asks, with another view of its files",
        "bastide-reboot.service is told otherwise by /etc/systemd/system/",
        "bastide-reboot.service",
        "[Service]\nBindReadOnlyPaths=/run:/etc/bastide",
    ),
    _unit_says(
        "updates-03",
        "the same window as the witness",
        "standby and witness may reboot",
        "bastide-reboot.timer",
        "[Timer]\nOnCalendar=\nOnCalendar={first_reboot}",
        STANDBY,
        everywhere=("reboot windows",),
    ),
    _unit_says(
        "updates-03",
        "a second window, at each boot",
        "standby has more than one window",
        "bastide-reboot.timer",
        "[Timer]\nOnBootSec=1h",
        STANDBY,
        everywhere=("reboot windows",),
    ),
    _unit_says(
        "updates-03",
        "it reboots and asks nobody",
        "the window runs something else",
        "bastide-reboot.service",
        "[Service]\nExecStart=\nExecStart=/usr/bin/systemctl reboot",
    ),
    _unit_says(
        "updates-03",
        "a reboot behind the program that asks",
        "bastide-reboot.service has ExecStartPost /usr/bin/systemctl reboot beside it",
        "bastide-reboot.service",
        "[Service]\nExecStartPost=/usr/bin/systemctl reboot",
    ),
    Sabotage(
        "updates-03",
        "the program no longer asks",
        "the program is another one",
        "cp -p /usr/local/lib/bastide/updates.py /run/updates.py"
        " && sed -i 's/if problem := _silent_peer/if problem := 0 and _silent_peer/' /usr/local/lib/bastide/updates.py",
        "mv /run/updates.py /usr/local/lib/bastide/updates.py",
    ),
    Sabotage(
        "updates-03",
        "one peer was forgotten",
        "it does not ask every other machine",
        "cp -p /etc/bastide/updates.json /run/config.json && sed -i '/witness/d;s/\\(primary.*\\),/\\1/'"
        " /etc/bastide/updates.json",
        "mv /run/config.json /etc/bastide/updates.json",
        STANDBY,
    ),
    _apt_says(
        "updates-03",
        "unattended-upgrades reboots by itself",
        "reboots by itself and asks nobody",
        'Unattended-Upgrade::Automatic-Reboot "true";',
    ),
    Sabotage(
        "updates-05",
        "packages restart what they bring, as Debian has it",
        "the package manager may restart ",
        f"mv {_POLICY} /run/policy-rc.d",
        f"mv /run/policy-rc.d {_POLICY}",
        touches=(_POLICY,),
    ),
    Sabotage(
        "updates-05",
        "Patroni may not be restarted, but by the name of its unit",
        "patroni (start, restart, stop, reload)",
        f"cp -p {_POLICY} /run/policy-rc.d && sed -i 's/^case .{{{{1%.service}}}} in/case $1 in/' {_POLICY}",
        f"mv /run/policy-rc.d {_POLICY}",
        STANDBY,
        touches=(_POLICY,),
    ),
    Sabotage(
        "updates-05",
        "the pool was upgraded 20 days ago, and the earlier one still runs",
        "an earlier program than the installed one still runs: pgbouncer (20 days)",
        f"cp -p {_POOL} {_POOL}.new && mv {_POOL}.new {_POOL} && touch -r {_POOL_LIST} /run/pgbouncer.list"
        f" && touch -d '20 days ago' {_POOL_LIST}",
        f"touch -r /run/pgbouncer.list {_POOL_LIST}; rm /run/pgbouncer.list; systemctl restart pgbouncer",
        ("standby", "primary"),
    ),
    Sabotage(
        "updates-05",
        "the program of the databases' turn was changed",
        "/etc/bastide/turn.d/20-postgres is another program",
        "cp -p /etc/bastide/turn.d/20-postgres /run/20-postgres && echo '#' >> /etc/bastide/turn.d/20-postgres",
        "mv /run/20-postgres /etc/bastide/turn.d/20-postgres",
        ("standby", "primary"),
    ),
    Sabotage(
        "updates-05",
        "somebody's program runs at night beside ours",
        "/etc/bastide/turn.d/30-more is none of ours",
        "printf '#!/bin/sh\\n' > /etc/bastide/turn.d/30-more && chmod 755 /etc/bastide/turn.d/30-more",
        "rm /etc/bastide/turn.d/30-more",
    ),
    _source_says(
        "a source that is trusted unseen",
        "a source is spared from checks: deb",
        "deb [trusted=yes] file:/run/planted ./",
    ),
    Sabotage(
        "updates-04",
        "Debian's own source is spared from checks",
        "a source is spared from checks: Trusted: yes",
        "f=$(ls /etc/apt/sources.list.d/debian.sources) && cp -p $f /run/debian.sources"
        " && sed -i '/^Types:/a Trusted: yes' $f",
        "mv /run/debian.sources /etc/apt/sources.list.d/debian.sources",
        touches=_SOURCES,
    ),
    Sabotage(
        "updates-04",
        "a package that somebody made, and installed by hand",
        "no archive has sabotage 1, or a newer one",
        "mkdir -p /run/made/DEBIAN && printf '%s\\n' 'Package: sabotage' 'Version: 1' 'Architecture: all'"
        " 'Maintainer: nobody <nobody@localhost>' 'Description: made by hand' > /run/made/DEBIAN/control"
        " && dpkg-deb --build /run/made /run/made.deb >/dev/null && dpkg -i /run/made.deb >/dev/null",
        "dpkg --purge sabotage >/dev/null; rm -r /run/made /run/made.deb",
    ),
    _source_says("somebody's archive", "file:/run/planted ./ is not declared", "deb file:/run/planted ./"),
    _source_says(
        "a source with a key of its own",
        "was not found signed with Debian's keys",
        "deb [signed-by=/etc/apt/keyrings/other.asc] http://archive.example.eu/debian trixie-backports main",
    ),
    Sabotage(
        "updates-04",
        "a key that counts for every archive",
        "keys that count for every archive: /etc/apt/trusted.gpg.d/other.asc",
        "cp /etc/apt/trusted.gpg.d/debian-archive-trixie-stable.asc /etc/apt/trusted.gpg.d/other.asc",
        "rm /etc/apt/trusted.gpg.d/other.asc",
    ),
    _apt_says(
        "updates-04",
        "archives without a signature are let in",
        "Acquire::AllowInsecureRepositories is 1",
        'Acquire::AllowInsecureRepositories "1";',
    ),
    _apt_says(
        "updates-04",
        "somebody else looks at signatures",
        "APT::Key::gpgvcommand is /bin/true",
        'APT::Key::gpgvcommand "/bin/true";',
    ),
    _apt_says(
        "updates-04",
        "packages without a signature are let in",
        "APT::Get::AllowUnauthenticated is true",
        'APT::Get::AllowUnauthenticated "true";',
    ),
    _apt_says(
        "updates-04", "old lists count for ever", "Check-Valid-Until is false", 'Acquire::Check-Valid-Until "false";'
    ),
)
