"""Lambda: functions as they are described, and their invocations."""
