"""The graph that is served: raw pixels or image files → probabilities and labels."""
