"""Counting: one tensor of an activation → one row of counts for each unit."""
