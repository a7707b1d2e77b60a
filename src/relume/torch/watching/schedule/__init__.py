"""When to look: PyTorch's news → whose step it is → off, lean, wide, hidden or ending."""
