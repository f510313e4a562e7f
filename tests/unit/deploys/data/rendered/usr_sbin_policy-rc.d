#!/bin/sh
# Written by Bastide (deploys/restarts.py). invoke-rc.d(8) and deb-systemd-invoke(1p), through which packages start, stop
# and restart what they bring, ask here first: 101 is "not allowed" (Debian Policy, 9.3.3). What clusters stand on is
# restarted one machine after the other, by a deploy or by bastide-reboot.service, and never since a package was unpacked.
[ "$1" != --quiet ] || shift
case ${1%.service} in
etcd|haproxy|patroni|pgbouncer) ;;
*) exit 0 ;;
esac
case $2 in
# what is removed shall not run on without its files; an upgrade wants its package to stay
*stop*)
    [ -n "$DPKG_MAINTSCRIPT_PACKAGE" ] || exit 101
    case $(dpkg-query -W -f '${db:Status-Want}' "$DPKG_MAINTSCRIPT_PACKAGE" 2>/dev/null) in
    deinstall | purge) exit 0 ;;
    esac
    exit 101
    ;;
*start* | *reload*) exit 101 ;;
esac
exit 0
