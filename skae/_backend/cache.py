"""Cache: the most recently compiled items, to be used again.

A backend never frees what it has compiled. Evicting a program frees only its weights, so
that to evict it and compile it again takes more memory than to cache it.
"""

import itertools
import threading
from collections import OrderedDict


class Once:
    """Items that are made once, by the first thread that needs them."""

    def __init__(self):
        self.made, self.lock = {}, threading.Lock()

    def of(self, name, make):
        """Return the item of this name; make it if there is none."""
        with self.lock:
            if name not in self.made:
                self.made[name] = make()
            return self.made[name]


class Cache:
    """The most recently used items, evicted by the number of their keys and by size.

    An item is either used by one caller at a time (`pop`, then `put`) or shared (`get`).

    Parameters
    ----------
    max_items : int
    max_values : int, default=2**23
        The largest sum of the items' `size`, unless a single item is larger. A value
        takes some 24 bytes with the optimizer's state.
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
        """Add an item, next to others of the same key."""
        with self.lock:
            n = next(n for n in itertools.count() if (key, n) not in self.items)
            self.items[key, n] = item
            self._evict()

    def get(self, key, make):
        """Return the shared item of this key; make it if there is none."""
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
