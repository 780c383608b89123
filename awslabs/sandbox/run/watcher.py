"""Waits until the practice cloud is gone, in whatever way, and removes the containers it has left.

Started by `containers.py`: `python watcher.py LABEL RUN`, with a pipe as standard input whose other end
only the practice cloud holds.
"""

from __future__ import annotations

import sys

import docker


def main() -> None:
    """Wait for the end of the pipe, then remove all containers with the label."""
    label, run = sys.argv[1:]
    api = docker.from_env().api
    sys.stdin.buffer.read()
    for container in api.containers(all=True, filters={"label": f"{label}={run}"}):
        try:
            api.remove_container(container["Id"], v=True, force=True)
        except docker.errors.NotFound:
            continue  # it has just gone by itself


if __name__ == "__main__":
    main()
