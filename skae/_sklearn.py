"""What scikit-learn asks of a fit, and what its older versions do without."""

import contextlib
import functools

from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config

try:  # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Stands in for scikit-learn's own where it has no callbacks yet."""

        def _init_callback_context(self, **_):
            return None

    def with_callbacks(method):
        return method


@contextlib.contextmanager
def all_or_nothing(estimator):
    """Put the estimator back as it was if fitting fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        now = vars(estimator)
        now.update(before)
        theirs = ("_callback_fit", "_skl_callbacks")  # scikit-learn tears them down
        for name in [*now]:
            if name not in before and not name.startswith(theirs):
                del now[name]
        raise


def in_container(method):
    """Give the rows that a method returns the container that `set_output` names.

    Their columns are those that the estimator was fitted to, and a frame's index is kept.
    scikit-learn does it for the columns of `transform`.
    """

    @functools.wraps(method)
    def wrapped(self, X):
        rows = method(self, X)
        container = _get_output_config("transform", self)["dense"]
        if container == "default" or rows.ndim > 2:
            return rows
        names = getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(rows.shape[1])] if names is None else names
        adapter = ADAPTERS_MANAGER.adapters[container]
        return adapter.create_container(rows, X, columns=names)

    return wrapped
