"""bind9 and knot on loopback, as oracles with authority for one zone file, or as secondaries of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import dns.message

from tests.interop.running import PATIENCE, program
from tests.ports import free_ports

_NAMED = """\
options {{
    directory "{folder}";
    pid-file none; session-keyfile none; managed-keys-directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; minimal-responses yes; allow-transfer {{ none; }}; dnssec-validation no; zero-no-soa-ttl no;
}};
controls {{ }};
"""
_NAMED_PRIMARY = """\
zone "{origin}" {{ type primary; file "{folder}/zone"; check-names ignore; check-integrity no; }};
"""
_NAMED_SECONDARY = """\
zone "{origin}" {{ type secondary; file "{folder}/copy"; primaries {{ 127.0.0.1 port {primary}; }}; }};
"""
_KNOT = """\
server:
  rundir: "{folder}"
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{folder}"
"""
_KNOT_PRIMARY = """\
zone:
  - domain: "{origin}"
    storage: "{folder}"
    file: zone
    semantic-checks: off
"""
_KNOT_SECONDARY = """\
remote:
  - id: primary
    address: 127.0.0.1@{primary}
acl:
  - id: notify
    address: 127.0.0.1
    action: notify
zone:
  - domain: "{origin}"
    storage: "{folder}"
    master: primary
    acl: notify
"""


class Authority:
    """One of the two, as a process of its own; `case` ends it."""

    def __init__(
        self, case: Any, kind: str, origin: str, zone: str = "", primary: int = 0, port: int = 0
    ) -> None:
        """`kind` is "bind9" or "knot"; with `primary`, the port of 127.0.0.1 that it transfers the zone
        from."""
        folder = Path(tempfile.mkdtemp(prefix="authority-", dir="/tmp"))
        case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.port = port or free_ports(1, "127.0.0.1", socket.SOCK_DGRAM)[0]
        (folder / "zone").write_text(zone)
        if kind == "bind9":
            form = _NAMED + (_NAMED_SECONDARY if primary else _NAMED_PRIMARY)
        else:
            form = _KNOT + (_KNOT_SECONDARY if primary else _KNOT_PRIMARY)
        (folder / "conf").write_text(
            form.format(folder=folder, port=self.port, origin=origin, primary=primary)
        )
        binary = program("named" if kind == "bind9" else "knotd", kind)
        options = ["-g", "-n", "1"] if kind == "bind9" else []
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [binary, *options, "-c", str(folder / "conf")], stdout=said, stderr=said
            )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", self.port))
        case.addCleanup(self._stop)
        self._wait_until_loaded(origin)

    def ask(self, query: dns.message.Message) -> dns.message.Message:
        """Its answer; asked again where a packet got lost."""
        end = time.monotonic() + PATIENCE
        self._socket.settimeout(5.0)
        while time.monotonic() < end:
            try:
                self._socket.send(query.to_wire())
                while True:
                    packet = self._socket.recv(65535)
                    if packet[:2] == query.id.to_bytes(2, "big"):
                        return dns.message.from_wire(packet)
            except (TimeoutError, ConnectionRefusedError):
                continue
        raise AssertionError(f"no answer to {query.question[0]}: {self._said.read_text()[-2000:]}")

    def _wait_until_loaded(self, origin: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            self._socket.settimeout(0.2)
            try:
                self._socket.send(dns.message.make_query(origin, "SOA").to_wire())
                if dns.message.from_wire(self._socket.recv(65535)).answer:
                    return
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                # Not bound yet: the kernel says so at once, so this waits on the process instead of spinning.
                try:
                    self.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
        raise AssertionError(f"it does not serve the zone: {self._said.read_text()[-2000:]}")

    def _stop(self) -> None:
        self._socket.close()
        self.process.kill()
        self.process.wait(PATIENCE)
