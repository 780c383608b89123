"""What runs a workload, for Lambda, ECS and Batch alike: as processes of their own, or in containers."""
