"""The room of Keras' backend, and the programs that are kept for fits to borrow."""

import contextlib

import keras

from skae._kept import Kept

if keras.backend.backend() == "jax":
    from skae._program_jax import Fitted, Program, precision, shown_dtype
else:
    from skae._program import Fitted, Program, precision, shown_dtype

__all__ = ["Fitted", "Program", "borrowed", "precision", "programs", "shown_dtype"]

programs = Kept(8)


@contextlib.contextmanager
def borrowed(specification, plan, rows):
    """A program for this specification: one that is kept and free, or a new one.

    Parameters
    ----------
    specification : Specification
    plan : Plan
        XLA compiles a program for many batches.

    rows : Rows
        All rows of the fit, which the values that the objective computes with describe.
    """
    optimizer, batch_size = plan.optimizer, plan.batch_size
    by_xla = Program.by_xla(specification.network, plan.n_steps(len(rows)))
    dtype, widths = rows.dtype, rows.widths
    if rows.has_holes and specification.surplus:
        widths["surplus"] = specification.n_components
    key = (specification, optimizer, batch_size, dtype.name, tuple(widths), by_xla)
    program = programs.take(key)
    if program is None:
        program = Program(specification, optimizer, batch_size, dtype, widths, by_xla)
    program.graph.specification = specification  # its hyperparameters are not compiled
    program.rows = rows
    try:
        yield program
    finally:
        program.rows = None
        programs.put(key, program)
