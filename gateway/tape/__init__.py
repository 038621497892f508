"""The decision tape: what was seen on the wire and how it was judged, kept for as long as there is room, played again.

`sight` says what counts as the same thing seen again, `store` keeps it, `recorder` gathers it from events and flow
records, `replay` asks the compiled engine what another policy would have done to it.
"""
