"""What the HTML reports share: one file that asks nothing of anywhere, and reads without a script."""
