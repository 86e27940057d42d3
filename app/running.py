"""How a verb of the command line runs what is asynchronous."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

Result = TypeVar("Result")


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; Ctrl-C stops cleanly."""
    try:
        return asyncio.run(coroutine)
    except KeyboardInterrupt:
        click.echo(
            "\nstopped; what was done so far is kept, and running it again goes on from there", err=True
        )
        sys.exit(130)
