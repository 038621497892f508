"""A picture of the policy: `scene` decides what is drawn, `dot` says it to Graphviz, `render` has it laid out."""
