"""Measurements of speed, memory and quality. `python -m benchmarks` runs them; each writes a table and its numbers."""
