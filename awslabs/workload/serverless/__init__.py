"""Chapter 5: functions, files, an API."""
