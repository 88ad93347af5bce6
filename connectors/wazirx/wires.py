"""Data is wrapped alike by spot and by futures, and requests are answered alike: the messages of both."""

from typing import Generic, TypeVar

from msgspec import Raw, Struct

LEVELS = 20  # a side of each book that is told

T = TypeVar("T")


class Frame(Struct, Generic[T]):
    data: T
    stream: str


class Answer(Struct):
    """Any frame; data has a `stream` and no `event`."""

    event: str = ""
    id: int | None = None  # 0 where the request had none
    stream: str = ""
    data: Raw = Raw(b"{}")
    status: str = ""
    message: str = ""


class Served(Struct):
    streams: list[str] | None = None  # null where none of them is served


class Complaint(Struct):
    code: int = 0
    message: str = ""
