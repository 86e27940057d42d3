"""What breaks, broken on purpose; FAULT_SEED=… replays what a failed test printed."""

import pytest

LONG = (pytest.mark.slow, pytest.mark.long)
"""Marks of what takes minutes."""
