"""Progress: the display of `verbose`, by rich, a dependency of Keras."""

import io
import time

#: The least time between two updates of a notebook, in seconds.
LEAST_TIME = 0.1

#: The characters in a line where the width of the output is not known.
WIDTH = 200


class Progress:
    """A progress bar with the losses of the last epoch, in one line.

    A terminal and a notebook update the line while training runs. Elsewhere, such as in a
    log file, it is printed at the end.

    Parameters
    ----------
    name : str
        The name of a step, such as "epoch".

    first : int
        The number of earlier steps.

    last : int
        The largest number of the last step.
    """

    def __init__(self, name, first, last):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        in_notebook = Console().is_jupyter
        if in_notebook:
            console = Console(file=io.StringIO(), force_jupyter=False, color_system=None)
        else:
            console = Console()
        if in_notebook or not console.is_terminal:
            console.width = WIDTH
        self.bar = Progress(
            BarColumn(20),
            TextColumn(
                "{task.description} {task.completed}/{task.total}  {task.fields[losses]}"
            ),
            console=console,
        )
        self.task = self.bar.add_task(name, total=last, completed=first, losses="")
        self.output = Output(self.bar) if in_notebook else None
        if self.output is None:
            self.bar.start()

    def add(self, losses):
        """Show one more epoch, with its losses by name."""
        values = "  ".join(f"{name}: {value:.6g}" for name, value in losses.items())
        self.bar.update(self.task, advance=1, losses=values)
        if self.output is not None:
            self.output.update()

    def close(self):
        """Stop at the last losses, however training has ended."""
        if self.output is None:
            self.bar.stop()
        else:
            self.output.update(now=True)


class Output:
    """The output of a notebook's cell that shows a bar, and is replaced by the next state.

    A notebook is no terminal, so that rich would print the bar at the end alone, or need
    ipywidgets. The output is plain text, which is stored with the notebook.

    Parameters
    ----------
    bar : rich.progress.Progress
    """

    def __init__(self, bar):
        from IPython.display import display

        self.bar, self.shown_at = bar, time.monotonic()
        self.handle = display(self._text(), raw=True, display_id=True)

    def update(self, *, now=False):
        """Show the bar as it is, unless it was shown a moment ago."""
        time_now = time.monotonic()
        if now or time_now - self.shown_at >= LEAST_TIME:
            self.shown_at = time_now
            self.handle.update(self._text(), raw=True)

    def _text(self):
        console = self.bar.console
        with console.capture() as capture:
            console.print(self.bar.get_renderable())
        return {"text/plain": capture.get().rstrip("\n")}
