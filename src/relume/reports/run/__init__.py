"""Reports on the findings of a run: checked, compared, planned, cured."""
