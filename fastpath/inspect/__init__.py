"""Protocol inspection: one module per protocol behind `interface.pxd`; none yet."""
