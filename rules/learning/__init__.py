"""What was seen on the wire → the conduits that would permit it, grouped as far as the evidence carries it.

`evidence` is what goes in, `sifting` says what of it counts, `grouping` finds roles, `drafting` puts ends, services,
windows and confidence together, `trial` asks the checks, `proposing` is the whole of it, `fragment` writes it as YAML.
"""
