"""The policy: text in, image and static rules out. No sockets, clocks, processes or kernel."""
