"""EventBridge Scheduler: which schedules AWS takes (schedules.py), and how they fire (firing.py)."""
