"""HTML mail as the page's frames ask for it."""

from __future__ import annotations

from typing import Any

from mailftp.store.queries import AccountWithVerifier
from mailftp.store.units import Accept
from mailftp.web.webmail import messages
from tests.store.messages import inbox, staged
from tests.web.test_signing_in import ALICE, BOB, SigningInCase

HTML = b"Content-Type: text/html\r\n\r\n<p>Hello<img src=https://x.test/1.png><script>1</script>\r\n"
FRAME = {"sec_fetch_site": "same-origin", "x_requested_with": None}


class MessageTests(SigningInCase):
    async def deliver(self, address: str, data: bytes) -> str:
        """Its Email id."""
        found = await self.store.read(AccountWithVerifier(address))
        assert found is not None
        body = await staged(self.store, data)
        await self.store.commit(Accept(body, self.clock.seconds(), inbox(found[0])))
        self.delivered = getattr(self, "delivered", 0) + 1
        return f"M{self.delivered}"

    async def frame(self, rest: str, **query: str) -> Any:
        return await self.ask("/message", rest=(rest,), query=query, text=True, **FRAME)

    async def test_document(self) -> None:
        """The mail cleaned, under a policy of its own; our page alone may frame it; pictures when asked."""
        number = await self.deliver(ALICE, HTML)
        await self.sign_in()
        status, text = await self.frame(number)
        self.assertEqual(status, 200)
        self.assertIn("<p>Hello", text)
        self.assertNotIn("x.test", text)
        self.assertNotIn("<script", text)
        headers = self.answer.headers
        self.assertIn("frame-ancestors 'self'", headers["Content-Security-Policy"])
        self.assertNotIn("https:", headers["Content-Security-Policy"])
        self.assertEqual(headers["X-Frame-Options"], "SAMEORIGIN")
        _, text = await self.frame(number, pictures="1")
        self.assertIn('src="https://x.test/1.png"', text)
        self.assertIn("https:", self.answer.headers["Content-Security-Policy"])
        self.assertEqual(await self.frame(number, about="1"), (200, '{"html": true, "remote": 1}'))

    async def test_others(self) -> None:
        """Another account's mail is as one that is not there; without a session there is none at all."""
        bobs, plain = await self.deliver(BOB, HTML), await self.deliver(ALICE, b"Subject: x\r\n\r\nplain\r\n")
        self.assertEqual((await self.frame(bobs))[0], 401)
        await self.sign_in()
        for rest in (bobs, "M999", "M", "M1x", "../M1", "", "T1", f"M{2**70}"):
            self.assertEqual((await self.frame(rest))[0], 404, rest)
        self.assertEqual((await self.frame(plain))[0], 404)
        self.assertEqual(await self.frame(plain, about="1"), (200, '{"html": false, "remote": 0}'))

    async def test_large(self) -> None:
        """One from a file is shown too, and what is beyond the limit is told so."""
        number = await self.deliver(ALICE, HTML + b"<p>x\r\n" * 20_000)
        await self.sign_in()
        self.assertEqual((await self.frame(number))[0], 200)
        self.patch(messages, "LARGEST", 100_000)
        self.assertEqual((await self.frame(number))[0], 413)
