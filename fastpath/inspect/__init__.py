"""Protocol inspection: one module per protocol behind `interface.pxd`, all of them known to `inspectors.pxd`."""
