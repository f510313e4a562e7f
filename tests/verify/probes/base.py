"""What a machine is called, what its clock follows, and how it keeps its journal."""

from __future__ import annotations

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
