"""Progress: what `verbose` shows of a training, by rich, which Keras brings along."""


class Progress:
    """A bar with the losses of the last epoch: one line, which changes while training runs.

    In a terminal and in a notebook; elsewhere, as in a log file, the line comes at the end.

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
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(force_jupyter=False)  # a line, not a widget
        if not console.is_terminal:
            console.width = 200  # of a file nobody knows it
        self.bar = Progress(
            BarColumn(20),
            TextColumn(
                "{task.description} {task.completed}/{task.total}  {task.fields[losses]}"
            ),
            console=console,
        )
        self.task = self.bar.add_task(name, total=last, completed=first, losses="")
        self.bar.start()

    def add(self, losses):
        """Show one more epoch, of these losses by name."""
        values = "  ".join(f"{name}: {value:.6g}" for name, value in losses.items())
        self.bar.update(self.task, advance=1, losses=values)

    def close(self):
        """Leave the last losses there, whatever has ended the training."""
        self.bar.stop()
