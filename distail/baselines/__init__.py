"""Long-tailed classification on all the images; one file per baseline, named like the baseline."""
