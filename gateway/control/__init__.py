"""The control plane: one process that compiles the policy, configures the kernel and answers the operators.

In: messages and descriptors of the keeper, HTTP requests on a Unix socket. Out: images, state stores, nft
transactions, events as JSON lines, a journal. Must never sit in a frame's way: when this process is dead, the engine
and the kernel go on with what is in force.
"""
