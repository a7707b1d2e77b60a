"""Findings of a run, and what is made of them: checked, compared, planned, cured."""
