"""Pool: the modules of Keras' backend, and a cache of programs that fits borrow."""

import contextlib
import weakref

import keras

from skae._backend.cache import Cache, Once
from skae._model.graph import build

if keras.backend.backend() == "jax":
    from skae._backend.jax import (
        Fitted,
        Program,
        compiled_draws,
        precision,
        shown_dtype,
    )
else:
    from skae._backend.tensorflow import (
        Fitted,
        Program,
        compiled_draws,
        precision,
        shown_dtype,
    )

__all__ = [
    "Fitted",
    "Program",
    "borrowed",
    "graph_of",
    "precision",
    "programs",
    "shown_dtype",
]

programs = Cache(64)

graphs = Cache(64)

#: The compiled functions of the programs of each key, while there is such a program.
compiled = weakref.WeakValueDictionary()


def graph_of(specification):
    """Return the graph of a specification, for its shapes and its initial weights.

    The graph is cached and shared. Its variables must not be changed.
    """

    def make():
        graph = build(specification, "float32")
        graph.draw = compiled_draws(graph)
        return graph

    return graphs.get(specification, make)


@contextlib.contextmanager
def borrowed(specification, plan, rows):
    """Borrow a program for this specification: a cached one that is free, or a new one.

    Parameters
    ----------
    specification : Specification
    plan : Plan
        The number of batches and their size decide how a program is compiled.

    rows : Rows
        All rows of the fit.
    """
    optimizer, batch_size = plan.optimizer, min(plan.batch_size, len(rows))
    ways = Program.ways(specification.network, optimizer, batch_size)
    dtype, widths = rows.dtype, rows.widths(specification.n_extra_variances)
    key = (specification, optimizer, batch_size, dtype.name, tuple(widths), ways)
    program = programs.pop(key)
    if program is None:
        once = compiled.setdefault(key, Once())
        program = Program(
            specification, optimizer, batch_size, dtype, widths, once, *ways
        )
    program.graph.specification = specification  # its hyperparameters are not compiled
    try:
        program.lend(rows, plan.n_steps)
        yield program
    finally:
        program.give_back()
        programs.put(key, program)
