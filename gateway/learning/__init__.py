"""What a tape or captures say, as evidence for `rules.learning`, and what was learned, as JSON."""
