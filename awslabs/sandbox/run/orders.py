"""What the containers of tasks and jobs want to run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Order:
    """What shall run.

    Attributes
    ----------
    key : str
        A unique id: of the task's container, of the job.
    account, region : str
        Whose registry an image of the practice cloud comes from.
    image : str
        As in a definition: ``127.0.0.1:PORT/NAME:TAG``, ``python:3.13-slim``.
    command : list of str or None
        Arguments of the entry point; None: the image's own.
    environment : dict
        All of it: endpoint, Region, credentials, the definition's variables. The image's own variables lie
        under it.
    vcpus : float
        Processors.
    memory_mib : int
        What it may hold, all its processes together.
    entry_point : list of str or None
        None: the image's own.
    working_directory : str or None
        None: the image's own.
    architecture : str
        Of the machine that it would run on, on AWS: ``amd64``, ``arm64``.
    """

    key: str
    account: str
    region: str
    image: str
    command: list[str] | None
    environment: dict[str, str] = field(repr=False)
    vcpus: float
    memory_mib: int
    entry_point: list[str] | None = None
    working_directory: str | None = None
    architecture: str = "amd64"
