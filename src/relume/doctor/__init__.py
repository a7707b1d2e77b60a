"""Recording → findings: pure functions that know no framework and no file."""
