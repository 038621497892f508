"""Starting points that ship with the product: two whole sites and three patterns of IEC 62443 practice."""
