"""API Gateway: REST APIs as they are described, and the calls of those that are deployed."""
