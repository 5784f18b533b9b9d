"""What is fed with bytes from outside, fed with bytes nobody thought of: ``nox -s fuzz``."""
