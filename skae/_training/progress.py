"""Progress: the display of `verbose`, by rich, a dependency of Keras."""


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

        console = Console(force_jupyter=False)  # a line, not a widget
        if not console.is_terminal:
            console.width = 200  # a file has no known width
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
        """Show one more epoch, with its losses by name."""
        values = "  ".join(f"{name}: {value:.6g}" for name, value in losses.items())
        self.bar.update(self.task, advance=1, losses=values)

    def close(self):
        """Stop at the last losses, however training has ended."""
        self.bar.stop()
