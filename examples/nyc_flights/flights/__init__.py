"""The pipeline's own code: plain functions over files, with nothing of Podium in them."""
