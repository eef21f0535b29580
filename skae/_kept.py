"""Kept: the last compiled things, to be used again.

What a backend has compiled it holds for as long as the process lives, so that to let a
thing go and compile it again takes more memory than to keep it; only its weights are
given back.
"""

import itertools
import threading
from collections import OrderedDict


class Once:
    """Things that the first thread to need them makes, for all."""

    def __init__(self):
        self.made, self.lock = {}, threading.Lock()

    def of(self, name, make):
        """The thing of this name."""
        with self.lock:
            if name not in self.made:
                self.made[name] = make()
            return self.made[name]


class Kept:
    """The last things that were made: of so many keys, and of so large a size in all.

    They are lent, each to one at a time (`take`, `put`), or shared.

    Parameters
    ----------
    most : int
    most_values : int, default=2**23
        What the things' `size` may come to, unless a single one is larger: values that
        take some 24 bytes each, with what an optimizer knows of them.
    """

    def __init__(self, most, most_values=2**23):
        self.most, self.most_values = most, most_values
        self.things, self.lock = OrderedDict(), threading.Lock()

    def take(self, key):
        """What was put by this key, which is then gone; None if nothing was."""
        with self.lock:
            for place in reversed(self.things):
                if place[0] == key:
                    return self.things.pop(place)
        return None

    def put(self, key, thing):
        """Keep a thing, and others that were put by the same key."""
        with self.lock:
            n = next(n for n in itertools.count() if (key, n) not in self.things)
            self.things[key, n] = thing
            self._trim()

    def share(self, key, make):
        """What is kept by this key, or is made now, and stays there for others."""
        place = key, 0
        with self.lock:
            thing = self.things.get(place)
        if thing is None:
            thing = make()
        with self.lock:
            thing = self.things.setdefault(place, thing)  # of two made at once, the first
            self.things.move_to_end(place)
            self._trim()
        return thing

    def _trim(self):
        while len(self.things) > 1 and self._too_much():
            self.things.popitem(last=False)

    def _too_much(self):
        values = sum(thing.size for thing in self.things.values())
        several = len(self.things) > self.most
        many = several and len({key for key, _ in self.things}) > self.most
        return many or values > self.most_values
