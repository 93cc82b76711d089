"""The end of TLS on a connection that goes on in the clear: FTP's CCC (RFC 2228, RFC 4217 section 12.3)."""

from __future__ import annotations

from OpenSSL import SSL

#: A TLS record: its type, version and length, and at most so many octets.
_HEAD, _LONGEST = 5, 2**14 + 2048
_TYPES = range(20, 24)


class Farewell:
    """Says close_notify and waits for the client's. OpenSSL is given one record at a time, for what stands
    behind the last of them is in the clear, and it would keep it."""

    def __init__(self, handle: SSL.Connection) -> None:
        self._handle = handle
        self._received = b""

    def begin(self) -> bytes:
        """The octets that say farewell."""
        self._handle.shutdown()
        return self._take()

    def feed(self, data: bytes) -> bytes | None:
        """What came in the clear behind the client's farewell; None as long as that has not come. What it
        still sends encrypted is thrown away. Raises SSL.Error for what is no TLS."""
        self._received += data
        if self._received and self._received[0] not in _TYPES:
            # A client that says none, as curl does not where it waits for ours. No command begins so.
            return self._received
        while len(self._received) >= _HEAD:
            length = int.from_bytes(self._received[3:_HEAD])
            if self._received[0] not in _TYPES or length > _LONGEST:
                raise SSL.Error([("mailftp", "ccc", "no TLS record")])
            record = self._received[: _HEAD + length]
            if len(record) < _HEAD + length:
                break
            self._received = self._received[_HEAD + length :]
            if self._ends(record):
                return self._received
        return None

    def _ends(self, record: bytes) -> bool:
        self._handle.bio_write(record)
        try:
            while self._handle.recv(2**14):
                continue
        except SSL.WantReadError:
            return False
        except SSL.ZeroReturnError:
            return True
        return False

    def _take(self) -> bytes:
        pieces = []
        while True:
            try:
                pieces.append(self._handle.bio_read(2**16))
            except SSL.WantReadError:
                return b"".join(pieces)
