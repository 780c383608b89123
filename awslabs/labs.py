"""The labs in the order of the course, and in a few words what each builds: the one list of them."""

LABS = {
    "ec2": "a network, a firewall, a key, one server",
    "gpu": "a GPU server, a notebook on it through a tunnel, and a network that learns to read digits",
    "ecs_qa": "a container that answers questions, on Fargate, as many at once as you like",
    "batch_sweep": "a grid of trainings on AWS Batch, on machines that come and go with the work",
    "serverless": "functions, tables, files, and Bashoutter, a web service made of them",
}
