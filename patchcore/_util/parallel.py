"""Run a function in several threads, with results in order and a bounded number of items in progress."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in the order of the items.

    There is one thread for each core. At most twice as many items are in progress or wait to be taken, so memory does
    not grow with the number of items. An exception of the function is raised in the place of its result.

    Example:
        >>> list(in_order(len, ["a", "bcd", "ef"]))
        [1, 3, 2]
    """
    workers = os.cpu_count() or 1
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) >= 2 * workers:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run matrix products on the calling thread only, for work that is in parallel threads already.

    BLAS would split each product among its own threads, more than there are cores, which then wait for one another:
    measured on two busy cores, 8 anomaly maps took 18 to 35 ms that way, and 2 ms with one thread each.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
