"""What is typed into: the real server, or, for models that it cannot load, its rules without it."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime import trim
from runtime.bundle import default_bundle_directory
from runtime.confidence import Written, best_head, calibration_of, least_logprob
from runtime.engine import Engine, FimRequest
from runtime.sampling import SamplingConfig
from train.evaluation.models.hugging_face_files import is_folder
from train.evaluation.models.models import open_engine
from train.evaluation.typing.editor_client import ServerEditor
from train.evaluation.typing.passages import Passage
from train.evaluation.typing.replay import Editor, FunctionEditor

BUNDLE_VARIABLE = "STARLING_BUNDLE"


@contextmanager
def editor_for(
    path: Path | None,
    passages: Sequence[Passage],
    *,
    min_confidence: float | None,
    pace_ms: float,
) -> Iterator[Editor]:
    """An editor with a model (None: the default bundle) that is ready to be typed into.

    A Hugging Face folder needs `min_confidence`: the server's own default is not
    known here. `pace_ms` is the server's alone.
    """
    if path is not None and is_folder(path):
        assert min_confidence is not None, "the command asks for it"
        with open_engine(path) as engine:
            yield FunctionEditor(_suggestions_of(engine, min_confidence))
        return
    # The modelled typist waits for each answer, so waiting for a pause would only take time.
    settings: dict[str, object] = {"debounceMs": 0}
    if min_confidence is not None:
        settings["minConfidence"] = min_confidence
    with server_editor(path, passages, settings=settings, pace_ms=pace_ms) as editor:
        yield editor


def server_editor(
    path: Path | None,
    passages: Sequence[Passage],
    *,
    settings: Mapping[str, object],
    pace_ms: float,
) -> ServerEditor:
    """`starling serve` with a bundle (None: the default)."""
    bundle = path if path is not None else default_bundle_directory()
    documents = [passage.document for passage in passages]
    return ServerEditor(
        [sys.executable, "-m", "starling", "serve"],
        projects=sorted({one.project for one in documents if one.folder is None}),
        folders=[one.folder for one in documents if one.folder is not None],
        settings=settings,
        environment={BUNDLE_VARIABLE: str(bundle.resolve())},
        pace_ms=pace_ms,
    )


def _suggestions_of(engine: Engine, min_confidence: float) -> Callable[[str, str, str], str]:
    """A function of (text before, text after, path): the engine under the server's rules."""
    calibration = calibration_of(engine.info)
    sampling = SamplingConfig(min_logprob=least_logprob(calibration, min_confidence))

    def complete(prefix: str, suffix: str, path: str) -> str:
        if not trim.may_complete(suffix):
            return ""
        mode = trim.choose_mode(prefix, suffix, path=path)
        request = FimRequest(prefix=prefix, suffix=suffix, path=path, mode=mode)
        completion = engine.complete(request, sampling)[0]
        written = Written.at_cursor(completion, prefix, suffix, path=path)
        if written is None:
            return ""
        best = best_head(written.heads(calibration), written.text, min_probability=min_confidence)
        return written.text[: best.n_chars] if best else ""

    return complete
