"""Chapter 4: trainings as Batch jobs."""
