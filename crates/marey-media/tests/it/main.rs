//! Integration tests. New ones go into one of these modules; try not to add more.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

/// Files of six projects in `../shared/data/codecs`, judged by a reference decoder.
mod conformance;
/// The corpus itself: manifest, reference frames. Shared with the example that writes the table of the docs.
mod corpus;
/// Arrays, images, GIF and recordings, written here or real.
mod formats;
/// Any order of reading gives the same frames.
mod random_access;
