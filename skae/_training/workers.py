"""Workers: equal programs that train in parallel, in threads."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from queue import SimpleQueue

import joblib

#: The least number of batches in all trainings for which several programs pay off.
STEPS_SIDE_BY_SIDE = 2000


def n_cores():
    """Return the number of cores to use: the process' own, or OMP_NUM_THREADS if less.

    joblib sets OMP_NUM_THREADS in each of several workers, so that they share the
    machine.
    """
    n, limit = joblib.cpu_count(), os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(n, int(limit))) if limit.isdigit() else n


class Workers(ExitStack):
    """Equal programs, each of which runs one training at a time.

    Parameters
    ----------
    borrow : callable
        Returns a context manager of one more program.

    interrupted : threading.Event
        Set if the caller is interrupted while it waits, or a thread fails. All other
        trainings then end.

    Attributes
    ----------
    programs : list of Program
        A single program runs in the caller's thread.
    """

    def __init__(self, borrow, interrupted):
        super().__init__()
        self.borrow, self.interrupted = borrow, interrupted
        self.programs = [self.enter_context(borrow())]

    def hire(self, n_trainings, plan, monitor):
        """Borrow as many programs as pay off for this number of trainings."""
        unreadable = monitor.shows and plan.rate_at_random is not None  # two at once
        few = plan.n_steps < STEPS_SIDE_BY_SIDE
        if monitor.watches or unreadable or few or not self.programs[0].alone:
            return
        for _ in range(min(n_trainings, n_cores()) - 1):
            self.programs.append(self.enter_context(self.borrow()))
        if len(self.programs) > 1:
            self.free = SimpleQueue()
            for program in self.programs:
                self.free.put(program)
            self.threads = self.enter_context(ThreadPoolExecutor(len(self.programs)))

    def map(self, work, things):
        """Call work with each thing and a free program, and return the results."""
        if len(self.programs) == 1:
            return [work(self.programs[0], thing) for thing in things]

        def with_a_program(thing):
            program = self.free.get()
            try:
                return work(program, thing)
            except BaseException:
                self.interrupted.set()  # the other results are not needed
                raise
            finally:
                self.free.put(program)

        begun = [self.threads.submit(with_a_program, thing) for thing in things]
        try:
            while wait(begun, timeout=1).not_done:
                pass  # handles a signal that came before the wait
        except KeyboardInterrupt:
            self.interrupted.set()
        return [done.result() for done in begun]
