"""Peers that cannot live beside our pins: scripts that run in environments of their own."""
