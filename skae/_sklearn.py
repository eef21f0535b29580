"""What scikit-learn asks of a fit, and what its older versions do without."""

import contextlib

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
