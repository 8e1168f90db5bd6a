"""What autograd sees: sparse layers, alone and in a row."""
