"""ECS on Fargate: clusters, task definitions, and tasks that run."""
