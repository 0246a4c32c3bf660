"""Who may do what: a bearer token for programs, the same as a cookie for a browser."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Self

from fastapi import HTTPException, Request, Response

from node.config import Web
from node.errors import Misconfigured

COOKIE = "lumbar_session"


@dataclass(frozen=True)
class Access:
    """The token of the web interface; empty when nobody is asked for one."""

    token: str

    @classmethod
    def of(cls, settings: Web) -> Self:
        """Read the token file.

        Raises
        ------
        Misconfigured
            When it cannot be read or is empty.
        """
        if settings.token_file is None:
            return cls("")
        try:
            token = settings.token_file.read_text("utf-8").strip()
        except OSError as error:
            raise Misconfigured(
                f"web: cannot read token_file {settings.token_file}: {error.strerror}"
            ) from error
        if not token:
            raise Misconfigured(f"web: token_file {settings.token_file} is empty")
        return cls(token)

    def to_write(self, request: Request) -> None:
        """Raise 401 unless the request carries the bearer token.

        A cookie does not count: a browser sends it along with what another site asks of it.
        """
        given = request.headers.get("authorization", "")
        if self.token and not _same(given, f"Bearer {self.token}"):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    def to_read(self, request: Request) -> None:
        """Raise 401 unless the request carries the bearer token, or the cookie of `sign_in`."""
        if not _same(request.cookies.get(COOKIE, ""), self._cookie):
            self.to_write(request)

    def sign_in(self, token: str, response: Response, *, is_secure: bool) -> bool:
        """Give a browser that knows the token the cookie; say whether it does."""
        if not _same(token.strip(), self.token):
            return False
        response.set_cookie(
            COOKIE, self._cookie, httponly=True, samesite="strict", secure=is_secure
        )
        return True

    @property
    def _cookie(self) -> str:
        # Not the token itself: what a browser keeps may read, but not write.
        return hmac.new(self.token.encode(), b"browser", hashlib.sha256).hexdigest()


def _same(given: str, right: str) -> bool:
    return secrets.compare_digest(given.encode(), right.encode())
