"""What the probes of all frameworks share: where an activation fires, how source lines are named, counts of steps."""
