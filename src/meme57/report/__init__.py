"""Pages and figures for people; `meme57.evaluation` computes the numbers."""
