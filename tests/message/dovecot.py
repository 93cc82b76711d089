"""Dovecot's IMAP server as an oracle: it runs on a pipe, logged in already, and is asked what it sees."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IMAP = Path("/usr/lib/dovecot/imap")
#: Dovecot refuses to run as root.
NOBODY = 65534

#: Nested lists of octets and None.
Value = Any

_TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|~?\{([0-9]+)\}\r\n|([^\s()"{]+))', re.DOTALL)


def parse_values(text: bytes) -> list[Value]:
    """IMAP's parenthesised data as nested lists; numbers stay octets, NIL is None."""
    stack: list[list[Value]] = [[]]
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at:].strip():
                raise ValueError(f"no IMAP data at {at}: {text[at : at + 60]!r}")
            break
        at = found.end()
        if found[1]:
            stack.append([])
        elif found[2]:
            done = stack.pop()
            stack[-1].append(done)
        elif found[3] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[3]))
        elif found[4]:
            stack[-1].append(text[at : at + int(found[4])])
            at += int(found[4])
        else:
            stack[-1].append(None if found[5] == b"NIL" else found[5])
    if len(stack) != 1:
        raise ValueError("brackets do not match")
    return stack[0]


def fetch(
    messages: Sequence[bytes], items: bytes = b"ENVELOPE BODY BODYSTRUCTURE"
) -> list[dict[bytes, Value]]:
    """These items of each message, as Dovecot has them."""
    script = [b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(m), m) for m in messages]
    script.append(b"s SELECT INBOX\r\nf FETCH 1:* (%b)\r\nz LOGOUT\r\n" % items)
    return _responses(talk(script), len(messages))


def furnish(folder: Path, kind: str) -> tuple[Path, Path]:
    """Its settings and a home with mailboxes of a kind, `maildir` or `sdbox`, in a new folder."""
    home = folder / "home"
    home.mkdir()
    folder.chmod(0o755)
    user = os.getuid() or NOBODY
    group = os.getgid() or NOBODY
    if not os.getuid():
        os.chown(home, user, group)
    config = folder / "dovecot.conf"
    config.write_text(
        f"base_dir={folder}/run\nlog_path={folder}/log\nmail_location={kind}:{home}/Maildir\n"
        f"mail_home={home}\nfirst_valid_uid=0\nfirst_valid_gid=0\nmail_uid={user}\nmail_gid={group}\n"
        "ssl=no\nmail_fsync=never\n"
    )
    return config, home


def talk(script: list[bytes], one_by_one: Sequence[bytes] = ()) -> bytes:
    """What it says to commands, of which the last one is `z LOGOUT`, on a mailbox that is empty at first.

    Those of `one_by_one` come before the last, each when the one before was answered: it works on several
    at a time, and mixes what it says to them.
    """
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        config, home = furnish(Path(name), "maildir")
        environment = {"USER": "oracle", "HOME": str(home), "PATH": "/usr/bin:/bin"}
        return _converse([str(IMAP), "-c", str(config)], environment, script, one_by_one)


def _converse(
    command: list[str], environment: dict[str, str], script: list[bytes], one_by_one: Sequence[bytes] = ()
) -> bytes:
    """What the server says to the script. Its input stays open until the last answer: at the end of
    input it leaves, with answers unsent."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        out = bytearray()
        # The answers to the APPENDs fit the pipe, so nothing waits for us while we write.
        server.stdin.write(b"".join(script[:-1]))
        for line in (*one_by_one, script[-1]):
            server.stdin.write(line)
            server.stdin.flush()
            tagged = b"\r\n%b " % line.split(b" ")[0]
            while line is not script[-1] and tagged not in out:
                piece = server.stdout.read1(1 << 16)
                if not piece:
                    break
                out += piece
        while b"\r\nz OK" not in out[-200:]:
            piece = server.stdout.read1(1 << 16)
            if not piece:
                break
            out += piece
        server.stdin.close()
        return bytes(out)


def _responses(output: bytes, count: int) -> list[dict[bytes, Value]]:
    out: dict[int, dict[bytes, Value]] = {}
    at = output.index(b"s OK")
    opening = re.compile(rb"\r\n\* ([0-9]+) FETCH \(")
    while found := opening.search(output, at):
        end = _end_of_list(output, found.end() - 1)
        values = parse_values(output[found.end() - 1 : end])[0]
        out[int(found[1])] = _items(values)
        at = end
    return [out[number] for number in range(1, count + 1)]


def _items(values: list[Value]) -> dict[bytes, Value]:
    """Name and value of each item; a list of header names is a part of the item's name."""
    out = {}
    given = iter(values)
    for name in given:
        if b"[" in name and b"]" not in name:
            name = b"%b (%b)%b" % (name, b" ".join(next(given)), next(given))
        out[name] = next(given)
    return out


def _end_of_list(text: bytes, at: int) -> int:
    depth = 0
    while True:
        found = _TOKEN.match(text, at)
        assert found is not None
        at = found.end() + (int(found[4]) if found[4] else 0)
        depth += bool(found[1]) - bool(found[2])
        if not depth:
            return at


def sample_folders() -> list[Path]:
    """Where the standard library keeps its own test messages."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    return [
        folder
        for folder in (
            stdlib / "test" / "test_email" / "data",
            *Path("/usr/lib").glob("python3*/test/test_email/data"),
        )
        if folder.is_dir()
    ]
