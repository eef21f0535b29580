"""Workers: programs that are alike, which train side by side in threads."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from queue import SimpleQueue

import joblib

#: Batches of all trainings for which several programs are worth while.
STEPS_SIDE_BY_SIDE = 2000


def n_cores():
    """The number of cores to use: the process' own, unless OMP_NUM_THREADS is less.

    That is what joblib sets in each of several workers, so that they share the machine.
    """
    n, limit = joblib.cpu_count(), os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(n, int(limit))) if limit.isdigit() else n


class Workers(ExitStack):
    """Programs that are alike, each of which does one thing at a time.

    Parameters
    ----------
    borrow : callable
        Returns a context manager of one more program.

    interrupted : threading.Event
        Set where the caller is interrupted while it waits, or a thread fails: what else
        is under way then comes to its end.

    Attributes
    ----------
    programs : list of Program
        A single one works in the caller's thread.
    """

    def __init__(self, borrow, interrupted):
        super().__init__()
        self.borrow, self.interrupted = borrow, interrupted
        self.programs = [self.enter_context(borrow())]

    def hire(self, n_trainings, plan, monitor):
        """Borrow as many programs as pay for so many trainings side by side."""
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
        """What work makes of each thing, with whichever program is free."""
        if len(self.programs) == 1:
            return [work(self.programs[0], thing) for thing in things]

        def with_a_program(thing):
            program = self.free.get()
            try:
                return work(program, thing)
            except BaseException:
                self.interrupted.set()  # nobody needs what the others find
                raise
            finally:
                self.free.put(program)

        begun = [self.threads.submit(with_a_program, thing) for thing in things]
        try:
            while wait(begun, timeout=1).not_done:
                pass  # a signal that came before the wait is heard after it
        except KeyboardInterrupt:
            self.interrupted.set()
        return [done.result() for done in begun]
