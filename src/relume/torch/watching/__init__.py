"""How a network in PyTorch is watched: script → hooks → one look at a step → counts."""
