"""What is called: a call of PyTorch → is it an activation, and which."""
