import threading
import time
from collections.abc import Iterator

import pytest

from patchcore._util.parallel import in_order, one_blas_thread


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item < 3 else 0)
        return item * item

    assert list(in_order(slow_at_first, range(20))) == [item * item for item in range(20)]


def test_only_a_bounded_number_is_begun_ahead() -> None:
    taken = 0
    lock = threading.Lock()

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            with lock:
                taken += 1
            yield item

    results = in_order(lambda item: item, items())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert taken < 200  # twice the cores ahead, not the thousand
    results.close()


def test_an_error_is_raised_where_its_result_would_come() -> None:
    def refuse_five(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    results = in_order(refuse_five, range(10))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_nothing_in_nothing_out() -> None:
    assert list(in_order(str, [])) == []


def test_blas_has_one_thread_inside_and_as_many_as_before_after() -> None:
    import numpy as np
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    np.zeros((2, 2)) @ np.zeros((2, 2))  # loads BLAS
    before = threads()
    with one_blas_thread():
        assert set(threads()) == {1}
    assert threads() == before
