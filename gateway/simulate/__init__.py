"""Simulation: recorded traffic judged by a policy that need not be in force. Touches no kernel and no live segment."""
