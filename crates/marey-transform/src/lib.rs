//! Turns clips into model input: resize, crop, flip, colour, erase, normalise.
