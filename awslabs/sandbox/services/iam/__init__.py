"""IAM and STS: who there is, and what credentials of a role may do."""
