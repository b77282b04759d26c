"""Machinery that methods share: choosing real images and crops of them, mosaics, initial images; features, statistics
and trajectories of networks; matching gradients, recovery from statistics, and labels by a teacher."""
