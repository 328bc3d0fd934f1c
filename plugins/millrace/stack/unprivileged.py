"""Postgres refuses to run as root: the words before a command that make it run as somebody else.

Folders that this other user may not pass (a checkout below /root) are passed by one capability,
reading and searching, given to this command alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from millrace.errors import StackError

CANDIDATES = ("postgres", "nobody")
"""Accounts that can own the data, in order; initdb needs an account with a name."""

_PERMITTED_BITS = {"dac_read_search": 2, "dac_override": 1}


def owner_of(data_dir: Path) -> pwd.struct_passwd | None:
    """The account Postgres runs as: None for ourselves, else the data's owner or a candidate."""
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (uid := data_dir.stat().st_uid) != 0:
        return pwd.getpwuid(uid)
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError(
        f"Postgres does not run as root, and none of the users {', '.join(CANDIDATES)} exists.",
        cure="Run millrace as an ordinary user.",
    )


def prefix(owner: pwd.struct_passwd | None, *paths: Path) -> tuple[str, ...]:
    """What goes before a command so that it runs as `owner` and reaches `paths`.

    StackError naming the folder in the way, where it cannot be passed.
    """
    if owner is None:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "Postgres does not run as root, and setpriv (util-linux) is not there to change that.",
            cure="Install util-linux, or run millrace as an ordinary user.",
        )
    words = (setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups")
    blocked = next((f for f in map(_first_closed, paths) if f), None)
    return (*words, *(_capability(blocked, owner.pw_name) if blocked else ()), "--")


def _capability(blocked: Path, user: str) -> tuple[str, ...]:
    name = next((n for n, bit in _PERMITTED_BITS.items() if _permitted() >> bit & 1), None)
    if name is None:
        raise StackError(
            f"Postgres runs as {user}, who may not enter {blocked}.",
            cure=f"chmod o+x '{blocked}', or keep checkout and MILLRACE_HOME somewhere else.",
        )
    # access(2) drops capabilities of an ordinary user unless no_setuid_fixup is set, and
    # Postgres asks access(2) about its own binaries.
    return (
        "--securebits=+no_setuid_fixup",
        f"--inh-caps=-all,+{name}",
        f"--ambient-caps=-all,+{name}",
        f"--bounding-set=-all,+{name}",
    )


def _first_closed(path: Path) -> Path | None:
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    return next((f for f in reversed(folders) if f.exists() and not f.stat().st_mode & 0o001), None)


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0
