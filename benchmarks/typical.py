"""Sixty operations as pyinfra's manual shows them: what a connector alone is worth, apart from how our deploys ask."""

from pyinfra.operations import apt, files, server, systemd

for number in range(15):
    files.directory(name=f"folder {number}", path=f"/srv/bench/{number}", mode="755")
for number in range(15):
    files.line(name=f"line {number}", path="/srv/bench/lines", line=f"line-{number}-end")
for number in range(10):
    files.link(name=f"link {number}", path=f"/srv/bench/link-{number}", target="/srv/bench/lines")
for package in ("curl", "nftables", "sudo", "ca-certificates", "openssh-server"):
    apt.packages(name=f"package {package}", packages=[package])
for unit in ("ssh.service", "cron.service", "dbus.service", "systemd-networkd.service", "systemd-journald.service"):
    systemd.service(name=f"unit {unit}", service=unit, running=None, enabled=None)
for number in range(10):
    server.group(name=f"group {number}", group=f"bench{number}")
