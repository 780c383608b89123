"""The layers of tests that `make test` leaves out; setup.cfg says what each is."""

LAYERS = ("live", "docker", "browser", "ml", "kill")
