"""Bytes to providers and back."""
