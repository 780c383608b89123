"""Chapter 3: questions to containers."""
