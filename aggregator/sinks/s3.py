"""The `s3` sink: the closed files of a `files`, `csv` or `parquet` sink of this daemon, each uploaded whole and once.

It takes no records: it looks at the directory, since what is closed there lies on the disk and outlives a kill. An
object's key is the file's own path, and it is created only where there is none, so that whatever was done before a kill
is found done: a file is uploaded, looked at there, and only then removed here.
API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

import asyncio
import hashlib
import logging
import os
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Struct
from pydantic import AfterValidator, Field, ValidationInfo

from aggregator.bus.bus import Batch
from aggregator.errors import ConfigError
from aggregator.sinks.address import address
from aggregator.sinks.closer import ZST
from aggregator.sinks.intervals import MARKER, Interval
from aggregator.sinks.paths import SUFFIX, is_closed
from aggregator.sinks.repair import has_footer
from aggregator.sinks.sink import Context, Sink, Writer
from aggregator.sinks.values import Duration, FilePath, Secret, reveal
from aggregator.sinks.worker import Worker
from aggregator.tables.csv import is_csv
from aggregator.tables.merging import NOTE, PREFIX
from aggregator.tables.parquet import is_parquet

if TYPE_CHECKING:
    from obstore.store import S3Store

PART_BYTES = 16_000_000  # a file above four of them is uploaded in parts, two at a time
WHOLE_BYTES = 4 * PART_BYTES
AT_ONCE = 4  # files that are uploaded at once
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
IDLE_TIMEOUT_S = 60  # a request of which nothing is heard for so long has failed
STEM = re.compile(r"([^.]+)-(\d+)(?:-lost)?-\d+\.")  # the epoch and the first offset of a table's interval
MD5 = re.compile(r'"?([0-9a-f]{32})"?\Z')  # the tag of an object that came in one part is this sum, at most servers

log = logging.getLogger("aggregator.sinks.s3")


def _both(value: object, info: ValidationInfo) -> object:
    """See that both keys are there, or none. Raises ValueError."""
    if "access_key" in info.data and (value is None) != (info.data["access_key"] is None):
        raise ValueError("access_key and secret_key belong together: write both, or none")
    return value


class S3Settings(Struct, frozen=True, kw_only=True):
    """Closed files, uploaded to S3 or what speaks its protocol: [S3](sinks/s3.md).

    path: the directory of the sink whose files these are: its `path`, where it must not `merge` them
    bucket: where they go
    prefix: begins every key; behind it comes the file's path below the directory
    endpoint: the server, like `"https://minio.example:9000"`; by default Amazon's of the region
    region: the region that a request is signed for; R2 has `"auto"`
    virtual_host: whether the bucket is the first part of the server's name, and not of the path
    access_key: where the key's name is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`; by default the machine has
        a role
    secret_key: where the key is
    session_token: where the token is that goes with a key for a while
    ca: the file of a certificate that may have signed the server's, beside those that the system trusts
    plain: whether closed files that are not compressed are uploaded, of a sink that has `compress = false`
    remove: whether a file is removed here, once it is there
    every: how often the directory is looked at
    """

    path: FilePath
    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")]
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9!_*'()=-][A-Za-z0-9!_.*'()=-]*/)*$")] = ""
    endpoint: Annotated[str, AfterValidator(address(("http", "https"), "https://minio.example:9000"))] | None = None
    region: Annotated[str, Field(pattern="^[A-Za-z0-9-]+$")] = "us-east-1"
    virtual_host: bool = False
    access_key: Secret | None = None
    secret_key: Annotated[Secret | None, Field(validate_default=True), AfterValidator(_both)] = None
    session_token: Secret | None = None
    ca: FilePath | None = None
    plain: bool = False
    remove: bool = False
    every: Annotated[Duration, Field(gt=0)] = 10.0


class UploadFailed(Exception):
    """A file cannot be uploaded now; the words say why."""


class S3Writer(Writer):
    """Looks for closed files, and uploads them; all that blocks is done by a thread."""

    def __init__(self, settings: S3Settings, context: Context, store: "S3Store") -> None:
        self._settings = settings
        self._context = context
        self._store = store
        self._worker = Worker("s3")
        self._there: set[str] | None = None  # keys of files that stay here and are there; null: that is not known yet
        self._pause = 0.0
        self._ended = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name=context.name)

    def write(self, batch: Batch) -> None:
        """Take no record: what is uploaded is on the disk."""

    async def close(self) -> None:
        """End; what is not there yet is uploaded by the next life."""
        self._ended.set()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._worker.stop()

    async def _go_on(self) -> None:
        while True:
            pause = self._settings.every
            try:
                await self._upload_all()
            except UploadFailed as error:
                self._pause = min(self._pause * 2 or FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
                pause = self._pause * random.uniform(0.5, 1)
                self._tell(str(error))
            except Exception as error:
                log.exception("s3 %s: an error of our own", self._settings.bucket)
                self._tell(f"an error of our own: {type(error).__name__}: {error}")
            else:
                self._pause = 0.0
                self._tell(None)
            await asyncio.sleep(pause)

    def _tell(self, trouble: str | None) -> None:
        before = self._context.trouble
        if trouble is not None and before is None:
            log.error("s3 %s: %s; trying again until it works", self._settings.bucket, trouble)
        elif trouble is None and before is not None:
            log.warning("s3 %s: goes on", self._settings.bucket)
        self._context.report(trouble)

    # --- the files and objects that there are

    async def _upload_all(self) -> None:
        """Upload what is closed. Raises UploadFailed, with the first of what is wrong, after all others were tried."""
        try:
            found = await self._worker.do(lambda: list(closed_files(self._settings.path, plain=self._settings.plain)))
        except OSError as error:
            raise UploadFailed(f"{self._settings.path} cannot be read: {error.strerror}") from error
        if found and self._there is None:
            self._there = await self._known(found)
        there = self._there or set()
        due = [(path, key) for path in found if (key := self._key(path)) not in there]
        if not self._settings.remove:
            self._there = there & {self._key(path) for path in found}
        troubles: list[UploadFailed] = []
        for start in range(0, len(due), AT_ONCE):
            doing = [self._upload(path, key) for path, key in due[start : start + AT_ONCE]]
            said = await asyncio.gather(*doing, return_exceptions=True)
            troubles += [each for each in said if isinstance(each, UploadFailed)]
            for each in said:
                if isinstance(each, BaseException) and not isinstance(each, UploadFailed):
                    raise each
            if len(troubles) >= AT_ONCE:
                break
        if troubles:
            raise troubles[0]

    def _key(self, path: Path) -> str:
        return self._settings.prefix + path.relative_to(self._settings.path).as_posix()

    async def _known(self, found: list[Path]) -> set[str]:
        """The keys of files that are there already, in the same size: a former life uploaded them."""
        if self._settings.remove:
            return set()
        sizes = await self._worker.do(lambda: {self._key(path): path.stat().st_size for path in found if path.exists()})
        there: set[str] = set()
        try:
            async for some in self._store.list(prefix=self._settings.prefix or None):
                there |= {each["path"] for each in some if sizes.get(each["path"]) == each["size"]}
        except Exception as error:
            raise UploadFailed(f"what is there cannot be listed: {_said(error)}") from error
        return there

    # --- one file

    async def _upload(self, path: Path, key: str) -> None:
        """Upload a file, look at it there, and remove it here where that is wanted. Raises UploadFailed."""
        try:
            size = (await self._worker.do(path.stat)).st_size
            is_new = await self._put(path, key, size)
            await self._check(path, key, size)
            if self._settings.remove:
                await self._worker.do(path.unlink)
                self._context.remove(1)
            elif self._there is not None:
                self._there.add(key)
        except FileNotFoundError:
            return  # the sink that wrote it has removed it meanwhile
        except OSError as error:
            raise UploadFailed(f"{path}: {error.strerror or error}") from error
        if is_new:
            log.info("s3 %s: %s (%d bytes) is there", self._settings.bucket, key, size)

    async def _put(self, path: Path, key: str, size: int) -> bool:
        """Create the object; whether it was not there. Raises UploadFailed.

        Parts cannot be put together on a condition by this library: there one looks beforehand.
        """
        from obstore.exceptions import AlreadyExistsError

        try:
            if size > WHOLE_BYTES:
                if await self._head(key) is not None:
                    return False
                parts = self._parts(path)  # the library would open a path on the event loop
                await self._store.put_async(key, parts, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=2)
            else:
                whole = await self._worker.do(path.read_bytes)
                await self._store.put_async(key, whole, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except UploadFailed:
            raise
        except Exception as error:
            if not await self._worker.do(path.exists):
                raise FileNotFoundError(path) from error
            raise UploadFailed(f"{key} cannot be uploaded: {_said(error)}") from error
        return True

    async def _parts(self, path: Path) -> AsyncIterator[bytes]:
        """A file in parts, each read when it is wanted. Raises OSError."""
        file = await self._worker.do(lambda: path.open("rb"))
        try:
            while part := await self._worker.do(lambda: file.read(PART_BYTES)):
                yield part
        finally:
            self._worker.put(file.close)

    async def _head(self, key: str) -> Any:
        """Ask the server for what it knows of an object; null: there is none. Raises UploadFailed."""
        try:
            return await self._store.head_async(key)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise UploadFailed(f"{key} cannot be looked at: {_said(error)}") from error

    async def _check(self, path: Path, key: str, size: int) -> None:
        """See that the object is the file: by its size, and its sum where the server tells it. Raises UploadFailed."""
        there = await self._head(key)
        if there is None:
            raise UploadFailed(f"{key} is not there after it was uploaded")
        tag = MD5.fullmatch(there["e_tag"] or "")
        is_alike = there["size"] == size
        if is_alike and tag is not None and size <= WHOLE_BYTES:
            is_alike = await self._worker.do(lambda: _md5(path)) == tag[1]
        if not is_alike:
            words = f"another object of {there['size']} bytes has the key {key}"
            raise UploadFailed(f"{words}; {path} is not uploaded: move one of them away")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _said(error: Exception) -> str:
    """The words of an error of the library, without its insides."""
    said, _, _ = str(error).partition("\n\nDebug source")
    return " ".join(said.split()) or type(error).__name__


def closed_files(root: Path, *, plain: bool) -> Iterator[Path]:
    """The files below a directory that are as they will stay, the oldest names first. Raises OSError.

    plain: whether those of a `files` sink are that are not compressed
    """
    if not root.exists():
        return
    names = sorted(_files(root))
    interval = _interval(root)  # read after the names: what had one before is of this interval, or of an earlier one
    for path in names:
        if is_parquet(path) or is_csv(path):
            if interval is None or _is_before(path, interval):
                yield path
        elif path.name.endswith(f"{SUFFIX}{ZST}"):
            if is_closed(path.with_suffix("")):
                yield path
        elif plain and path.suffix == SUFFIX and is_closed(path):
            with suppress(FileNotFoundError):
                if has_footer(path):
                    yield path


def _files(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        if NOTE in names:  # a killed daemon had begun to merge them, and this one will see to it
            continue
        yield from (path for name in names if not name.startswith(".") and _is_file(path := Path(directory, name)))


def _is_file(path: Path) -> bool:
    """Tell a file from a pipe, which would never end, and from a link to something elsewhere."""
    try:
        return S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _interval(root: Path) -> Interval | None:
    """The interval of a `csv` or `parquet` sink that is not over: its files may yet be replaced by others."""
    with suppress(FileNotFoundError, msgspec.MsgspecError):
        return msgspec.json.decode((root / MARKER).read_bytes(), type=Interval)
    return None


def _is_before(path: Path, interval: Interval) -> bool:
    """Tell whether a table is of an interval that came before this one, or of a whole day that was merged once."""
    if path.name.startswith(PREFIX):
        return True
    found = STEM.match(path.name)
    return found is not None and (found[1], int(found[2])) <= (interval.epoch.replace(".", "-"), interval.offset)


async def open_s3(settings: S3Settings, context: Context) -> Writer:
    """Begin. Raises ConfigError where a key or the certificate cannot be read."""
    from obstore.store import S3Store

    try:
        keys = {
            "access_key_id": reveal(settings.access_key),
            "secret_access_key": reveal(settings.secret_key),
            "session_token": reveal(settings.session_token),
            "endpoint": settings.endpoint,
        }
        certificate = None if settings.ca is None else settings.ca.read_bytes()
    except OSError as error:
        raise ConfigError(f"s3: {error}") from error
    client: dict[str, Any] = {
        "allow_http": settings.endpoint is not None and settings.endpoint.startswith("http:"),
        "timeout": "1h",
        "read_timeout": f"{IDLE_TIMEOUT_S}s",
        "connect_timeout": "10s",
    }
    if certificate is not None:
        client["root_certificate"] = certificate
    store = S3Store(
        settings.bucket,
        region=settings.region,
        virtual_hosted_style_request=settings.virtual_host,
        client_options=client,
        retry_config={"max_retries": 0},  # this module tries again, and says so
        **{name: value for name, value in keys.items() if value is not None},
    )
    return S3Writer(settings, context, store)


SINK = Sink(
    "s3",
    S3Settings,
    open_s3,
    unique="path",
    example={"path": "/var/lib/aggregator/data", "bucket": "market"},
    has_queue=False,
    takes_files=True,
    module="obstore",
)
