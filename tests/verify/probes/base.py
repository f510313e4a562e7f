"""What a machine is called, what its clock follows, how it keeps its journal, what is installed, and who reads what."""

from __future__ import annotations

from bastide.layout.base import COMPILERS, UNNEEDED
from bastide.layout.updates import ROLLED
from tests.verify.probes.batch import command

# journald's message about its own limits (sd-messages.h, SD_MESSAGE_JOURNAL_USAGE): what the running daemon goes by
_JOURNAL_USAGE = "ec387f577b844b8fa948f33cad9a75e6"
_USAGE = f"journalctl -q -b MESSAGE_ID={_JOURNAL_USAGE} -o json --output-fields=JOURNAL_NAME,MAX_USE,CURRENT_USE"

clock = command("clock", "systemd-detect-virt --container; timedatectl show -p NTPSynchronized --value")
journal = command(
    "journal",
    f"{_USAGE}; systemd-analyze cat-config systemd/journald.conf",
    shows="journalctl (journald's own account of its limits); systemd-analyze cat-config systemd/journald.conf",
)
oldest_entry = command("oldest", "journalctl -q -n +1 -o short-unix | head -n 1 | cut -d. -f1")
names = command(
    "names",
    "hostname; readlink /etc/localtime; date '+%s %z'; cat /etc/hostname; systemctl show-environment | grep ^TZ=; true",
    shows="hostname; readlink /etc/localtime; date +%z; cat /etc/hostname; systemctl show-environment",
)
# when journald read its settings, when these were changed, and journals of whom its limits are not: of another machine
# that this one was copied from, or of a namespace of their own (systemd-journald.service(8))
kept_journals = command(
    "journals",
    """systemctl show --timestamp=unix -p StateChangeTimestamp,ExecMainStartTimestamp systemd-journald
for path in /etc/systemd/journald.conf* /etc/systemd/journald.conf.d/* /run/systemd/journald.conf.d \\
    /run/systemd/journald.conf.d/*; do
  if [ -d "$path" ]; then stat -c 'written %Y %n' "$path"; elif [ -e "$path" ]; then stat -c 'written %Z %n' "$path"; fi
done
for folder in /var/log/journal/* /run/log/journal/*; do
  [ -d "$folder" ] && [ "${folder##*/}" != "$(cat /etc/machine-id)" ] && [ "$(ls "$folder")" ] && echo "other $folder"
done; true""",
    shows="systemctl show systemd-journald; stat /etc/systemd/journald.conf.d/*; ls /var/log/journal",
)
# access(2) is asked with an account that has no right at all
_NOBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs"
_CLOSED = "/etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- /etc/ssh/sshd_config"
closed = command(
    "closed",
    f"""echo "= $(find /var/log -type f | wc -l)"
{_NOBODY} find /var/log -type f -readable 2>/dev/null | sed 's/^/+ /'
for file in {_CLOSED}; do if {_NOBODY} test -r $file; then echo "+ $file"; fi; done""",
    shows=f"{_NOBODY} find /var/log -type f -readable",
)
# needrestart reads its files so, too: what they say together, later ones included. Then for each service, whether a
# pattern of either kind is of it
_READ = (
    "our %nrconf; my $LOGPREF = q(); $nrconf{verbosity} = 0; my $main = q(/etc/needrestart/needrestart.conf);"
    " eval do { local (@ARGV, $/) = $main; <> }; die $@ if $@; print qq(restart $nrconf{restart}\n);"
    " for my $unit (split q( ), $ENV{UNITS}) { my $may = join q(,), sort map { $nrconf{override_rc}{$_} }"
    " grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}}; print qq(unit $unit $may\n) }"
)
_TURNS = " ".join(f"{name}.service" for name in ROLLED)
restarts = command(
    "needrestart",
    f"""for unit in {_TURNS} wg-quick@wg0.service; do
  [ "$(systemctl show -P LoadState $unit)" != loaded ] || UNITS="$UNITS $unit"
done; export UNITS
apt-config dump DPkg::Post-Invoke | grep -q needrestart && echo called
perl -e '{_READ}' 2>&1""",
    shows="apt-config dump DPkg::Post-Invoke; cat /etc/needrestart/needrestart.conf /etc/needrestart/conf.d/*",
)
installed = command("debsums", "command -v debsums && debsums -c 2>&1; true", shows="debsums -c")
_PACKAGES = " ".join(UNNEEDED)
unneeded = command(
    "unneeded",
    f"""dpkg-query -W -f '${{db:Status-Abbrev}} ${{Package}}\\n' {_PACKAGES} 2>/dev/null | sed -n 's/^.i. */= /p'
for name in {" ".join(COMPILERS)}; do path=$(command -v $name) && echo "+ $path"; done; echo looked""",
    shows="dpkg-query -W telnet rsh-client ...; command -v gcc cc as ld ...",
)
