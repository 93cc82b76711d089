"""Giving a server's folder to whom it is going to run as: `twistd --uid`, started by root.

`mailftp init` and the quickstart, run by root, make files that are root's. The server could not open them
after it gave up its privileges, so what is root's below the data folder, and the private key that init made,
become its own before.
"""

from __future__ import annotations

import codecs
import importlib
import os
import stat
from pathlib import Path

import dns.rdata

from mailftp.settings import Settings


def hand_over(settings: Settings, uid: int, gid: int) -> None:
    """Give what is root's in the data folder, and the keys below the settings' own folder, to a user.

    No link is followed, and what belongs to somebody else stays theirs: whoever may write in the folder
    cannot be given a file of the system by planting a link. Raises OSError.
    """
    settings.data.mkdir(0o700, parents=True, exist_ok=True)
    _give(settings.data, None, uid, gid)
    for _, folders, files, descriptor in os.fwalk(settings.data, follow_symlinks=False):
        for name in (*folders, *files):
            _give(name, descriptor, uid, gid)
    if settings.tls is not None:
        for key in (settings.tls.key, settings.tls.certificate):
            # A key elsewhere (/etc/letsencrypt) is the administrator's to arrange.
            if key.is_relative_to(settings.folder) and not key.is_symlink() and key.exists():
                _give(key, None, uid, gid)


def _give(name: str | Path, folder: int | None, uid: int, gid: int) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    # A file with a second name may be somebody else's under that one.
    linked = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
    if found.st_uid == 0 and not linked:
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)


#: What Python, Twisted and the libraries load only when it is first needed.
_ENCODINGS = ("ascii", "latin-1", "utf-8", "utf-16", "cp1252", "idna", "punycode", "unicode_escape")
_MODULES = (
    "email.policy",
    "encodings.idna",
    "mailftp.accounts.mailboxes",
    "mailftp.accounts.shells",
    "stringprep",
    "twisted.internet.udp",
    "twisted.internet.unix",
    "twisted.python.failure",
    "unicodedata",
)


def load_everything() -> None:
    """Load now what would be loaded later, by somebody who may not be able to read where it is installed: a
    virtual environment in root's home, for one."""
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    for module in _MODULES:
        importlib.import_module(module)
    dns.rdata.load_all_types(disable_dynamic_load=False)  # type: ignore[no-untyped-call]  # upstream
