"""Annotations on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import AnnotationTooLarge, NoSuchAccount, NoSuchMailbox, TooManyAnnotations
from mailftp.store.names import ANNOTATION_OCTETS, ANNOTATIONS_LIMIT, ANNOTATIONS_OCTETS
from mailftp.store.queries import Metadata
from mailftp.store.records import Change
from mailftp.store.units import CreateMailbox, DeleteMailbox, RenameMailbox, SetMetadata

COMMENT = "/private/comment"


class Annotations:
    async def annotate(self, mailbox, *entries):
        return await self.store.commit(SetMetadata(self.alice.id, mailbox, entries))

    async def annotated(self, mailbox=None):
        return await self.store.read(Metadata(self.alice.id, mailbox))

    async def test_metadata(self):
        """Annotations are kept by mailbox and for the account, their names without case; None removes one."""
        inbox = (await self.mailbox(self.alice)).mailbox.id
        await self.annotate("inbox", (COMMENT, b"mine\0\xff"), ("/shared/Comment", b""))
        await self.annotate(None, ("/private/vendor/x", b"server"))
        self.assertEqual(await self.annotated("INBOX"), ((COMMENT, b"mine\0\xff"), ("/shared/comment", b"")))
        self.assertEqual(await self.annotated(), (("/private/vendor/x", b"server"),))
        await self.annotate("INBOX", ("/PRIVATE/Comment", b"new"), ("/shared/comment", None), ("/no", None))
        self.assertEqual(await self.annotated("INBOX"), ((COMMENT, b"new"),))
        self.assertEqual(await self.store.read(Metadata(self.bob.id, "INBOX")), ())
        told = [change for change in await self.news() if change.kind == "metadata"]
        changed = (inbox, {COMMENT, "/shared/comment"}), (0, {"/private/vendor/x"})
        changed += ((inbox, {COMMENT, "/shared/comment", "/no"}),)
        self.assertEqual(
            told,
            [Change("metadata", self.alice.id, where, 0, frozenset(names)) for where, names in changed],
        )

    async def test_metadata_of_nothing(self):
        """There is no annotating of what is not there, and nothing to read of it."""
        await self.refused(NoSuchMailbox, SetMetadata(self.alice.id, "none", ((COMMENT, b"x"),)))
        await self.refused(NoSuchAccount, SetMetadata(999, None, ((COMMENT, b"x"),)))
        self.assertIsNone(await self.annotated("none"))

    async def test_metadata_goes_with_the_mailbox(self):
        """It follows a mailbox to its new name, and is gone with it."""
        await self.store.commit(CreateMailbox(self.alice.id, "Work"))
        await self.annotate("Work", (COMMENT, b"x"))
        await self.store.commit(RenameMailbox(self.alice.id, "Work", "Play"))
        self.assertEqual(await self.annotated("Play"), ((COMMENT, b"x"),))
        await self.store.commit(DeleteMailbox(self.alice.id, "Play"))
        await self.store.commit(CreateMailbox(self.alice.id, "Play"))
        self.assertEqual(await self.annotated("Play"), ())

    async def test_metadata_limits(self):
        """Too large, too many, too much of all: refused, and nothing of the unit is kept; removing is not."""
        large = b"x" * ANNOTATION_OCTETS
        unit = SetMetadata(self.alice.id, "INBOX", ((COMMENT, b"y"), ("/private/b", large + b"x")))
        fault = await self.refused(AnnotationTooLarge, unit)
        self.assertEqual(fault.most, ANNOTATION_OCTETS)
        self.assertEqual(await self.annotated("INBOX"), ())
        await self.annotate("INBOX", *((f"/private/{n}", b"") for n in range(ANNOTATIONS_LIMIT)))
        await self.refused(TooManyAnnotations, SetMetadata(self.alice.id, "INBOX", ((COMMENT, b"y"),)))
        await self.annotate("INBOX", ("/private/1", None))
        await self.annotate("INBOX", (COMMENT, b"y"))
        await self.annotate(
            None, *((f"/private/{n}", large) for n in range(ANNOTATIONS_OCTETS // ANNOTATION_OCTETS - 1))
        )
        unit = SetMetadata(self.alice.id, "Sent", ((COMMENT, large),))
        await self.refused(TooManyAnnotations, unit)
        self.assertEqual(await self.annotated("Sent"), ())
