"""Kept: the last compiled things, to be used again.

What a backend has compiled it holds for as long as the process lives, so that to let a
thing go and compile it again takes more memory than to keep it; only its weights are
given back.
"""

import threading
from collections import OrderedDict


class Kept:
    """The last things that were made, by key: so many, and of so large a size in all.

    Parameters
    ----------
    most : int
    most_values : int, default=2**24
        What the things' `size` may come to, unless a single one is larger.
    """

    def __init__(self, most, most_values=2**24):
        self.most, self.most_values = most, most_values
        self.things, self.lock = OrderedDict(), threading.Lock()

    def take(self, key):
        """What was put by this key, which is then gone; None if nothing was."""
        with self.lock:
            return self.things.pop(key, None)

    def put(self, key, thing):
        with self.lock:
            self.things[key] = thing
            while len(self.things) > 1 and self._too_much():
                self.things.popitem(last=False)

    def _too_much(self):
        values = sum(thing.size for thing in self.things.values())
        return len(self.things) > self.most or values > self.most_values

    def get(self, key, make):
        """What was put by this key, or is made now."""
        thing = self.take(key) or make()
        self.put(key, thing)
        return thing
