"""The files' page in Chromium: playwright-core drives it, axe-core looks at it."""

from __future__ import annotations

from tests.interop.test_webmail import BrowserCase


class FilesPage(BrowserCase):
    def test_files(self) -> None:
        """At a desk and on a phone: names are made, uploaded, looked at, renamed, moved and deleted; what was
        cut goes on; nothing is wrong in the console or for axe."""
        told = self.script("browse.mjs")
        self.assertEqual(told, {"desk": [], "phone": []})
