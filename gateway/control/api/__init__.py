"""The control socket: HTTP and JSON over a Unix socket, every route in one table, every message a checked model."""
