"""Stands in for a lab's program where only its coming and going counts: it takes any arguments and sleeps."""

import time

time.sleep(600)
