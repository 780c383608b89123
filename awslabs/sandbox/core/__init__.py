"""What every service of the practice cloud stands on: it knows no service."""
