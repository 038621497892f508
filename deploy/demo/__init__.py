"""The demonstration: one water works, one attacker, every stage, and what the controller's register says."""
