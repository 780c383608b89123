"""Run a notebook from its first cell to its last: the part of `run` that happens on the server.

    python run_notebook.py mnist.ipynb executed.ipynb

One line of JSON on stdout for each cell that ran, ``{"cell": 3, "cells": 12, "seconds": 1.2}``, and at the
end ``{"done": true}`` or ``{"error": "ZeroDivisionError: division by zero", "cell": 4}`` with exit status 1.
The executed copy is written either way, with all that the cells have printed and drawn.

It is brought to the server alone: nothing of awslabs is imported here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def say(**words: Any) -> None:
    """One line for whoever listens; if nobody does any more, this program ends, and its kernel with it."""
    print(json.dumps(words), flush=True)


def execute(source: str, target: str) -> int:
    """Run the notebook `source` in its own folder, write the copy to `target`, return the exit status."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(source, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    ran, began = 0, time.monotonic()

    def start(cell: Any, cell_index: int) -> None:
        nonlocal began
        began = time.monotonic()

    def end(cell: Any, cell_index: int, execute_reply: Any) -> None:
        nonlocal ran
        ran += 1
        say(cell=ran, cells=cells, seconds=round(time.monotonic() - began, 3))

    client = NotebookClient(
        notebook,
        timeout=None,  # training takes as long as it takes
        kernel_name="python3",
        resources={"metadata": {"path": os.path.dirname(os.path.abspath(source))}},
        on_cell_start=start,
        on_cell_executed=end,
    )
    error = ""
    try:
        client.execute()
    except CellExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except DeadKernelError:
        error = "its kernel died, most often because the memory was used up"
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    nbformat.write(notebook, target)
    say(**({"error": error, "cell": ran} if error else {"done": True}))
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(execute(*sys.argv[1:3]))
