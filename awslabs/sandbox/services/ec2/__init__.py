"""EC2: networks, images, instances. As SSH hosts they run in `sandbox/ssh/`."""
