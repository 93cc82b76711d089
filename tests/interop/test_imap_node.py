"""imapflow, the client of Node programs: IDLE, CONDSTORE, QRESYNC, COMPRESS, MOVE."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests.interop.imap import PASSWORD, Account, message
from tests.interop.running import program

NODE = Path(__file__).parent / "node"
LARGE = message(2, 300_000)


class ImapflowTests(TestCase):
    def test_session(self) -> None:
        """What node/session.mjs does, as it saw it."""
        node = program("node", "nodejs")
        if not (NODE / "node_modules" / "imapflow").is_dir():
            raise SkipTest(f"needs imapflow: npm ci --prefix {NODE.relative_to(Path(__file__).parents[2])}")
        account = Account(self)
        account.append([message(1), LARGE, message(3)])
        output = account.client(
            node, NODE / "session.mjs", str(account.tls_port), account.server.ca, PASSWORD
        )
        told = json.loads(output.splitlines()[-1])
        for name in ("IDLE", "CONDSTORE", "QRESYNC", "COMPRESS=DEFLATE", "MOVE", "OBJECTID"):
            self.assertIn(name, told["capabilities"])
        self.assertLessEqual({"CONDSTORE", "QRESYNC"}, set(told["enabled"]))
        self.assertTrue(told["compressed"])
        self.assertEqual(told["exists"], 3)
        self.assertEqual([m["subject"] for m in told["messages"]], [f"message {n}" for n in (1, 2, 3)])
        self.assertEqual([m["uid"] for m in told["messages"]], [1, 2, 3])
        self.assertEqual({m["from"] for m in told["messages"]}, {"carol@sender.test"})
        self.assertEqual({m["type"] for m in told["messages"]}, {"text/plain"})
        sources = [m["source"].encode("latin-1") for m in told["messages"]]
        self.assertEqual(sources, [message(1), LARGE, message(3)])
        self.assertEqual([m["size"] for m in told["messages"]], [len(text) for text in sources])
        self.assertEqual(len({m["emailId"] for m in told["messages"]} - {None}), 3)
        self.assertEqual(told["download"], {"expected": len(LARGE), "octets": len(LARGE)})
        self.assertEqual(told["idle"], {"exists": 4, "flags": [1, ["\\Flagged"]]})
        self.assertEqual((told["moved"], told["copied"]), ([[2, 1]], [[1, 2]]))
        self.assertEqual(told["vanished"], [1, 2])
        self.assertEqual((told["changed"], told["search"]), ([4], [4]))
        self.assertEqual((told["status"]["messages"], told["status"]["unseen"]), (2, 2))
        self.assertIn(["Moved/Deep", ""], told["list"])
        self.assertIn(["Sent", "\\Sent"], told["list"])
        self.assertEqual(account.there().keys(), {"Subject: message 3", "Subject: from another"})
