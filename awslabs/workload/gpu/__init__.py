"""Chapter 2: notebooks and programs on a GPU server."""
