"""Whatever happens to a gallery, its index finds as many as match, and the nearest: a small benchmark."""

import tempfile
from pathlib import Path

import pytest

from benchmarks.index_truth import LIMITS, measure


@pytest.mark.slow
async def test_whatever_happens_to_a_gallery_costs_neither_rows_nor_recall() -> None:
    with tempfile.TemporaryDirectory(prefix="image-retrieval-") as folder:
        found = await measure(Path(folder), images=4000, dimension=48, count=25)
    assert len(found) == 8
    for stage in found:
        assert stage.short == 0, stage.name
        assert all(recall >= limit for recall, limit in zip(stage.recalls, LIMITS, strict=True)), stage
