"""Doubles and drivers for the tests: a scripted upstream on real sockets, a clock that is told the time."""
