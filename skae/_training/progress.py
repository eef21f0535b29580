"""Progress: what `verbose` shows of a training, in a terminal and elsewhere."""

import shutil
import sys

#: Characters of the bar.
BAR = 20


class Progress:
    """The losses of each epoch: a line for each or, in a terminal, one line that changes.

    Lines are what notebooks and log files can show.

    Parameters
    ----------
    name : str
        What is counted, such as "epoch".

    first : int
        The number of those before.

    last : int
        The number of the last one, at most.
    """

    def __init__(self, name, first, last):
        self.name, self.done, self.last = name, first, last
        self.stream, self.is_open = sys.stdout, False
        self.in_terminal = getattr(self.stream, "isatty", bool)()

    def add(self, losses):
        """Show one more epoch, of these losses by name."""
        self.done += 1
        count = f"{self.name} {self.done:>{len(str(self.last))}}/{self.last}"
        values = "  ".join(f"{name}: {value:.6g}" for name, value in losses.items())
        if not self.in_terminal:
            print(f"{count}  {values}", file=self.stream, flush=True)
            return
        full = BAR * self.done // self.last
        line = f"{count} [{'=' * full}{' ' * (BAR - full)}] {values}"
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r{line[:width]:<{width}}")
        self.stream.flush()
        self.is_open = True

    def close(self):
        """End the line that changes, so that what is printed next has its own."""
        if self.is_open:
            self.stream.write("\n")
            self.stream.flush()
            self.is_open = False
