"""A small stock book, used by `make try` as a file to complete in."""

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
        if name not in self.counts:
            raise KeyError(name)
        self.counts[name] -= count

    def save(self):
        with open(self.path, "w") as file:
            json.dump(

    def total(self):
        return sum(self.counts.values())
