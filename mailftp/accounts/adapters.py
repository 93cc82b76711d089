"""Avatars of realms that were written for Twisted, as the protocols here want them.

`Login` adapts what the portal hands out, so a protocol that asks for (IHome, IFTPShell) only ever sees
an IHome, and one that asks for (IMaildrop, IMailboxPOP3) only an IMaildrop.
"""

from __future__ import annotations

from typing import Any

from zope.interface.interface import InterfaceClass

from mailftp.accounts.avatars import IMaildrop
from mailftp.files.home import IHome


def adapt(interface: InterfaceClass, avatar: Any) -> tuple[InterfaceClass, object]:
    """An avatar of `twisted.protocols.ftp.IFTPShell` or of `twisted.mail.pop3.IMailbox` made ours; any other
    as it is."""
    # By name, and imported only here: a server without such a realm does not load Twisted's FTP and POP3.
    if interface.__identifier__ == "twisted.protocols.ftp.IFTPShell":
        from mailftp.accounts.shells import ShellHome

        return IHome, ShellHome(avatar)
    if interface.__identifier__ == "twisted.mail.interfaces.IMailboxPOP3":
        from mailftp.accounts.mailboxes import MailboxDrop

        return IMaildrop, MailboxDrop(avatar)
    return interface, avatar
