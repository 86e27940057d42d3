"""Files on their way to a client, closed at once however the client leaves."""

from pathlib import Path
from types import TracebackType
from typing import Any

from anyio import AsyncFile
from litestar.file_system import BaseLocalFileSystem
from litestar.types import PathType


class ClosedAtOnce(AsyncFile[Any]):
    """Closes without waiting: a reader who was cancelled could not wait, and would leave the file open."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wrapped.close()


class LocalFiles(BaseLocalFileSystem):
    """The files of this machine, for Litestar's File response."""

    async def open(self, file: PathType, mode: str, buffering: int = -1) -> AsyncFile[Any]:
        """Open without a thread: who is cancelled while one opens a file never gets it, to close it."""
        return ClosedAtOnce(Path(file).open(mode, buffering))  # noqa: ASYNC230
