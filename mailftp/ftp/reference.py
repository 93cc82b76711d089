"""The reference of the FTP commands as reStructuredText, made of the table of commands and FEAT.

`python -m mailftp.ftp.reference docs/reference/ftp.rst` writes it; a test says when it is old.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from mailftp.ftp.commands import COMMANDS
from mailftp.ftp.features import features
from mailftp.ftp.session import Command, Phase, Session, Terms

HEAD = """\
FTP commands
============

.. Made by ``python -m mailftp.ftp.reference``; the words are those of ``mailftp.ftp``.

Every command that the server knows. What is said before the login may be said at any time; *also during a
transfer* means that it is answered at once then, where other commands wait for the transfer's end. A command
that is not here is answered 500, and ten of those before a login close the connection.

.. list-table::
   :header-rows: 1
   :widths: 30 15 55

   * - command
     - when
     - what it is
"""

FEAT = """
FEAT
----

What a client is told on a connection that can be encrypted and where ``ftp.clear_command_channel`` and
``ftp.compression`` are on (RFC 2389 section 3):

.. code-block:: none

"""

_WHEN = {Phase.GREETED: "before login", Phase.NAMED: "after USER", Phase.LOGGED_IN: "logged in"}


def origin(command: Command) -> str:
    """The first paragraph of what its function says of itself, without the command's name."""
    paragraph = (command.run.__doc__ or "").partition("\n\n")[0]
    words = re.sub(r"^(?:[A-Z0-9]+|X commands)(?:: |, )", "", " ".join(paragraph.split()))
    # One backquote is a role in reStructuredText, and a name here.
    words = re.sub(r"`([^`]+)`", r"``\1``", words)
    return words if words.startswith("draft-") else words[:1].upper() + words[1:]


def _rows() -> Iterator[str]:
    for name, command in sorted(COMMANDS.items()):
        when = _WHEN[command.phase] + (", also during a transfer" if command.meanwhile else "")
        usage = command.usage if command.usage.split()[0] == name else f"{name} (as {command.usage})"
        yield f"   * - ``{usage}``"
        yield f"     - {when}"
        yield f"     - {origin(command)}"


def feature_lines() -> list[str]:
    """The lines of FEAT between its first and its last."""
    terms = Terms(
        hostname="",
        tls_offered=True,
        tls_required=False,
        implicit_tls=False,
        anonymous=False,
        failures_closed=3,
        clear_command_channel=True,
        compression=True,
    )
    # FEAT asks nothing of what is around a session.
    answer = features(Session(cast(Any, None), terms, COMMANDS), "")
    return [line.strip() for line in answer.decode("ascii").splitlines()[1:-1]]


def render() -> str:
    """The whole page."""
    listed = "".join(f"   {line}\n" for line in feature_lines())
    return HEAD + "\n".join(_rows()) + "\n" + FEAT + listed


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
