"""What is known of a name, changed: times, permission bits, group; and symbolic links made.

Everything here may wait for the disk: it runs on file threads.
"""

from __future__ import annotations

import grp
import os
import re

from mailftp.files import births, walk
from mailftp.files.home import Denied, Facts, NoSuchFile


def change(folder: int, name: bytes, facts: Facts) -> None:
    """Set all of `facts`. Raises OSError, FileFault."""
    if walk.status(folder, name) is None:
        raise NoSuchFile("No such file or folder")
    group = None if facts.group is None else _own_group(facts.group)
    if facts.created is not None:
        births.set_created(folder, name, facts.created)
    if group is not None:
        os.chown(name, -1, group, dir_fd=folder, follow_symlinks=False)
    if facts.modified is not None:
        nanoseconds = int(facts.modified * 10**9)
        os.utime(name, ns=(nanoseconds, nanoseconds), dir_fd=folder, follow_symlinks=False)
    if facts.mode is not None:
        # Without set-user-id and its like: no client has a reason to ask for them.
        walk.change_mode(folder, name, facts.mode & 0o777)


def _own_group(group: str) -> int:
    """One of the server's own groups: as root it could give a file to any. Raises Denied."""
    try:
        if re.fullmatch(r"[0-9]{1,9}", group, re.ASCII):
            number = int(group)
        else:
            number = grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise Denied("No such group") from None
    if number not in (os.getegid(), *os.getgroups()):
        raise Denied("Not a group that files may be given to here")
    return number


def make_link(folder: int, name: bytes, target: str) -> None:
    """A link to a name in the link's own folder or below it, so that it stays in the home wherever the folder
    is moved. Raises OSError, Denied."""
    names = target.split("/")
    if target.startswith("/") or any(each in ("", ".", "..") for each in names):
        raise Denied("Links lead to names in their own folder or below it")
    os.symlink(os.fsencode(target), name, dir_fd=folder)
