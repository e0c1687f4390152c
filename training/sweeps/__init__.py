"""Many runs as one: spaces of recipes, searched by keras-tuner."""
