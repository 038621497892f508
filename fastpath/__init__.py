"""The data path: frame in, verdict out. Knows no file, no text, no zone names; imports nothing of ours."""
