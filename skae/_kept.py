"""Kept: the last few compiled things, to be used again."""

import threading
from collections import OrderedDict


class Kept:
    """The last few things that were made, by key."""

    def __init__(self, most):
        self.things, self.most, self.lock = OrderedDict(), most, threading.Lock()

    def take(self, key):
        """What was put by this key, which is then gone; None if nothing was."""
        with self.lock:
            return self.things.pop(key, None)

    def put(self, key, thing):
        with self.lock:
            self.things[key] = thing
            while len(self.things) > self.most:
                self.things.popitem(last=False)

    def get(self, key, make):
        """What was put by this key, or is made now."""
        thing = self.take(key) or make()
        self.put(key, thing)
        return thing
