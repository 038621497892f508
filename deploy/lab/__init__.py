"""A small water works in network namespaces, with real Modbus on the wire: for hand, demo, tests and bench."""
