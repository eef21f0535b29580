"""StreamedAttributes: fitted attributes of `partial_fit`, computed on demand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from skae._utils.warnings import numpy_defaults

#: Fitted attributes that describe the components of the rows.
DESCRIBED = (
    *("_state", "components_", "explained_variance_", "explained_variance_ratio_"),
    *("noise_variance_", "kl_per_component_", "posteriors_", "quantiles_"),
)

#: Locked while fitted attributes are replaced.
SETTLING = threading.Lock()


class StreamedAttributes:
    """The state between calls of `partial_fit`, whose components take time to compute."""

    @property
    def _last_state(self):
        """The state of the last fit; for a stream, without computing its components."""
        undescribed = vars(self).get("_undescribed")
        return self._state if undescribed is None else undescribed.state

    def _describe(self, rows=None):
        """Compute the components of the rows of all calls of `partial_fit`."""
        while (undescribed := vars(self).get("_undescribed")) is not None:
            with numpy_defaults():
                state, attributes = undescribed.described(self._components, rows)
            with SETTLING:  # another thread may fit now
                if vars(self).get("_undescribed") is undescribed:
                    vars(self).update(attributes, _state=state)
                    del vars(self)["_undescribed"]

    if not TYPE_CHECKING:  # else all attributes would be known to it

        def __getattr__(self, name):
            # components of a stream are computed on demand
            if name in DESCRIBED and "_undescribed" in vars(self):
                self._describe()
                if name in vars(self):
                    return vars(self)[name]
            kind, why = type(self), ""
            if hasattr(kind, name) and "_state" not in vars(self):
                why = ": it is not fitted yet"
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}{why}.")
