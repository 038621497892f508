"""What is deployed beside the product: the lab, the demo, service units, base rulesets."""
