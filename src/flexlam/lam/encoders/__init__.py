"""From a pair of frames to K slots."""
