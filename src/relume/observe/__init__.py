"""Script → recording: when to look, what to keep, and how little it may cost."""
