"""A small stock book with two unfinished lines, which `make try` and the playground begin with."""

import json
from pathlib import Path


class Inventory:
    """Counts of articles by name."""

    def __init__(self, path):
        self.path = Path(path)
        self.counts = {}

    def add(self, name, count=1):
        if count < 0:
            raise ValueError(f"count must not be negative: {count}")
        self.counts[name] = self.counts.get(name, 0) + count

    def remove(self, name, count=1):
        if name not in 
            raise KeyError(name)
        self.counts[name] -= count

    def save(self):
        self.path.write_text(json.dumps(self.counts))

    def load(self):
        if self.path.
            self.counts = json.loads(self.path.read_text())

    def total(self):
        return sum(self.counts.values())
