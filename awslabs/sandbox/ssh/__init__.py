"""EC2 instances of the practice cloud as SSH hosts on loopback: `hosts.Hosts` is the way in."""
