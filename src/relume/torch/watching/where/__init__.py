"""Where it is: a call → the place of the program → the site and its name."""
