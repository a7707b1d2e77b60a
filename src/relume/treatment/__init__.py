"""What the treatments of trials share in every framework."""
