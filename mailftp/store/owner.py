"""Files that belong to whom the folder belongs, also when root runs the command line.

Otherwise one `mailftp account add` as root would leave files that the server may not open.
"""

from __future__ import annotations

import os
from pathlib import Path


def give_to_owner(made: int | Path, folder: Path) -> None:
    """Give a file or folder that we have just made to `folder`'s owner. Only root can, and need, do it."""
    if os.geteuid() == 0:
        owner = os.stat(folder)
        if (owner.st_uid, owner.st_gid) != (0, 0):
            os.chown(made, owner.st_uid, owner.st_gid)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there stays as it is."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    give_to_owner(folder, folder.parent)
