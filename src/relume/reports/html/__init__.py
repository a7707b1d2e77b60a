"""What the HTML reports share: one file that makes no request and can be read without a script."""
