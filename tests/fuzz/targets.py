"""The table of all targets: name -> how it is opened."""

from tests.fuzz.index_targets import INDEX
from tests.fuzz.measuring_targets import MEASURING
from tests.fuzz.serving_targets import SERVING
from tests.fuzz.session_target import session
from tests.fuzz.training_targets import TRAINING

TARGETS = {**SERVING, **INDEX, "session": session, **TRAINING, **MEASURING}
