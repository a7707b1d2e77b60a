"""Where its units lie: the layer that made a tensor → the axis along which its units lie."""
