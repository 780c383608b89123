"""Chapter 1: a server to log in to."""
