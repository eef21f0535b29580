"""Cache: the last compiled items, to be used again.

A backend keeps what it has compiled for as long as the process lives, so that evicting a
program and compiling it again takes more memory than keeping it: eviction frees only its
weights.
"""

import itertools
import threading
from collections import OrderedDict


class Once:
    """Things that the first thread to need them makes, for all."""

    def __init__(self):
        self.made, self.lock = {}, threading.Lock()

    def of(self, name, make):
        """The item of this name."""
        with self.lock:
            if name not in self.made:
                self.made[name] = make()
            return self.made[name]


class Cache:
    """The most recently used items, evicted by the number of their keys and by size.

    An item is lent to one borrower at a time (`pop`, then `put`), or shared (`get`).

    Parameters
    ----------
    max_items : int
    max_values : int, default=2**23
        The most that the items' `size` may add up to, unless a single one is larger. A
        value takes some 24 bytes with the optimizer's state.
    """

    def __init__(self, max_items, max_values=2**23):
        self.max_items, self.max_values = max_items, max_values
        self.items, self.lock = OrderedDict(), threading.Lock()

    def pop(self, key):
        """Remove and return an item put under this key; None if there is none."""
        with self.lock:
            for place in reversed(self.items):
                if place[0] == key:
                    return self.items.pop(place)
        return None

    def put(self, key, item):
        """Add an item, beside others of the same key."""
        with self.lock:
            n = next(n for n in itertools.count() if (key, n) not in self.items)
            self.items[key, n] = item
            self._evict()

    def get(self, key, make):
        """Return the item of this key, made now if there is none, and share it."""
        place = key, 0
        with self.lock:
            item = self.items.get(place)
        if item is None:
            item = make()
        with self.lock:
            item = self.items.setdefault(place, item)  # of two made at once, the first
            self.items.move_to_end(place)
            self._evict()
        return item

    def _evict(self):
        while len(self.items) > 1 and self._too_much():
            self.items.popitem(last=False)

    def _too_much(self):
        values = sum(item.size for item in self.items.values())
        several = len(self.items) > self.max_items
        many = several and len({key for key, _ in self.items}) > self.max_items
        return many or values > self.max_values
