"""The control of the host: keeper, engine process, control plane, kernel configuration, command line."""
