"""Code that several rings of tests share: generators, the slow twin, topologies, capability checks."""
