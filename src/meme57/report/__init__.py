"""Pages and figures: what people look at. Numbers come from `meme57.evaluation`."""
