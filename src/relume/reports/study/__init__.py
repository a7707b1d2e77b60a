"""Reports on the findings of studies."""
