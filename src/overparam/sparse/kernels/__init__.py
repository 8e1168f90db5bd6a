"""What runs: compiled loops over nonzeros, and what calls them."""
