"""What the tests of the trainer share."""

from collections.abc import Iterator

import pytest
import torch

from tests.train import tiny_run
from train.fitting.loop import TokenFiles


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFiles:
    """Tokenizer and tokens of a tiny corpus."""
    return tiny_run.token_files(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny models are slower on two, and sums are added in one order on one."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
