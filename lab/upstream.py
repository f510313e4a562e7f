"""What the host's own configuration says about the outside: package mirrors, proxies and extra certificate authorities.

The lab takes them from here at run time and lets its machines reach exactly these, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bastide.console import run
from bastide.errors import LabError

# where update-ca-certificates(8) takes local authorities from
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Upstream:
    """The outside as the host knows it.

    `mirror` and `security` are base URLs ("http://mirror.example/debian"). `proxies` maps "http"/"https" to apt's proxy
    URL. `authorities` are the extra certificate authorities as (file name, PEM text).
    """

    mirror: str
    security: str
    proxies: tuple[tuple[str, str], ...] = ()
    authorities: tuple[tuple[str, str], ...] = ()

    def origins(self) -> tuple[tuple[str, int], ...]:
        """The (host name or address, TCP port) pairs that machines must reach to install packages."""
        urls = [self.mirror, self.security, *(url for _, url in self.proxies)]
        return tuple(dict.fromkeys(host_and_port(url) for url in urls))


def read_upstream() -> Upstream:
    """Ask apt and the file system. Raises `LabError` when no Debian mirror can be found."""
    chosen = os.environ.get("BASTIDE_LAB_MIRROR", "").rstrip("/")
    mirror, security = (chosen, "") if chosen else pick_mirrors(unfolded(_sources()))
    if not mirror:
        raise LabError(
            "this machine's apt knows no Debian mirror over http or https",
            "add one to /etc/apt/sources.list.d, or set BASTIDE_LAB_MIRROR=http://.../debian",
        )
    return Upstream(
        mirror=mirror,
        security=security or mirror.removesuffix("/debian") + "/debian-security",
        proxies=apt_proxies(run(["apt-config", "dump"], check=False).stdout),
        authorities=tuple(
            (path.name, path.read_text()) for path in sorted(_LOCAL_AUTHORITIES.rglob("*.crt")) if path.is_file()
        ),
    )


def pick_mirrors(sources: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Find Debian's main and security mirror among apt's sources, given as (URI, suite) pairs.

    Third parties also end in /debian. Debian's own is the one that has "-updates" beside the release, so that wins.
    Returns ("", "") when there is none.
    """
    main: Counter[str] = Counter()
    security = ""
    for uri, suite in sources:
        uri = uri.rstrip("/")
        if urlsplit(uri).scheme not in _PORTS:
            continue
        if uri.endswith("/debian-security"):
            security = security or uri
        elif uri.endswith("/debian"):
            main[uri] += 100 if suite.endswith("-updates") else 1
    return (main.most_common(1)[0][0] if main else ""), security


def unfolded(sources: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same pairs, with a file of mirrors ("mirror+file:/path", as Debian's cloud images have) as what is in it.

    apt-transport-mirror(1): a URI a line, perhaps a tab and more words after it.
    """
    for uri, suite in sources:
        if not uri.startswith("mirror+file:"):
            yield uri, suite
            continue
        with contextlib.suppress(OSError):
            lines = Path(urlsplit(uri).path).read_text(errors="replace").splitlines()
            yield from ((line.split()[0], suite) for line in lines if line.strip() and not line.startswith("#"))


def parse_one_line(text: str) -> Iterator[tuple[str, str]]:
    """The (URI, suite) pairs with the component main in a `.list` file (sources.list(5), one-line style)."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
        if found and "main" in found[3].split("#")[0].split():
            yield found[1], found[2]


def parse_deb822(text: str) -> Iterator[tuple[str, str]]:
    """The same of a `.sources` file (sources.list(5), deb822 style): stanzas of "Key: values", continued by spaces."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = {
            key.lower(): value.split() for key, value in re.findall(r"^(\S+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M)
        }
        if "deb" not in fields.get("types", []) or "no" in fields.get("enabled", []):
            continue
        if "main" in fields.get("components", []):
            yield from ((uri, suite) for uri in fields.get("uris", []) for suite in fields.get("suites", []))


def apt_proxies(dump: str) -> tuple[tuple[str, str], ...]:
    """The proxies in an `apt-config dump`, as (("http", url), ...)."""
    found = re.findall(r'^Acquire::(https?)::Proxy "(https?://[^"]+)";', dump, re.MULTILINE)
    return tuple(dict(found).items())


def host_and_port(url: str) -> tuple[str, int]:
    """ "http://mirror:3142/debian" -> ("mirror", 3142); the scheme's own port when none is given."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def _sources() -> Iterator[tuple[str, str]]:
    # read here and not asked of `apt-get indextargets`, which takes most of a second where apt keeps no cache
    apt = Path("/etc/apt")
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix in (".list", ".sources"):
            parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
            yield from parse(path.read_text(errors="replace"))
