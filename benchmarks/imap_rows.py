"""IMAP beside Dovecot: the same 100,000 messages of 4 KiB on both sides; milliseconds, rates and MiB.

Part of benchmarks.side_by_side, which says how it is called.
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Messages of the two mailboxes, and octets of each.
CROWD, SOME = 100_000, 10_000
SIZE = 4096
#: Messages in one APPEND when our side is filled.
TOGETHER = 400
IDLING = 1000


class Target(Protocol):
    name: str
    port: int


@dataclass(frozen=True)
class Row:
    """What is measured: `most` is what ours may be, as a multiple of the peer's time; `least` what it has to
    be of a rate."""

    name: str
    unit: str
    most: float = 0.0
    least: float = 0.0
    #: Ours may be this, whatever the peer's is.
    enough: float = 0.0


#: Commands in their order, and the row that each is; "" for none. The first line of a session finds the
#: server without knowledge of the mailbox: ours was started afresh, Dovecot's index files are gone.
CROWDED: tuple[tuple[str, Row | None], ...] = (
    ("SELECT m100k", Row("SELECT, first", "ms", most=1.0)),
    ("FETCH 1:* (UID FLAGS)", Row("UID FLAGS, first", "ms", most=3.0)),
    ("FETCH 1:* (UID FLAGS)", Row("UID FLAGS, again", "ms", most=1.0)),
    ("FETCH 1:* (ENVELOPE)", Row("ENVELOPE, new", "ms", most=0.3)),
    ("FETCH 1:* (ENVELOPE)", Row("ENVELOPE, known", "ms", most=0.8)),
    ("FETCH 1:* (BODY.PEEK[])", Row("BODY.PEEK[]", "ms", most=1.3)),
    ('UID SEARCH HEADER SUBJECT "nomatch"', Row("SEARCH SUBJECT", "ms", most=1.0)),
    ('UID SEARCH TEXT "nomatch"', Row("SEARCH TEXT", "ms", most=0.1)),
    ("UNSELECT", None),
    ("SELECT m100k", Row("SELECT, again", "ms", enough=5.0)),
)
SMALLER: tuple[tuple[str, Row | None], ...] = (
    ("SELECT m10k", None),
    (
        "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE)",
        Row("BODYSTRUCTURE 10k, new", "ms", most=0.3),
    ),
    (
        "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE)",
        Row("BODYSTRUCTURE 10k, known", "ms", most=1.5),
    ),
    ("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])", Row("HEADER.FIELDS 10k", "ms")),
    ("STORE 1:* +FLAGS.SILENT (\\Flagged)", Row("STORE 10k", "ms", most=1.5)),
    ("STORE 1:* -FLAGS.SILENT (\\Flagged)", None),
)
RATES = (
    Row("APPEND, 1 connection", "/s", least=1.5),
    Row("APPEND, 8 connections", "/s", least=2.0),
    Row("logins, 1 at a time", "/s", least=5.0),
    Row("logins, 8 at a time", "/s", least=5.0),
)
MEMORY = Row("1,000 in IDLE", "MiB", enough=25.0)

Figures = dict[tuple[str, str], list[float]]


def maildirs(kit: Path, mail: Path) -> None:
    """u0's mailboxes, as Dovecot has them."""
    for name, count in (("m100k", CROWD), ("m10k", SOME)):
        box = mail / "u0" / "Maildir" / f".{name}"
        subprocess.run([sys.executable, kit / "tools/mkmaildir.py", box, str(count), str(SIZE)], check=True)


def fill(port: int, mail: Path) -> None:
    """The same messages into ours, by IMAP."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        lines = client.makefile("rb")
        lines.readline()
        client.sendall(b"a LOGIN u0 benchpass\r\n")
        _until(lines, b"a ")
        for name in ("m100k", "m10k"):
            client.sendall(b"b CREATE %b\r\n" % name.encode())
            _until(lines, b"b ")
            files = sorted((mail / "u0/Maildir" / f".{name}" / "cur").iterdir(), key=_number)
            for start in range(0, len(files), TOGETHER):
                client.sendall(b"c APPEND %b" % name.encode())
                for file in files[start : start + TOGETHER]:
                    text = file.read_bytes().replace(b"\n", b"\r\n")
                    client.sendall(b" {%d+}\r\n%b" % (len(text), text))
                client.sendall(b"\r\n")
                _until(lines, b"c ")


def _number(file: Path) -> int:
    found = re.search(r"\.M(\d+)P", file.name)
    assert found is not None
    return int(found[1])


def _until(lines: Iterator[bytes], tag: bytes) -> None:
    for line in lines:
        if line.startswith(tag):
            if not line.startswith(tag + b"OK"):
                raise SystemExit(line.decode())
            return
    raise SystemExit("the server hung up")


def cpu(processes: Sequence[int]) -> float:
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def quiet(tree: Callable[[], Sequence[int]]) -> None:
    """Until the server does nothing by itself for a while: what is built after delivery, when the store was
    quiet for a second, is built."""
    calm = 0
    for _ in range(1200):
        before = cpu(tree())
        time.sleep(1)
        calm = calm + 1 if cpu(tree()) - before < 0.03 else 0
        if calm == 5:
            return
    raise SystemExit("the server does not come to rest")


def commands(program: Path, target: Target, rows: Sequence[tuple[str, Row | None]], figures: Figures) -> None:
    """One session; each command's milliseconds."""
    words = [program, "cmds", "127.0.0.1", str(target.port), "u0", "benchpass", *(text for text, _ in rows)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = re.findall(r"secs=([0-9.]+) bytes=([0-9]+) lines=([0-9]+) \S+ \S+( FAILED)?$", done.stdout, re.M)
    if done.returncode or len(lines) != len(rows) or any(failed for *_, failed in lines):
        raise SystemExit(f"{target.name}: {done.stdout}{done.stderr}")
    for (text, row), (seconds, octets, count, _) in zip(rows, lines, strict=True):
        expected = SOME if rows is SMALLER else CROWD
        if text.startswith("FETCH 1:*") and int(count) < expected:
            raise SystemExit(f"{target.name}: {count} lines answer {text}")
        if "PEEK[]" in text and int(octets) < expected * SIZE:
            raise SystemExit(f"{target.name}: {octets} octets answer {text}")
        if row is not None:
            figures.setdefault((row.name, target.name), []).append(float(seconds) * 1000)


def rates(load: Callable[..., float], program: Path, target: Target, figures: Figures) -> None:
    """Durable APPENDs and logins a second."""
    to = (program, "append", "127.0.0.1", target.port)
    log_in = (program, "login", "127.0.0.1", target.port, "u0", "benchpass")
    for row, words in zip(
        RATES,
        (
            (*to, "u1", "benchpass", 1000, SIZE),
            (*to, "u1%d", "benchpass", 2000, SIZE, 8),
            (*log_in, 300),
            (*log_in, 400, 8),
        ),
        strict=True,
    ):
        figures.setdefault((row.name, target.name), []).append(load(*words))


def memory(kit: Path, target: Target, root: int, figures: Figures) -> None:
    """What a thousand sessions in IDLE take: PSS of the server's processes, with them and before."""

    def taken() -> float:
        done = subprocess.run(
            [sys.executable, kit / "tools/pss.py", str(root)], capture_output=True, text=True, check=True
        )
        found = re.search(r"pss_mib=([0-9.]+)", done.stdout)
        assert found is not None
        return float(found[1])

    before = taken()
    words = [kit / "bin/imapload", "idle", "127.0.0.1", str(target.port), "u0", "benchpass", str(IDLING)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        assert held.stdout is not None and held.stdin is not None
        for line in held.stdout:
            if b"READY" in line:
                break
        time.sleep(1)
        figures.setdefault((MEMORY.name, target.name), []).append(taken() - before)
        held.stdin.close()


def forget(mail: Path) -> None:
    """Dovecot knows its mailboxes no more: what it made of them is gone, but for their UIDs."""
    for file in (mail / "u0" / "Maildir").rglob("dovecot.index*"):
        file.unlink()


def report(figures: Figures, rounds: int) -> None:
    """Medians, and whether each row is what it has to be."""
    rows = [row for _, row in (*CROWDED, *SMALLER) if row is not None]
    for row in (*rows, *RATES, MEMORY):
        if (row.name, "mailftp") not in figures:
            continue
        ours = statistics.median(figures[row.name, "mailftp"])
        theirs = statistics.median(figures[row.name, "dovecot"])
        spread = ", ".join(
            f"[{min(values):.1f}-{max(values):.1f}]"
            for values in (figures[row.name, "mailftp"], figures[row.name, "dovecot"])
        )
        ratio = ours / theirs if theirs else 0.0
        wanted, met = "", True
        if row.enough:
            wanted, met = f"<= {row.enough:g} {row.unit}", ours <= row.enough
        elif row.most:
            wanted, met = f"<= {row.most:g} x", ratio <= row.most
        elif row.least:
            wanted, met = f">= {row.least:g} x", ratio >= row.least
        print(
            f"{row.name:26} {ours:9.1f} dovecot {theirs:9.1f} {row.unit:4} {ratio:7.2f} x  {wanted:11}"
            f" {'' if met else 'NOT MET':8} {spread}"
        )
    print(f"medians of {rounds} rounds; ours, dovecot's, ranges", flush=True)
