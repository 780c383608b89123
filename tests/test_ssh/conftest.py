"""The fixtures of hosts_kit.py, for all tests in this folder."""

from hosts_kit import hosts, instance, key, launch

__all__ = ["hosts", "instance", "key", "launch"]
