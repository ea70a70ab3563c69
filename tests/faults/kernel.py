"""A function for numba to compile in a test of where it keeps what it compiled."""

import numpy as np
from numpy.typing import NDArray


def total(numbers: NDArray[np.int64]) -> int:
    """The sum."""
    result = 0
    for number in numbers:
        result += number
    return result
