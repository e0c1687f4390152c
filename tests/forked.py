"""Processes that begin with TensorFlow imported, which takes longer than most tests."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(["export.graph.serving"])


def elsewhere(function: Callable[..., Any], *arguments: object) -> Any:
    """Calls a function in another process, and raises if that process ends."""
    with ProcessPoolExecutor(1, mp_context=FORKED) as pool:
        return pool.submit(function, *arguments).result()
