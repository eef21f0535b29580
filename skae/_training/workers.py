"""Workers: programs that are alike, which train side by side in threads."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from queue import SimpleQueue

import joblib


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
    programs : list of Program
        A single one works in the caller's thread.

    interrupted : threading.Event
        Set where the caller is interrupted while it waits, or a thread fails: what else
        is under way then comes to its end.
    """

    def __init__(self, programs, interrupted):
        super().__init__()
        self.programs, self.interrupted, self.free = programs, interrupted, SimpleQueue()
        for program in programs:
            self.free.put(program)
        if len(programs) > 1:
            self.threads = self.enter_context(ThreadPoolExecutor(len(programs)))

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
