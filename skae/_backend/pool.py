"""The room of Keras' backend, and the programs that are kept for fits to borrow."""

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

#: What the programs of each key have compiled, for as long as there is one.
compiled = weakref.WeakValueDictionary()


def graph_of(specification):
    """The graph of a specification, for its shapes and its weights at the start.

    All who need it share it, and nobody changes its variables.
    """

    def make():
        graph = build(specification, "float32")
        graph.draw = compiled_draws(graph)
        return graph

    return graphs.get(specification, make)


@contextlib.contextmanager
def borrowed(specification, plan, rows):
    """A program for this specification: one that is kept and free, or a new one.

    Parameters
    ----------
    specification : Specification
    plan : Plan
        The number of its batches, and their size, say how a program is compiled.

    rows : Rows
        All rows of the fit.
    """
    optimizer, batch_size = plan.optimizer, min(plan.batch_size, len(rows))
    ways = Program.ways(specification.network, optimizer, plan.n_steps, batch_size)
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
        program.lend(rows)
        yield program
    finally:
        program.give_back()
        programs.put(key, program)
