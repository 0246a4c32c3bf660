"""Exact reads from one connection, with limits on size and silence, in reused buffers.

A read blocks in the kernel until what it asks for is there: no polling, one call for each
fragment however large. pynetdicom's reactors sleep 1 ms twice for each message instead.
"""

import errno
import select
import socket
import ssl
import struct
import time

from node.dicom.upper_layer.pdu import ProtocolError

#: The largest PDU this node asks for; DCMTK sends no larger ones.
MAX_PDU = 131_072

#: No PDU may be larger, an A-ASSOCIATE-RQ with 128 contexts of 60 syntaxes included.
_MAX_RECEIVED = 1 << 20
_AHEAD = 4096  # bytes read at once while headers and commands are looked at

_header = struct.Struct(">BxI")


class Silence(OSError):  # noqa: N818 - what happened
    """The peer sent or took nothing for too long."""


class Wire:
    """One TCP connection, over TLS once it is secured.

    Parameters
    ----------
    connection : socket
        Blocking; owned from now on.
    timeout_s : float
        How long (s) the peer may be silent, in either direction.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._is_tls = False
        self._all = int(socket.MSG_WAITALL)  # not over TLS, which takes no flags
        self._ahead = bytearray(_AHEAD)
        self._start = self._end = 0
        self._deadline = float("inf")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.limit(timeout_s)

    def secure(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Go over to TLS, as the server; to be called on a thread that may wait for the peer.

        Raises
        ------
        OSError
            The peer cannot or may not; `node.dicom.upper_layer.tls.in_words` tells why.
        """
        secured = context.wrap_socket(
            self._connection, server_side=True, do_handshake_on_connect=False
        )
        self._connection, self._is_tls, self._all = secured, True, 0
        self.limit(timeout_s)  # of the whole handshake: Python counts it as one read
        secured.do_handshake()

    def limit(self, timeout_s: float, *, in_all: bool = False) -> None:
        """Set how long (s) the peer may be silent; ``in_all``: and how long all reads may take."""
        if self._is_tls:
            # Python's TLS repeats a read that the kernel gave up; its own timeout polls first.
            self._connection.settimeout(timeout_s)
        else:
            whole = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._connection.setsockopt(socket.SOL_SOCKET, option, whole)
        self._deadline = time.monotonic() + timeout_s if in_all else float("inf")

    def pdu(self) -> tuple[int, int]:
        """Read the header of the next PDU: its type, and how many bytes follow.

        Raises
        ------
        EOFError
            The peer closed the connection.
        ProtocolError
            When it claims more bytes than any PDU may have.
        """
        kind, length = _header.unpack(self.take(6))
        if length > _MAX_RECEIVED:
            raise ProtocolError(f"a PDU of {length} bytes was announced")
        return kind, length

    def is_quiet(self, seconds: float) -> bool:
        """Wait; say whether the peer has sent nothing meanwhile."""
        waiting = self._end - self._start
        if isinstance(self._connection, ssl.SSLSocket):
            waiting += self._connection.pending()
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return not waiting and not poll.poll(seconds * 1000)

    def take(self, size: int) -> bytes:
        """Read a few bytes."""
        if self._end - self._start < size <= _AHEAD:
            self._look_ahead(size)
        if self._end - self._start >= size:
            self._start += size
            return bytes(self._ahead[self._start - size : self._start])
        whole = bytearray(size)
        self.into(memoryview(whole))
        return bytes(whole)

    def into(self, view: memoryview) -> None:
        """Fill a buffer."""
        ready = min(self._end - self._start, len(view))
        view[:ready] = self._ahead[self._start : self._start + ready]
        self._start += ready
        while ready < len(view):
            ready += self._receive(view[ready:], self._all)

    def send(self, pdu: bytes) -> None:
        """Send a PDU."""
        try:
            self._connection.sendall(pdu)
        except (BlockingIOError, TimeoutError) as error:
            raise Silence("the peer takes nothing") from error

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection; what the peer still has in flight is not waited for."""
        try:
            if farewell:
                self._connection.sendall(farewell)
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
        finally:
            self._connection.close()

    def _look_ahead(self, size: int) -> None:
        """Make at least ``size`` bytes ready, and more when they are there."""
        ready = self._end - self._start
        self._ahead[:ready] = self._ahead[self._start : self._end]
        self._start, self._end = 0, ready
        while self._end < size:
            self._end += self._receive(memoryview(self._ahead)[self._end :], 0)

    def _receive(self, view: memoryview, flags: int) -> int:
        if time.monotonic() > self._deadline:
            raise Silence("the peer is too slow")
        try:
            count = self._connection.recv_into(view, 0, flags)
        except (BlockingIOError, TimeoutError) as error:
            raise Silence("the peer is silent") from error
        except OSError as error:
            if error.errno == errno.ECONNRESET:
                raise EOFError("the peer reset the connection") from error
            raise
        if count == 0:
            raise EOFError("the peer closed the connection")
        return count
