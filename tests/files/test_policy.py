"""The policy: every operation, every kind of name."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files import folder
from mailftp.files.home import Denied, FileFault, IHome, NoSuchFile
from mailftp.files.policy import Operation, Policy


class PolicyTests(SynchronousTestCase):
    def test_hidden_names(self) -> None:
        """Names of uploads on their way cannot be made, and for everything else they are not there."""
        for path in ((".mailftp-upload-0",), ("a", ".MAILFTP-Upload-x"), (".mailftp-upload-d", "f")):
            for operation in Operation:
                fault = self.assertRaises(FileFault, Policy().check, operation, path)
                self.assertIn(type(fault), (Denied, NoSuchFile))

    def test_read_only(self) -> None:
        """A read-only home allows what changes nothing, and only that."""
        for operation in Operation:
            if operation.changes:
                self.assertRaises(Denied, Policy(read_only=True).check, operation, ("f",))
            else:
                self.assertEqual(Policy(read_only=True).check(operation, ("f",)), (b"f",))

    def test_root(self) -> None:
        """The root can be looked at and not be changed."""
        for operation in Operation:
            if operation.root:
                self.assertEqual(Policy().check(operation, ()), ())
            else:
                self.assertRaises(FileFault, Policy().check, operation, ())

    def test_what_is_no_name(self) -> None:
        """Names that are none, or too long, are refused whatever the operation is."""
        for name in ("", ".", "..", "a/b", "a\0b", "\ud800", "x" * 256, "\u20ac" * 86):
            for operation in Operation:
                self.assertRaises(Denied, Policy().check, operation, ("a", name))

    def test_every_operation_of_a_home_asks(self) -> None:
        """Each method of IHome names its Operation and goes through the one function that asks; set_umask
        is about no path."""
        for name in set(IHome.names()) - {"set_umask"}:
            source = inspect.getsource(getattr(folder.HomeFolder, name))
            self.assertIn("self._perform(", source, name)
            self.assertIn("Operation.", source, name)
