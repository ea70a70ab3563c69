"""A Hugging Face folder (config.json, tokenizer.json, *.safetensors) under the engine.

PyTorch computes the logits; prompts, healing, sampling and stopping are the engine's own, so that a
table compares models and not harnesses. Slower than llama.cpp: this is for evaluation alone. The
folder is opened without code of its own and without pickles.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import DynamicCache

from runtime.errors import ContextOverflowError
from train.errors import CheckpointError
from train.evaluation.models.hugging_face_files import Folder
from train.evaluation.models.hugging_face_tokens import HuggingFaceTokens


class HuggingFaceModel:
    """A `runtime.backend.Backend`."""

    def __init__(self, folder: Folder, *, max_context_tokens: int) -> None:
        """Loads the weights, on a GPU when there is one; raises CheckpointError."""
        self.vocabulary: HuggingFaceTokens = folder.tokens()
        self.n_context_tokens = min(max_context_tokens, folder.context_tokens)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = _on_device(_loaded(folder), self._device, folder).eval()
        self.n_params: int = sum(weight.numel() for weight in self._model.parameters())
        n_logits = self._model.get_input_embeddings().weight.shape[0]
        if n_logits < self.vocabulary.n_tokens:
            raise CheckpointError(
                f"{folder.path} has a tokenizer of {self.vocabulary.n_tokens} tokens and a model "
                f"of {n_logits}: they are not of one model, download the folder again"
            )
        self.abort_flag: NDArray[np.uint8] = np.zeros(1, np.uint8)
        parameters = inspect.signature(self._model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self._cache: Any = None
        self._n_cached = 0
        self._logits_V: NDArray[np.float32] = np.zeros(self.vocabulary.n_tokens, np.float32)

    @property
    def n_cached_tokens(self) -> int:
        """Tokens in the cache."""
        return self._n_cached

    @property
    def logits_V(self) -> NDArray[np.float32]:
        """The last token's logits."""
        return self._logits_V

    def rewind(self, n_tokens: int) -> None:
        """Forget all but the first `n_tokens`; everything, where the cache cannot be cut."""
        n_cut = self._n_cached - n_tokens
        if n_cut <= 0:
            return
        if n_tokens:
            try:
                self._cache.crop(-n_cut)
                self._n_cached = n_tokens
                return
            except (AttributeError, NotImplementedError, RuntimeError, ValueError):
                pass  # A sliding window or a recurrent state, which has forgotten its past.
        self._cache, self._n_cached = None, 0

    def extend(self, token_ids: Sequence[int] | NDArray[np.int32]) -> bool:
        """Compute tokens after those in the cache; never stopped, so always True."""
        self._check_room(self._n_cached + len(token_ids))
        if self._cache is None:
            self._cache = DynamicCache(config=self._model.config)
        self._logits_V = self._forward(token_ids, self._cache, **self._only_last)[-1]
        self._n_cached += len(token_ids)
        return True

    def step(self, token_ids: Sequence[int], *, n_rows: int) -> NDArray[np.float32] | None:
        """Compute a few tokens; logits after the last, shape (n_rows, vocab_size)."""
        self._check_room(self._n_cached + len(token_ids))
        if self._cache is None:
            self._cache = DynamicCache(config=self._model.config)
        rows = self._forward(token_ids, self._cache)[-n_rows:]
        self._logits_V = rows[-1]
        self._n_cached += len(token_ids)
        return rows

    def fork(self, n: int, *, n_tokens_each: int) -> int:
        """One branch at a time: the trunk itself."""
        return 1

    def step_branches(
        self, branches: Sequence[int], token_ids: Sequence[int]
    ) -> NDArray[np.float32] | None:
        """The trunk's next token; logits (1, vocab_size)."""
        return self.step(token_ids, n_rows=1)

    def join(self) -> None:
        """There are no other branches."""

    def save(self) -> NDArray[np.uint8] | None:
        """Not taken out: evaluation asks about each document once."""
        return None

    def restore(self, state: NDArray[np.uint8]) -> None:
        """Never called, as nothing is saved."""

    def all_logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after each token, shape (n_tokens, vocab_size); the cache is empty afterwards."""
        self._check_room(len(token_ids))
        self.rewind(0)
        return self._forward(token_ids, None)

    def close(self) -> None:
        """Free the weights."""
        self._model = self._cache = None

    @torch.inference_mode()
    def _forward(
        self, token_ids: Sequence[int] | NDArray[np.int32], cache: Any, **options: Any
    ) -> NDArray[np.float32]:
        """Logits of our tokens, shape (n_tokens, vocab_size); padded rows are cut off."""
        inputs_1T = torch.tensor([[int(token_id) for token_id in token_ids]], device=self._device)
        done = self._model(
            input_ids=inputs_1T, past_key_values=cache, use_cache=cache is not None, **options
        )
        logits_TV = done.logits[0, :, : self.vocabulary.n_tokens]
        return np.ascontiguousarray(logits_TV.float().cpu().numpy())

    def _check_room(self, n_tokens: int) -> None:
        if n_tokens > self.n_context_tokens:
            raise ContextOverflowError(
                f"{n_tokens} tokens do not fit into the context of {self.n_context_tokens}: send "
                "less text"
            )


def _loaded(folder: Folder) -> Any:
    """The model, with every weight from the folder: transformers would make up missing ones."""
    quiet: Any = transformers.utils.logging
    verbosity, had_bar = quiet.get_verbosity(), quiet.is_progress_bar_enabled()
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder.path,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # Many kinds of error, from three packages.
        first_line = str(error).strip().split("\n")[0].rstrip(".!")
        raise CheckpointError(
            f"{folder.path} cannot be loaded as a model of architecture "
            f"{folder.architecture} ({first_line}): download it again, or name one that "
            f"transformers {transformers.__version__} knows"
        ) from error
    finally:
        quiet.set_verbosity(verbosity)
        if had_bar:
            quiet.enable_progress_bar()
    model, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(
            f"{folder.path} lacks {len(missing)} of the weights that its config asks for, such as "
            f"{missing[0]}: download it again"
        )
    return model


def _on_device(model: Any, device: str, folder: Folder) -> Any:
    try:
        return model.to(device)
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            f"{folder.path} does not fit into the memory of the GPU: hide the GPU (set "
            "CUDA_VISIBLE_DEVICES to nothing), or name a smaller model"
        ) from error
