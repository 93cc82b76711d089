"""Every reply that the source can give stands in a transcript."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.internet.defer import fail
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

import mailftp
from mailftp.intake.intake import Intake
from mailftp.store.units import AddAlias
from tests import dialogs
from tests.connector import Client, connect
from tests.smtp.servers import PLAIN_ALICE, ServerTestCase
from tests.smtp.test_session import FOLDER

ROOT = Path(mailftp.__file__).parent

#: Name -> which argument is the text.
_TEXT = {"Reply": 2, "SyntaxFault": 2, "Refused": 2, "_cut": 1, "cut": 1}

#: Text -> the test that shows it: it hangs on time, a fault or settings of its own, or takes a long message.
EXCUSED = {
    "nothing was heard for long": "smtp.test_server.MXTests.test_idle",
    "* is stopping, try again later": "smtp.test_server.SlowTests.test_drain",
    "the message comes too slowly": "smtp.test_strangers.PaceTests.test_dripping",
    "too many commands from your network": "smtp.test_strangers.RateTests.test_commands",
    "Something went wrong here, try again later": "smtp.test_server.SlowTests.test_store_fault",
    "There is no room for the message now": "smtp.test_server.SlowTests.test_disk_full_while_writing",
    "An account has just been removed, try again": "intake.test_intake.AcceptTests.test_store_faults",
    "Logins cannot be checked just now, try again later": "smtp.test_replies.HouseTests.test_no_checker",
    # What is there behind DATA is there in one segment only.
    "DATA was not waited for": "smtp.test_session.OrderTests.test_message_without_waiting_for_354",
    "The message is too large": "smtp.test_session.LimitTests.test_too_large",
    "The header has more than * octets": "smtp.test_strangers.LimitTests.test_header",
    "Too many messages with large headers are arriving, try again later": (
        "smtp.test_origin.MarkTests.test_many_large_headers"
    ),
    "The message has more than * MIME parts": "smtp.test_strangers.LimitTests.test_parts",
    "MIME parts are more than * deep in each other": "smtp.test_strangers.LimitTests.test_depth",
    "The message cannot be kept as text: *": "smtp.test_handling.BinaryTests.test_refused",
    # What was refused for good elsewhere, with the day and the reason of it.
    "No mail is taken for * *. The postmaster of this server can allow it": (
        "delivery.test_suppression.SuppressionTests.test_after_three"
    ),
    "* asked for this": "smtp.test_faults.FaultTests.test_refused_recipient",
    "The account that captures mail does not exist": "intake.test_intake.CaptureTests.test_account_is_gone",
    # Its reverse-path is made by us and changes with the day.
    "* takes reports and nothing else": "intake.test_aliases.SentOnTests.test_report_of_nobody",
}
#: Text -> why it is never said while all else is right.
NEVER = {
    "No exchange is under way": "the session goes on with no exchange that was not begun",
    "* is no address: *": "AddAlias takes no such target",
    "* leads to nobody": "AddAlias takes no alias without a target",
    "There are more than * recipients": "told when all others are left out too",
}


def sources() -> list[Path]:
    """What speaks SMTP as a server; the client hears what others say."""
    found = [file for file in (ROOT / "smtp").glob("*.py") if not file.stem.startswith("client")]
    return sorted([*found, *(ROOT / "intake").glob("*.py")])


def pattern(node: ast.expr) -> str | None:
    """A regex for what a literal or an f-string gives; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if not isinstance(node, ast.JoinedStr):
        return None
    return "".join(
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else "(?s:.*)" for part in node.values
    )


def texts(node: ast.expr, function: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from texts(node.body, function)
        yield from texts(node.orelse, function)
    elif isinstance(node, ast.Name):
        for each in ast.walk(function):
            if isinstance(each, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in each.targets
            ):
                yield from texts(each.value, function)
    elif (found := pattern(node)) is not None:
        yield found


def replies(file: Path) -> Iterator[tuple[str, str]]:
    """(where, regex of the text) of all that a module can say."""
    tree = ast.parse(file.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = _TEXT.get(name, 99)
            if len(node.args) <= place:
                continue
            inside = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
            for text in texts(node.args[place], inside[-1] if inside else tree):
                yield f"{file.name}:{node.lineno}", text
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "OUT_OF_ORDER":
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield f"{file.name}:{each.lineno}", re.escape(each.value)


def said() -> list[str]:
    """The text of each reply line in the transcripts, without code and status."""
    lines = []
    for file in FOLDER.rglob("*.txt"):
        for line in file.read_text("utf-8").splitlines():
            found = re.fullmatch(r"S: \d{3}[ -](?:\d\.\d{1,3}\.\d{1,3} )?(.*)", line)
            if found:
                lines.append(found[1])
    return lines


class HouseTests(ServerTestCase):
    """What a server says that has accounts behind it; each dialogue finds the house as new."""

    def play(self, folder: str, service: str) -> None:
        for dialog in dialogs.load(FOLDER / folder):
            for piece in (None, 1):
                self.setUp()
                self.furnish(full=dialog.name == "full")
                client = connect(self.serve(service, tls=service == "submissions"))
                dialogs.play(dialog, partial(self.exchange, client), client.is_closed, piece)

    def exchange(self, client: Client, data: bytes) -> bytes:
        return b"" if client.closed else client.exchange(data)

    def furnish(self, full: bool) -> None:
        """`ring` goes round, `dead` leads to nobody, `staff` is a closed list. An account may
        send two messages a day, in its own name; with `full` bob's mailbox takes no more."""
        if full:
            self.set("bob@example.test", mail_quota=1)
        limits = replace(self.settings.submission, daily_messages=2, authors="enforce", expand=True)
        self.settings = replace(self.settings, submission=limits)
        self.intake = Intake(self.settings, self.store, now=lambda: self.time)
        for alias in (
            AddAlias("ring@example.test", ("round@example.test",)),
            AddAlias("round@example.test", ("ring@example.test",)),
            AddAlias("dead@example.test", ("nobody@example.test",)),
            AddAlias(
                "staff@example.test", ("alice@example.test",), owner="alice@example.test", members_only=True
            ),
        ):
            self.successResultOf(self.store.commit(alias))

    def test_mx(self) -> None:
        """In one segment, and cut at every octet."""
        self.play("house", "smtp")

    def test_submission(self) -> None:
        """The same, logged in."""
        self.play("house_submission", "submissions")

    def test_no_checker(self) -> None:
        """A checker that fails is our fault, and says nothing of the password."""
        self.checker.requestAvatarId = lambda credentials: fail(OSError("gone"))  # type: ignore[method-assign]
        client = connect(self.serve("submissions"))
        answer = client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        self.assertIn(b"454 4.7.0 Logins cannot be checked just now, try again later\r\n", answer)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class ReplyTests(SynchronousTestCase):
    def test_every_reply_is_in_a_transcript(self) -> None:
        """A reply that no dialogue shows is one whose place in the order nobody has looked at."""
        lines, missing, unused = said(), [], {*EXCUSED, *NEVER}
        for file in sources():
            for where, text in replies(file):
                whole = re.compile(f"(?:.*closes the connection: )?{text}")
                if any(whole.fullmatch(line) for line in lines):
                    continue
                plain = re.sub(r"\\(.)", r"\1", text.replace("(?s:.*)", "*"))
                if plain in EXCUSED or plain in NEVER:
                    unused.discard(plain)
                else:
                    missing.append(f"{where}: {plain}")
        self.assertEqual(missing, [])
        self.assertEqual(unused, set(), "excused, and in a transcript")

    def test_excuses(self) -> None:
        """Each names a test that there is."""
        for name in EXCUSED.values():
            namedAny(f"tests.{name}")

    def test_the_source_is_read(self) -> None:
        """The list above is of what there is."""
        found = [text for file in sources() for _, text in replies(file)]
        self.assertGreater(len(found), 100)
        for known in ("Sender\\ OK", "Say\\ MAIL\\ FROM\\ first", "too\\ many\\ failed\\ logins"):
            self.assertIn(known, found)
