"""Fetch a file from a web server that nobody vouches for: it may be slow, silent, or point elsewhere."""

import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import IO
from urllib.error import HTTPError, URLError

from hashfed.engines.background import begin
from hashfed.engines.proxies import proxy_handler, through
from hashfed.errors import HashfedError

SECONDS = 60.0
"""For which a web server may be silent, and which a file of no bytes may take from request to end."""
SPEED = 16_384
"""Bytes a second that come at least, beyond ``SECONDS``: a mobile network at the edge of its reach gives so
many. What is slower would not be there before the round's deadline (``flower.deadline``)."""


def fetch(url: str, most: int, seconds: float | None = None) -> bytes:
    """The file at ``url``, http or https, or its first ``most`` bytes.

    Proxies are used as the environment says (``https_proxy``), but for a server on this machine.

    Args:
        url: its address.
        most: bytes to read.
        seconds: for all of it; None: ``SECONDS``, and more for a long file (``SPEED``).

    Raises:
        HashfedError: where the server is not there, too slow, answers with an error, or redirects: a client
            asks nobody but the server that it was told.

    """
    allowed = SECONDS + most / SPEED
    if seconds is not None:
        allowed = min(allowed, seconds)

    def read() -> bytes:
        opener = urllib.request.build_opener(_NoRedirects, proxy_handler(url))
        with opener.open(url, timeout=SECONDS) as answer:
            return bytes(answer.read(most))

    # The library's timeout begins anew with each byte, so the clock is watched from outside; a thread that is
    # given up ends when its server does.
    try:
        return begin(read).result(allowed)
    except HTTPError as error:
        error.close()
        raise HashfedError(f"{url}: cannot be fetched ({error}){through(url)}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            reason = f"silent for {SECONDS:g} s, or not all of it there within {allowed:.3g} s"
        raise HashfedError(f"{url}: cannot be fetched ({reason}){through(url)}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could name any machine that the client can reach and the server cannot."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Refuse it."""
        fp.close()
        raise HashfedError(
            f"{req.full_url}: redirects to {newurl!r}: redirects are not followed; "
            "flower.slices_url must be where the slices are"
        )
