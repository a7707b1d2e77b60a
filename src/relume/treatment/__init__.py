"""What the treatments of trials share, whatever framework the script trains with."""
