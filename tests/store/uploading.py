"""Uploads of every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import SMALL_BODY
from mailftp.store.queries import Bodies
from mailftp.store.units import AppendMessages, NewMessage
from mailftp.store.uploads import UPLOADS_LIMIT, KeepUpload, UploadsById
from tests.store.messages import message, staged


class Uploading:
    async def upload(self, data, account=None):
        unit = KeepUpload((account or self.alice).id, await staged(self.store, data))
        return await self.store.commit(unit)

    async def test_uploads(self):
        """Any octets are kept, large ones too, and only whose they are finds them."""
        binary = bytes(range(256))
        large = b"\n" * (SMALL_BODY + 1)
        one, two = await self.upload(binary), await self.upload(large)
        self.assertEqual((one.body.size, one.body.large), (256, False))
        self.assertEqual((two.body.size, two.body.large), (len(large), True))
        ids = (two.id, one.id, 999)
        self.assertEqual(await self.store.read(UploadsById(self.alice.id, ids)), (one, two))
        self.assertEqual(await self.store.read(UploadsById(self.bob.id, ids)), ())
        self.assertEqual(await self.store.read(Bodies((one.body,))), (binary,))

    async def test_becomes_a_message(self):
        """What is filed of an upload is the same body."""
        text = message("one")
        upload = await self.upload(text)
        new = NewMessage(await staged(self.store, text), 1000.0, frozenset())
        await self.store.commit(AppendMessages(self.alice.id, "Drafts", (new,)))
        there = await self.mailbox(self.alice, "Drafts")
        self.assertEqual(there.messages[0].body, upload.body)

    async def test_oldest_uploads_make_room(self):
        uploads = [await self.upload(b"%d" % n) for n in range(3)]
        other = await self.upload(b"other", self.bob)
        for n in range(UPLOADS_LIMIT - 2):
            await self.upload(b"%d" % n)
        ids = tuple(each.id for each in uploads)
        self.assertEqual(await self.store.read(UploadsById(self.alice.id, ids)), tuple(uploads[1:]))
        self.assertEqual(await self.store.read(UploadsById(self.bob.id, (other.id,))), (other,))
