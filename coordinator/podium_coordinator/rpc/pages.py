"""Pages: sizes, and tokens that say where the next one begins. A token is good for the request it came from only."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeVar

import msgspec

from podium.errors import FieldViolation, InvalidPageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    class Paged(Protocol):
        """A request for a page."""

        page_size: int
        page_token: str


T = TypeVar("T")
Row = TypeVar("Row")

DEFAULT_SIZE: Final = 100
MOST: Final = 1000
MOST_BYTES: Final = 8 << 20
"""A page of heavy rows has fewer of them."""

Count = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
"""A whole number in a token, as Postgres's int holds it."""

_DIGEST_BYTES: Final = 8
_MOST_TOKEN_CHARACTERS: Final = 2048


def page_size(request: Paged) -> int:
    """Return how many entries the page may have.

    Raises:
        InvalidPageError: The size asked for is below 0 or over `MOST`.
    """
    if not 0 <= request.page_size <= MOST:
        description = f"must be 1 to {MOST}, or 0 for {DEFAULT_SIZE}; is {request.page_size}"
        raise InvalidPageError(
            f"page_size {description}.", (FieldViolation("page_size", description),), page_size=request.page_size
        )
    return request.page_size or DEFAULT_SIZE


def token(request: Message, place: Any) -> str:
    """Return the token of the page of `request` that begins after `place`."""
    return base64.urlsafe_b64encode(_digest(request) + msgspec.json.encode(place)).decode()


def place(request: Any, kind: type[T]) -> T | None:
    """Return after which place the page begins; None for the first page.

    Raises:
        InvalidPageError: The token was made up, or came from another request.
    """
    if not request.page_token:
        return None
    if len(request.page_token) > _MOST_TOKEN_CHARACTERS:
        raise _refused(f"is longer than {_MOST_TOKEN_CHARACTERS} characters, so no page came with it")
    try:
        raw = base64.b64decode(request.page_token.encode(), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw[_DIGEST_BYTES:], type=kind)
    except ValueError as error:
        raise _refused("is not one that a page came with") from error
    if raw[:_DIGEST_BYTES] != _digest(request):
        raise _refused("came with a page of another request; ask for its next page with the same fields")
    return found


def cut(rows: Sequence[Row], size: int, weight: Callable[[Row], int] | None = None) -> tuple[Sequence[Row], Row | None]:
    """Split what was read, one row more than the page holds if there are more, into the page and its last row.

    The last row is None on the last page. With `weight`, in bytes, a page also ends where it passes `MOST_BYTES`.
    """
    count = min(size, _light_enough(rows, weight) if weight else len(rows))
    return rows[:count], rows[count - 1] if count < len(rows) else None


def _light_enough(rows: Sequence[Row], weight: Callable[[Row], int]) -> int:
    """Return how many rows, one at least, a page may have."""
    total = 0
    for position, row in enumerate(rows):
        total += weight(row)
        if total > MOST_BYTES:
            return max(1, position)
    return len(rows)


def _digest(request: Message) -> bytes:
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_size")
    bare.ClearField("page_token")
    named = type(request).DESCRIPTOR.full_name.encode() + b"\0" + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(named).digest()[:_DIGEST_BYTES]


def _refused(what: str) -> InvalidPageError:
    return InvalidPageError(f"The page token {what}.", (FieldViolation("page_token", what),))
