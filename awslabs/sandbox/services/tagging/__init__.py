"""The tagging API, and tags of EC2."""
