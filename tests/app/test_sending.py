from pathlib import Path

import anyio
import pytest

from app.sending import LocalFiles


async def test_a_file_is_closed_although_its_reader_was_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"1234")
    with anyio.CancelScope() as scope:
        async with await LocalFiles().open(str(path), "rb") as file:
            scope.cancel()
            await file.read()
    assert scope.cancelled_caught
    assert file.wrapped.closed


def test_nobody_can_be_cancelled_while_a_file_is_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"1234")
    opening = LocalFiles().open(str(path), "rb")
    with pytest.raises(StopIteration) as opened:  # ended at once: there was nothing to wait for
        opening.send(None)
    opened.value.value.wrapped.close()
