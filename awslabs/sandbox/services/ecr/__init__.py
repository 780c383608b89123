"""ECR: repositories, and the registry that images are pushed to."""
