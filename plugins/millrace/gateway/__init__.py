"""The gateway: one authenticated door in front of the local models, on the loopback only."""
